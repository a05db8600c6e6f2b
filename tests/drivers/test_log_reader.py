"""Reader processes, real ones, under a real reactor of their own."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor

from droned.drivers.log_reader import READ_BYTES, LogReader, reader_command
from droned.errors import CannotRun

ECHO = "import sys; sys.stdout.write(sys.stdin.read())"
FLOOD = "import os\nwhile True: os.write(1, b'x' * 1000)"
SLEEP = "import time; time.sleep(600)"
BOUND_S = 20.0


class Run:
    """A reader that runs `code`, and what came of it."""

    def __init__(self, reactor: Any, code: str) -> None:
        self.reactor = reactor
        self.printed = bytearray()
        self.ends: list[int] = []
        self.reader = LogReader(
            reactor=reactor,
            command=[sys.executable, "-I", "-S", "-c", code],
            received=self.printed.extend,
            ended=self.ends.append,
        )

    def begin(self, **question: object) -> Run:
        self.reader.begin(question)
        return self

    def until(self, condition: Callable[[], object]) -> None:
        """Let the reactor run until the condition holds."""
        deadline = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < deadline
            self.reactor.iterate(0.02)


@pytest.fixture
def reactor() -> Iterator[Any]:
    before = len(os.listdir("/proc/self/fd"))
    made: Any = EPollReactor()
    own = len(os.listdir("/proc/self/fd"))
    yield made
    assert len(os.listdir("/proc/self/fd")) == own, "descriptors are left"
    assert [each for each in made.getReaders() if type(each).__module__.startswith("droned")] == []
    for each in made.removeAll():
        each.connectionLost(None)
    made._poller.close()
    assert len(os.listdir("/proc/self/fd")) <= own
    assert before <= own


def is_child(pid: int) -> bool:
    """Whether the process is there still, as a zombie at least."""
    return Path(f"/proc/{pid}").exists()


def test_the_question_comes_in_and_the_answer_goes_out(reactor: Any) -> None:
    run = Run(reactor, ECHO).begin(folder="/x", grep="ä", instances=["web/0"] * 20_000)
    run.until(lambda: run.ends)
    assert run.printed.startswith(b'{"folder": "/x", "grep": "\\u00e4"')
    assert len(run.printed) > 2 * READ_BYTES
    assert run.ends == [0]
    assert not is_child(run.reader.pid)


def test_the_end_comes_after_all_that_was_printed(reactor: Any) -> None:
    run = Run(reactor, "import os; os.write(1, b'x' * 60_000); os._exit(3)").begin()
    run.reader.pause()
    until = time.monotonic() + 0.3
    run.until(lambda: time.monotonic() > until)
    assert (run.ends, len(run.printed)) == ([], 0)
    run.reader.resume()
    run.until(lambda: run.ends)
    assert (run.ends, len(run.printed)) == ([3 << 8], 60_000)


def test_while_nobody_takes_it_nothing_is_read_and_the_reader_waits(reactor: Any) -> None:
    run = Run(reactor, FLOOD).begin()
    run.until(lambda: run.printed)
    run.reader.pause()
    held = len(run.printed)
    until = time.monotonic() + 0.3
    run.until(lambda: time.monotonic() > until)
    assert len(run.printed) == held
    state = Path(f"/proc/{run.reader.pid}/stat").read_text().rpartition(")")[2].split()[0]
    assert state == "S"
    run.reader.resume()
    run.until(lambda: len(run.printed) > held + READ_BYTES)
    run.reader.kill()
    run.until(lambda: run.ends)


@pytest.mark.parametrize("code", [SLEEP, FLOOD, ECHO])
def test_a_killed_reader_is_gone_and_says_nothing_more(reactor: Any, code: str) -> None:
    run = Run(reactor, code).begin()
    run.reader.kill()
    run.reader.kill()
    run.until(lambda: run.ends)
    assert run.printed == b""
    assert os.WTERMSIG(run.ends[0]) == signal.SIGKILL
    assert not is_child(run.reader.pid)
    run.reader.kill()
    assert len(run.ends) == 1


def test_a_reader_without_pidfds_is_reaped_as_well(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> int:
        raise OSError(38, "not here")

    monkeypatch.setattr(os, "pidfd_open", refuse)
    run = Run(reactor, ECHO).begin(x=1)
    run.until(lambda: run.ends)
    assert (bytes(run.printed), run.ends) == (b'{"x": 1}', [0])
    assert not is_child(run.reader.pid)


def test_a_reader_gets_no_descriptor_of_ours(reactor: Any) -> None:
    code = "import os; os.write(1, ' '.join(os.listdir('/proc/self/fd')).encode())"
    fds = [os.open("/", os.O_RDONLY) for _ in range(20)]
    run = Run(reactor, code).begin()
    run.until(lambda: run.ends)
    for fd in fds:
        os.close(fd)
    found = set(map(int, run.printed.split()))
    assert len(found & set(fds)) <= 1, "its own, of the folder that it lists"


def test_a_reader_that_cannot_be_started_leaves_nothing(reactor: Any) -> None:
    reader = LogReader(reactor=reactor, command=["/nowhere"], received=print, ended=print)
    with pytest.raises(CannotRun, match="cannot start a reader of logs: No such file"):
        reader.begin({})


def test_the_command_is_the_reader_of_this_tree() -> None:
    *options, path = reader_command()[1:]
    assert options == ["-I", "-S", "-E"]
    assert path.endswith("/droned/logs/reader/__main__.py")


def test_without_descriptors_no_reader_is_started(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", refuse)
    reader = LogReader(reactor=reactor, command=reader_command(), received=print, ended=print)
    with pytest.raises(CannotRun, match="Too many open files"):
        reader.begin({})

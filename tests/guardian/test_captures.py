"""What is kept of captured output, and what `droned-logs` is told: nothing is closed too early."""

import os
import resource
import select
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.guardian import ledger, pipes, processes
from droned.guardian.captures import Captures, Kept, descriptors_in
from droned.guardian.descriptors import Descriptors
from droned.guardian.runs import Run
from droned.guardian.wire import Launch, encode
from tests.guardian.harness import launch

POLICY = '{"keep":3}'
BOTH = {"stdout": "stdout", "stderr": "stderr", "logs": POLICY}
DIRECT = {"stdout": "/out", "stderr": "/err"}


@pytest.fixture
def captures() -> Iterator[Captures]:
    made = Captures(Descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)))
    yield made
    made.drained(list(made.kept))


def order(**changes: Any) -> Launch:
    return cast(Launch, launch("/bin/true", **changes))


def started(captures: Captures, instance: str = "web/0", number: int = 1) -> Run:
    """A run whose two streams are kept; the program's ends are closed."""
    run = Run(instance, number, 4711, 1000.0)
    captures.ordered([(instance, order(**BOTH))])
    captures.keep(run, POLICY, {stream: _reader() for stream in ("stdout", "stderr")})
    captures.began(run)
    return run


def ended(captures: Captures, run: Run) -> None:
    run.status = 256
    captures.ended(run, 1002.0)


def tell(captures: Captures) -> list[str]:
    """Say all that waits; what it was."""
    told = []
    while captures.untold:
        what = captures.untold.popleft()
        if isinstance(what, Kept):
            told.append(what.name)
        else:
            captures.told(what)
            told.append(what["type"])
    return told


def _reader() -> int:
    """The read end of a pipe that nobody writes to any more."""
    reader, writer = pipes.make()
    os.close(writer)
    return reader


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# ---- pipes


def test_the_end_of_the_reader_is_no_signal_for_the_program() -> None:
    reader, writer = pipes.make()
    os.close(reader)
    assert os.write(writer, b"x") == 1  # by a write-only end this would be EPIPE, and SIGPIPE for a program
    os.close(writer)


def test_a_program_waits_for_room_and_the_reader_waits_for_nothing() -> None:
    reader, writer = pipes.make()
    assert os.get_blocking(writer)
    assert not os.get_inheritable(writer)
    assert not os.get_inheritable(reader)
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
    writing = threading.Thread(target=lambda: os.write(writer, bytes(200_000)))
    writing.start()
    taken = 0
    while taken < 200_000:
        select.select([reader], [], [], 10.0)
        taken += len(os.read(reader, 65_536))
    writing.join()
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_without_proc_the_end_is_for_writing_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path: bytes) -> int:
        raise FileNotFoundError(path)

    monkeypatch.setattr("droned.guardian.brief.open_for_both", missing)
    reader, writer = pipes.make()
    assert os.get_blocking(writer)
    os.write(writer, b"x")
    assert os.read(reader, 2) == b"x"
    os.close(reader)
    os.close(writer)


# ---- what the ledger has to know


def test_the_ledger_is_told_only_of_what_differs(captures: Captures) -> None:
    first = captures.ordered([("web/0", order(**BOTH)), ("db/0", order(**DIRECT))])
    assert [*ledger.recall(first).captured.items()] == [("web/0", (("stdout", "stderr"), POLICY))]
    assert captures.ordered([("web/0", order(**BOTH))]) == b""
    one = {"stdout": "output", "stderr": "output", "logs": POLICY}
    second = captures.ordered([("web/0", order(**one))])
    assert ledger.recall(first + second).captured["web/0"] == (("output",), POLICY)
    third = captures.ordered([("web/0", order(**DIRECT))])
    assert ledger.recall(first + second + third).captured["web/0"] == ((), "")
    assert captures.policies == {}
    assert captures.ordered([("web/0", order(**DIRECT))]) == b""


@given(st.text(), st.sampled_from([("stdout", "stderr"), ("output",), ()]), st.text())
def test_any_policy_comes_back_from_the_ledger(instance: str, streams: tuple[str, ...], policy: str) -> None:
    line = ledger.captured_line(instance, (streams, policy))
    assert line.count(b"\n") == 1
    assert ledger.recall(line).captured == {instance: (streams, policy)}
    assert not ledger.recall(line + encode({"forget": instance}).encode()).captured


# ---- what is told, and told again


def test_a_capture_is_told_before_the_end_of_its_run(captures: Captures) -> None:
    run = started(captures)
    ended(captures, run)
    assert tell(captures) == ["web/0:1:stdout", "web/0:1:stderr", "run_ended"]
    assert tell(captures) == []


def test_the_next_one_is_told_all_that_is_not_in_files(captures: Captures) -> None:
    run = started(captures)
    started(captures, "web/1")
    tell(captures)
    captures.drained(["web/0:1:stdout", "nothing/0:1:stdout"])
    ended(captures, run)
    captures.tell_all_again()
    assert tell(captures) == ["web/0:1:stderr", "web/1:1:stdout", "web/1:1:stderr", "run_ended"]


def test_an_end_is_told_again_until_a_ping_after_it_was_answered(captures: Captures) -> None:
    run = started(captures)
    captures.drained(["web/0:1:stdout", "web/0:1:stderr"])
    captures.asked()
    ended(captures, run)
    tell(captures)
    captures.answered()  # the ping came before it
    captures.tell_all_again()
    assert tell(captures) == ["run_ended"]
    captures.asked()
    captures.forget("web/0")
    tell(captures)
    captures.answered()
    captures.tell_all_again()
    assert tell(captures) == ["forget"]


def test_a_ping_that_was_never_answered_confirms_nothing_to_the_next_one(captures: Captures) -> None:
    run = started(captures)
    ended(captures, run)
    tell(captures)
    captures.asked()
    captures.tell_all_again()
    tell(captures)
    captures.answered()
    captures.tell_all_again(known=["web/0:1:stdout"])
    assert tell(captures) == ["web/0:1:stderr", "run_ended"]


def test_a_stream_is_closed_when_all_of_it_is_in_files(captures: Captures) -> None:
    started(captures)
    fds = [kept.fd for kept in captures.kept.values()]
    captures.drained(list(captures.kept))
    assert not any(map(is_open, fds))
    assert [what.fd for what in captures.untold if isinstance(what, Kept)] == [-1, -1]


def test_a_launch_that_failed_is_never_told(captures: Captures) -> None:
    reader = _reader()
    run = Run("web/0", 1, 0, 0.0)
    captures.keep(run, POLICY, {"stdout": reader})
    captures.tell_all_again()
    assert tell(captures) == []
    captures.failed(run.key)
    assert not is_open(reader)
    assert not captures.kept


def test_what_another_one_captures_is_taken_once(captures: Captures) -> None:
    captured = {"name": "web/0:1:stdout", "instance": "web/0", "run": 1, "stream": "stdout"}
    message = {**captured, "policy": POLICY, "at": 1.0}
    first, second = (_reader() for _ in range(2))
    captures.take(message, first)
    captures.take(message, second)
    assert [kept.fd for kept in captures.kept.values()] == [first]
    assert is_open(first)
    assert not is_open(second)
    captures.tell_all_again(known=["web/0:1:stdout"])
    assert tell(captures) == []


def test_with_nobody_to_take_it_the_oldest_of_what_ended_goes(
    captures: Captures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.guardian.captures._MOST_ENDED", 2)
    lives = started(captures, "lives/0")
    for number in (1, 2):
        ended(captures, started(captures, number=number))
    captures.drop_oldest()
    assert list(captures.kept) == [
        "lives/0:1:stdout",
        "lives/0:1:stderr",
        "web/0:2:stdout",
        "web/0:2:stderr",
    ]
    assert lives.key == ("lives/0", 1)
    assert [what.name for what in captures.untold if isinstance(what, Kept)] == list(captures.kept)


def test_all_comes_over_a_reexec(captures: Captures) -> None:
    ended(captures, started(captures))
    tell(captures)
    started(captures, "web/1")
    saved = captures.saved()
    assert descriptors_in(saved) == [kept.fd for kept in captures.kept.values()]
    again = Captures(Descriptors(resource.getrlimit(resource.RLIMIT_NOFILE)))
    again.resume(saved)
    assert again.policies == captures.policies
    again.tell_all_again()
    assert tell(again) == [
        "web/0:1:stdout",
        "web/0:1:stderr",
        "web/1:1:stdout",
        "web/1:1:stderr",
        "run_ended",
    ]


# ---- found again


def program(script: str, out: int, err: int) -> Iterator[Run]:
    """A program that runs."""
    child = subprocess.Popen(["/bin/sh", "-c", script], stdout=out, stderr=err, start_new_session=True)
    run = Run("web/0", 1, child.pid, 0.0, start_time=processes.start_time(child.pid) or 0)
    try:
        yield run
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def test_the_pipes_of_a_living_program_are_found_with_what_is_in_them(captures: Captures) -> None:
    captures.ordered([("web/0", order(**BOTH))])
    ends = [pipes.make(), pipes.make()]
    for run in program("echo err >&2; echo out; exec sleep 60", ends[0][1], ends[1][1]):
        select.select([ends[0][0]], [], [], 10.0)
        select.select([ends[1][0]], [], [], 10.0)
        for end in (*ends[0], *ends[1]):
            os.close(end)
        captures.find([run])
        found = {kept.stream: os.read(kept.fd, 100) for kept in captures.kept.values()}
        assert found == {"stdout": b"out\n", "stderr": b"err\n"}
        captures.find([run])
        assert len(captures.kept) == 2
    assert tell(captures) == ["web/0:1:stdout", "web/0:1:stderr"]


def test_a_pipe_of_the_programs_own_is_left_alone(captures: Captures, tmp_path: Path) -> None:
    """It reads `a | b` in a shell that has put its own output elsewhere: those bytes are for b."""
    captures.ordered([("web/0", order(**BOTH))])
    reader, writer = os.pipe()
    with open(tmp_path / "err", "wb") as err:
        for run in program("exec sleep 60", writer, err.fileno()):
            assert stat.S_ISFIFO(os.stat(f"/proc/{run.pid}/fd/1").st_mode)
            captures.find([run])
            assert not captures.kept
    os.close(reader)
    os.close(writer)


def test_one_pipe_is_not_read_as_two_streams(captures: Captures) -> None:
    captures.ordered([("web/0", order(**BOTH))])
    reader, writer = pipes.make()
    for run in program("exec sleep 60", writer, writer):
        captures.find([run])
        assert [kept.stream for kept in captures.kept.values()] == ["stdout"]
    os.close(reader)
    os.close(writer)


def test_a_pid_that_is_anothers_now_is_left_alone(captures: Captures) -> None:
    captures.ordered([("web/0", order(**BOTH))])
    reader, writer = pipes.make()
    for run in program("exec sleep 60", writer, writer):
        run.start_time += 1
        captures.find([run])
        assert not captures.kept
    os.close(reader)
    os.close(writer)


def test_with_few_descriptors_ends_of_living_programs_are_left_to_droned_logs(captures: Captures) -> None:
    first, second = started(captures), started(captures, "web/1")
    captures.make_way(3)
    assert all(kept.fd >= 0 for kept in captures.kept.values())  # nobody else has them
    captures.is_heard = True
    captures.make_way(3)
    assert all(kept.fd >= 0 for kept in captures.kept.values())  # nobody has been told of them
    tell(captures)
    ended(captures, first)
    captures.make_way(3)
    assert [kept.name for kept in captures.kept.values() if kept.fd < 0] == [
        f"{second.instance}:1:stdout",
        f"{second.instance}:1:stderr",
    ]
    assert len(descriptors_in(captures.saved())) == 2
    captures.drained(["web/1:1:stdout"])
    assert len(captures.kept) == 3


def test_no_more_streams_are_captured_than_droned_logs_has_room_for() -> None:
    few = Captures(Descriptors((256, 256)))
    for number in range(190):
        few.kept[f"web/{number}:1:output"] = Kept(f"web/{number}", 1, "output", POLICY, -1)
    assert few.fit(2, 0)
    assert not few.fit(3, 0)

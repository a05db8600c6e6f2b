"""What apps write arrives at sinks: real receivers, a real daemon that is killed, sinks that come and go."""

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.drivers.receivers import Datagrams, Loki, Stream, loki
from tests.faults import processes
from tests.protocols.wire import read_frames, read_message, read_push
from tests.running import Droned, descendants, until

pytestmark = pytest.mark.live

COUNTER = 'i=0; while :; do i=$((i+1)); echo "line $i"; echo "bad $i" >&2; sleep 0.02; done'
APPS = f"""\
version: 1
defaults: {{start: {{grace: 100ms}}}}
apps:
  web: {{command: [sh, -c, '{COUNTER}']}}
  quiet: {{command: [sh, -c, 'echo once; exec sleep 1000']}}
"""


class Far:
    """All receivers, and what has come to each of them."""

    def __init__(self, folder: Path, taker: Loki) -> None:
        self.loki = taker
        self.udp, self.tcp, self.unix = Datagrams(), Stream(), Datagrams(folder / "log")
        self._udp: list[bytes] = []
        self._unix: list[bytes] = []
        self.sinks = {
            "udp": f"{{syslog: 'udp://127.0.0.1:{self.udp.port}', name: udp}}",
            "tcp": f"{{syslog: 'tcp://127.0.0.1:{self.tcp.port}', name: tcp, apps: [web]}}",
            "unix": f"{{syslog: 'unix://{folder}/log', name: unix, apps: [quiet, droned]}}",
            "loki": f"{{loki: 'http://127.0.0.1:{taker.port}/push', name: loki, labels: {{env: test}}}}",
        }

    def configuration(self, *names: str) -> str:
        sinks = ", ".join(self.sinks[name] for name in names)
        return f"{APPS}droned:\n  log: {{to: file, format: json}}\n  forward: [{sinks}]\n"

    def texts(self, name: str) -> list[tuple[str, str]]:
        """Instance and text of every line that has come to this sink, in their order."""
        if name == "loki":
            pushed = [line for body in list(self.loki.bodies) for line in read_push(body)]
            return [(labels["instance"], text) for labels, _, text in pushed]
        if name == "tcp":
            self.tcp.read()
            messages = [each for content in self.tcp.received for each in read_frames(bytes(content))]
        elif name == "udp":
            self._udp += self.udp.taken()
            messages = self._udp
        else:
            self._unix += self.unix.taken()
            messages = self._unix
        found = [read_message(each) for each in messages]
        return [(each.facts["instance"], each.text.decode()) for each in found]

    def numbers(self, name: str, word: str = "line") -> list[int]:
        """The numbers of the lines of web/0 that have come to this sink."""
        said = [re.fullmatch(rf"{word} ([0-9]+)", text) for _, text in self.texts(name)]
        return [int(each[1]) for each in said if each is not None]


@pytest.fixture
def far(droned: Droned) -> Iterator[Far]:
    with loki(
        lambda number: (429, {"Retry-After": "0"}, b"slow") if number == 1 else (204, {}, b"")
    ) as taker:
        made = Far(droned.folder, taker)
        yield made
        for each in (made.udp, made.tcp, made.unix):
            each.close()


def positions(droned: Droned) -> dict[str, Path]:
    folder = droned.state_dir / "logs"
    return {path.stem.removeprefix("forward-"): path for path in folder.glob("forward-*.json")}


def note(droned: Droned) -> str:
    (found,) = (each for each in droned.api.daemon()["services"] if each["name"] == "forward")
    return str(found["note"])


def readers(droned: Droned) -> list[Any]:
    return [
        each
        for each in descendants()
        if each.parent == droned.daemon_pid and "reader" in " ".join(processes.arguments(each.pid))
    ]


def test_every_line_comes_to_every_sink_through_a_kill_of_the_daemon(droned: Droned, far: Far) -> None:
    droned.configure(far.configuration("udp", "tcp", "unix", "loki"))
    droned.start()
    for name in ("udp", "tcp", "loki"):
        until(lambda name=name: len(far.numbers(name)) > 20, what=f"lines at {name}: {note(droned)}")  # type: ignore[misc]  # a lambda with a default
    until(lambda: ("quiet/0", "once") in far.texts("unix"), what="its own line")
    until(lambda: len(positions(droned)) == 4, what="positions")
    until(lambda: "loki: 0 lines" not in note(droned), what="loki takes lines")
    before = droned.daemon_pid
    os.kill(before, signal.SIGKILL)
    droned.in_control(other_than=before)
    for name in ("udp", "tcp", "loki"):
        last = max(far.numbers(name))
        until(lambda name=name, last=last: max(far.numbers(name)) > last + 20, what=f"more at {name}")  # type: ignore[misc]  # a lambda with defaults
        for word in ("line", "bad"):
            found = far.numbers(name, word)
            assert set(range(min(found), max(found) + 1)) == set(found), f"lines are missing at {name}"
            assert min(found) == 1
            # After a kill they go back by what was sent since the position was written, not to the start.
            assert len(found) - len(set(found)) < 200
    assert {instance for instance, _ in far.texts("tcp")} == {"web/0"}
    until(lambda: any(instance == "droned/log" for instance, _ in far.texts("unix")), what="droned's own log")
    assert {instance for instance, _ in far.texts("unix")} == {"quiet/0", "droned/log"}


def test_a_sink_that_is_away_gets_everything_when_it_is_back(droned: Droned, far: Far) -> None:
    port = far.tcp.port
    far.tcp.close()
    droned.configure(far.configuration("tcp"))
    droned.start()
    until(lambda: "cannot reach tcp://" in note(droned), what="a failure")
    droned.done("daemon", "restart")
    assert "nothing" not in droned.log()
    far.tcp = Stream(port)
    until(lambda: len(far.numbers("tcp")) > 50, what=f"lines: {note(droned)}", within_s=40.0)
    numbers = far.numbers("tcp")
    assert numbers == list(range(1, len(numbers) + 1))


def test_sinks_come_and_go_by_reload(droned: Droned, far: Far) -> None:
    droned.configure(far.configuration())
    droned.start()
    assert note(droned) == "no sinks"
    droned.configure(far.configuration("loki", "udp"))
    droned.done("daemon", "reload")
    until(lambda: far.numbers("udp") and far.numbers("loki"), what="lines")
    # A sink that is new is not sent what was captured before it.
    assert ("quiet/0", "once") not in far.texts("udp")
    until(lambda: set(positions(droned)) == {"loki", "udp"}, what="positions")
    assert len(readers(droned)) == 2
    droned.configure(far.configuration("loki"))
    droned.done("daemon", "reload")
    until(lambda: set(positions(droned)) == {"loki"} and len(readers(droned)) == 1, what="one sink")
    droned.configure(far.configuration())
    droned.done("daemon", "reload")
    until(lambda: not positions(droned) and not readers(droned), what="no sink")
    assert note(droned) == "no sinks"


def test_a_sink_that_stalls_holds_nobody_up_and_misses_nothing(droned: Droned, far: Far) -> None:
    count = 60_000
    flood = f"for n in range(1, {count + 1}): print('line', n)"
    app = f'  web: {{command: [{sys.executable}, -c, "{flood}"], restart: {{policy: never}}}}'
    droned.configure(
        f"version: 1\napps:\n{app}\n  quiet: {{command: [sleep, '1000']}}\n"
        f"droned: {{forward: [{far.sinks['tcp']}]}}\n"
    )
    droned.start()
    droned.until_state("exited", of=("web/0",))
    last = f"line {count}\n"
    until(lambda: last in droned.done("logs", "web", "-n", "1"), what="all of it is captured")
    # The app is done, and the sink has not taken much more than its own buffers hold.
    until(far.tcp.accept, what="a connection")
    sent = int(re.search(r"tcp: ([0-9]+) line", note(droned))[1])  # type: ignore[index]  # it is there
    assert sent < count // 2
    until(
        lambda: far.tcp.read() and last.encode().strip() in far.tcp.received[0][-200:], what="the last line"
    )
    assert far.numbers("tcp") == list(range(1, count + 1))

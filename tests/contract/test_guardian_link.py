"""The link to a real guardian and the guardian in memory behave alike."""

import fcntl
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from twisted.internet.testing import MemoryReactorClock
from zope.interface.verify import verifyObject

from droned.drivers.guardian import GuardianLink
from droned.drivers.iguardian import IGuardianLink
from droned.drivers.successor import GuardianIdentity, HeldRuns
from tests.fakes.guardian import FakeGuardian
from tests.guardian.harness import GUARDIAN, Guarded, guarded, launch

SLEEP = launch("/bin/sleep", "600")


class Side(Protocol):
    """A link under test and the way to let time go by for it."""

    link: Any

    def turn(self) -> None:
        """Let something happen."""

    def lose(self) -> None:
        """Have the guardian replaced."""


class FakeSide:
    def __init__(self) -> None:
        self.link = FakeGuardian()

    def turn(self) -> None:
        self.link.turn()

    def lose(self) -> None:
        self.link.guardian_pid += 1
        self.link.tell({"type": "guardian_replaced"})


class RealSide:
    """A real guardian that takes this process for its daemon, and a reactor that only we turn."""

    def __init__(self, world: Guarded) -> None:
        world.state.mkdir(exist_ok=True)
        self.lock = os.open(world.state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        argv = (
            sys.executable,
            "-I",
            "-S",
            "-E",
            str(GUARDIAN),
            "--state",
            str(world.state),
            "--",
            "/bin/false",
        )
        identity = GuardianIdentity(pid=0, start_time=0, argv=argv, environment={}, lock_fd=self.lock)
        self.reactor = MemoryReactorClock()
        self.pid, sock = identity.start_another(os.environ)
        self.link = GuardianLink(
            sock,
            identity,
            reactor=self.reactor,
            release="0",
            environ=os.environ,
            runs=HeldRuns(None),
            ended=self._cut_off,
        )
        self._last = time.monotonic()

    def _cut_off(self) -> None:
        raise AssertionError("cut off")

    def turn(self) -> None:
        now = time.monotonic()
        self.reactor.advance(now - self._last)
        self._last = now
        readers = [reader for reader in self.reactor.getReaders() if reader.fileno() >= 0]
        for reader in select.select(readers, [], [], 0.01)[0]:
            reader.doRead()

    def lose(self) -> None:
        os.kill(self.link.guardian_pid, signal.SIGKILL)

    def close(self) -> None:
        """End the guardian; nothing of the test may stay behind."""
        self.link.close()
        for pid in {self.pid, self.link.guardian_pid} - {0}:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(self.lock)


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.live)])
def side(request: pytest.FixtureRequest) -> Iterator[Side]:
    if request.param == "fake":
        yield FakeSide()
        return
    with guarded() as world:
        made = RealSide(world)
        try:
            yield made
        finally:
            made.close()


class Daemon:
    """What a daemon hears."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.heard: list[Any] = []
        self.turns = 0
        side.link.begin(self.heard.append, self._turn_ended)

    def _turn_ended(self) -> None:
        self.turns += 1

    def until(self, found: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 10.0
        while True:
            value = found()
            if value:
                return value
            assert time.monotonic() < deadline, self.heard
            self.side.turn()

    def expect(self, kind: str) -> Any:
        def found() -> Any:
            return next((message for message in self.heard if message["type"] == kind), None)

        message = self.until(found)
        self.heard.remove(message)
        return message

    def rows(self) -> list[Any]:
        table: list[Any] = []
        self.side.link.table().addCallback(table.append)
        self.until(lambda: table)
        return list(table[0])


@pytest.fixture
def daemon(side: Side) -> Daemon:
    made = Daemon(side)
    made.rows()
    side.link.send({"type": "ready"})
    return made


def order(instance: str, run: int) -> dict[str, Any]:
    return {"type": "spawn", "instance": instance, "run": run, "launch": SLEEP}


def test_both_are_links(side: Side) -> None:
    assert verifyObject(IGuardianLink, side.link)


def test_a_run_is_told_from_start_to_acknowledged_end(daemon: Daemon) -> None:
    link = daemon.side.link
    link.send(order("web/0", 1))
    spawned = daemon.expect("spawned")
    assert (spawned["instance"], spawned["run"]) == ("web/0", 1)
    assert spawned["pid"] > 1
    link.send({"type": "signal", "instance": "web/0", "run": 1, "signal": 15, "to": "main"})
    assert daemon.expect("signalled")["delivered"] == 1
    ended = daemon.expect("ended")
    assert (ended["status"], ended["leftovers"]) == (15, 0)
    link.send({"type": "ack", "ended": [["web/0", 1]], "head": {"version": 4, "digest": "d"}})
    link.send({"type": "forget", "instance": "web/0"})
    link.send(order("web/0", 1))
    daemon.expect("spawned")
    assert daemon.turns >= 3


def test_a_second_life_is_refused(daemon: Daemon) -> None:
    for number in (1, 2):
        daemon.side.link.send(order("web/0", number))
    refused = daemon.expect("refused")
    assert (refused["run"], refused["live_run"], refused["last_run"]) == (2, 1, 1)


def test_nothing_is_told_before_the_daemon_is_ready(side: Side) -> None:
    daemon = Daemon(side)
    assert daemon.rows() == []
    side.link.send(order("web/0", 1))
    for _ in range(30):
        side.turn()
    assert daemon.heard == []
    side.link.send({"type": "ready"})
    daemon.expect("spawned")


def test_what_is_parked_can_be_fetched(daemon: Daemon) -> None:
    fd = os.memfd_create("kept")
    os.write(fd, b"content")
    link = daemon.side.link
    link.park("log", fd)
    os.close(fd)
    for name, content in (("log", b"content"), ("other", None)):
        found: list[int | None] = []
        link.fetch(name).addCallback(found.append)
        daemon.until(found.__len__)
        copy = found[0]
        assert (copy is None) == (content is None)
        if copy is not None:
            assert os.pread(copy, 100, 0) == content
            os.close(copy)
    link.unpark("log")


def test_a_replaced_guardian_knows_the_runs(daemon: Daemon) -> None:
    link = daemon.side.link
    link.send(order("web/0", 1))
    daemon.expect("spawned")
    before = link.guardian_pid
    daemon.side.lose()
    daemon.expect("guardian_replaced")
    assert link.guardian_pid != before
    link.send(order("web/0", 2))
    assert daemon.expect("refused")["live_run"] == 1
    link.send({"type": "signal", "instance": "web/0", "run": 1, "signal": 9, "to": "tree"})
    assert daemon.expect("ended")["status"] == 9

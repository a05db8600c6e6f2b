"""The link to the guardian, held against the other end of its socket."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from droned.drivers.guardian import GuardianLink
from droned.drivers.successor import GuardianIdentity, HeldRuns, is_alive
from droned.guardian import wire
from tests.guardian.harness import launch, start_time


class Other:
    """The guardian's end, in our own hands. This very process counts as the guardian that lives."""

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.sock, theirs = wire.pair_socket()
        own = os.getpid()
        identity = GuardianIdentity(
            pid=own, start_time=start_time(own) or 0, argv=("/nowhere", "--"), environment={}, lock_fd=0
        )
        self.ended: list[bool] = []
        self.heard: list[Any] = []
        self.turns = 0
        self._reader = wire.to_guardian()
        self.link = GuardianLink(
            theirs,
            identity,
            reactor=self.reactor,
            release="0",
            environ={},
            runs=HeldRuns(None),
            ended=lambda: self.ended.append(True),
        )
        self.link.begin(self.heard.append, self._turn_ended)

    def _turn_ended(self) -> None:
        self.turns += 1

    def said(self) -> list[Any]:
        """What the link has said, packet by packet."""
        self.reactor.advance(0)
        packets = []
        while True:
            try:
                packets.append([message for message, _ in self._reader.receive(self.sock) or []])
            except BlockingIOError:
                return packets

    def say(self, *messages: Any) -> None:
        """One packet for the link."""
        self.sock.send(wire.encode(list(messages)).encode())
        self.link.doRead()

    def welcome(self, **changes: Any) -> None:
        own = os.getpid()
        self.say(
            {
                "type": "welcome",
                "protocol": 1,
                "release": "0",
                "pid": own,
                "start_time": start_time(own),
                "boot_id": "b",
                "state_id": "s",
                "head": {"version": 3, "digest": "d"},
                "shutdown": False,
                "parked": [],
                "lacking": ["cgroup"],
                **changes,
            },
            {"type": "table", "rows": [], "last": True},
        )


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()
    yield made
    made.link.close()
    made.sock.close()
    made.reactor.advance(1)
    assert made.reactor.getDelayedCalls() == []
    assert made.reactor.getReaders() == []


def test_hello_comes_first_and_a_turn_is_one_packet(other: Other) -> None:
    for number in range(3):
        other.link.send({"type": "pong", "n": number})
    (packet,) = other.said()
    assert [message["type"] for message in packet] == ["hello", "pong", "pong", "pong"]
    assert other.said() == []


def test_pings_are_answered_without_the_daemon(other: Other) -> None:
    other.said()
    other.say({"type": "ping", "n": 7})
    assert other.said() == [[{"type": "pong", "n": 7}]]
    assert other.heard == []


def test_welcome_and_table_are_taken_apart(other: Other) -> None:
    tables: list[Any] = []
    other.link.table().addCallback(tables.append)
    other.welcome()
    assert tables == [[]]
    assert (other.link.boot_id, other.link.head, other.link.lacking) == ("b", (3, "d"), ("cgroup",))


def test_a_stop_that_goes_on_is_told_once_the_daemon_is_ready(other: Other) -> None:
    other.welcome(shutdown=True)
    assert other.heard == []
    other.link.send({"type": "ready"})
    other.reactor.advance(0)
    assert [message["type"] for message in other.heard] == ["shutdown"]


def test_a_turn_ends_after_each_packet(other: Other) -> None:
    other.welcome()
    other.link.send({"type": "ready"})
    other.reactor.advance(0)
    before = other.turns
    other.say({"type": "reload"}, {"type": "reload"})
    assert len(other.heard) == 2
    assert other.turns == before + 1


def test_an_error_of_the_daemon_costs_one_message_only(other: Other) -> None:
    def heard(message: Any) -> None:
        other.heard.append(message)
        if len(other.heard) == 1:
            raise ValueError("cannot take it")

    other.link.begin(heard)
    other.welcome()
    other.link.send({"type": "ready"})
    other.reactor.advance(0)
    other.say({"type": "reload"}, {"type": "reload"})
    assert len(other.heard) == 2


def test_five_silent_seconds_are_told_and_taken_back(other: Other) -> None:
    other.welcome()
    found = []
    for seconds in (4.9, 0.2):
        other.reactor.advance(seconds)
        found.append(other.link.is_unresponsive)
    other.say({"type": "ping", "n": 1})
    assert [*found, other.link.is_unresponsive] == [False, True, False]


def test_a_daemon_that_is_cut_off_ends_and_starts_no_guardian(other: Other) -> None:
    """The guardian lives and has hung up: another daemon has our place."""
    other.welcome()
    other.sock.close()
    other.link.doRead()
    assert not other.link.is_connected
    for _ in range(60):
        other.reactor.advance(0.02)
    assert other.ended == [True]


def test_a_large_launch_goes_beside_its_message(other: Other) -> None:
    other.said()
    other.link.send({"type": "spawn", "instance": "a/0", "run": 1, "launch": launch("x" * 100_000)})
    other.reactor.advance(0)
    ((message, fds),) = wire.to_guardian().receive(other.sock) or []
    assert len(wire.launch_of(message, fds)["argv"][0]) == 100_000  # type: ignore[arg-type]
    for fd in fds:
        os.close(fd)


def test_messages_wait_for_a_guardian_that_does_not_read(other: Other) -> None:
    """Order is kept, nothing is lost, and nobody waits."""
    other.said()
    count = 20_000
    for number in range(count):
        other.link.send({"type": "status", "text": f"{number} {'x' * 1000}"})
    other.reactor.advance(0)
    assert other.link in other.reactor.getWriters()
    found: list[int] = []
    while len(found) < count:
        found += [int(message["text"].split()[0]) for packet in other.said() for message in packet]
        other.link.doWrite()
    assert found == list(range(count))
    assert other.link not in other.reactor.getWriters()


def test_a_process_is_itself_by_its_start_time() -> None:
    own = os.getpid()
    assert is_alive(own, start_time(own) or 0)
    assert not is_alive(own, 1)

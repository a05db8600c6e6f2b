"""The link to `droned-logs`, held against the other end of its socket."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from droned.drivers.log_link import ANSWER_S, LogLink
from droned.drivers.output_files import policy_text
from droned.errors import NotNow, ShuttingDown
from droned.logs.format import DEFAULT_POLICY, PACKET_BYTES
from droned.models.policy import LogPolicy

TEXT = policy_text(LogPolicy())


class Other:
    """`droned-logs` in our own hands, which can be killed and comes back."""

    def __init__(self, folder: Path) -> None:
        self.reactor = MemoryReactorClock()
        self._folder = folder
        self._listening: socket.socket | None = None
        self.sock: socket.socket | None = None
        self.changes: list[bool] = []
        self.link = LogLink(str(folder), reactor=self.reactor)
        self.link.changed = lambda: self.changes.append(self.link.is_connected)

    def listen(self) -> None:
        """Be there."""
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        path = self._folder / ".socket"
        path.unlink(missing_ok=True)
        self._listening.bind(str(path))
        self._listening.listen(8)

    def accept(self) -> None:
        """Take the link's connection."""
        assert self._listening is not None
        self._listening.settimeout(5.0)
        self.sock, _ = self._listening.accept()
        self.sock.setblocking(False)

    def die(self) -> None:
        """Be gone at once."""
        for sock in (self._listening, self.sock):
            if sock is not None:
                sock.close()
        self._listening = self.sock = None
        self.link.doRead()

    def said(self) -> list[Any]:
        """What the link has said since."""
        self.reactor.advance(0)
        assert self.sock is not None
        found: list[Any] = []
        while True:
            try:
                packet = self.sock.recv(2 * PACKET_BYTES)
            except BlockingIOError:
                return found
            assert len(packet) <= PACKET_BYTES
            found.append(json.loads(packet))
            self.link.doWrite()

    def say(self, *answers: object) -> None:
        assert self.sock is not None
        for answer in answers:
            self.sock.send(json.dumps(answer).encode())
        self.link.doRead()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Other]:
    made = Other(tmp_path)
    yield made
    made.link.close()
    if made.sock is not None:
        made.die()
    assert made.reactor.getDelayedCalls() == []
    assert made.reactor.getReaders() == []
    assert made.reactor.getWriters() == []


def connected(other: Other) -> Other:
    other.listen()
    other.link.begin()
    other.accept()
    return other


def test_the_first_words_are_all_settings(other: Other) -> None:
    other.link.set_total(1000)
    other.link.set_policies({"web/0": TEXT})
    connected(other)
    assert other.said() == [{"do": "settings", "total_bytes": 1000, "policies": {"web/0": DEFAULT_POLICY}}]
    assert other.link.pid == os.getpid()
    assert other.changes == [True]


def test_later_only_what_changed_is_sent_and_a_turn_is_one_packet(other: Other) -> None:
    other.link.set_policies({"web/0": TEXT, "web/1": TEXT})
    connected(other).said()
    changed = policy_text(LogPolicy(keep=9))
    other.link.set_policies({"web/0": TEXT, "web/1": changed})
    other.link.set_policies({"web/2": TEXT})
    other.link.set_total(5)
    (packet,) = other.said()
    assert list(packet["policies"]) == ["web/1", "web/2"]
    assert packet["total_bytes"] == 5
    other.link.set_policies({"web/1": changed})
    other.link.set_total(5)
    assert other.said() == []


def test_a_droned_logs_that_comes_later_is_found_and_a_new_one_gets_everything(other: Other) -> None:
    other.link.set_policies({"web/0": TEXT})
    other.link.begin()
    assert not other.link.is_connected
    other.listen()
    other.reactor.advance(5.0)
    other.accept()
    assert len(other.said()) == 1
    other.die()
    assert (other.link.is_connected, other.link.pid) == (False, None)
    other.link.forget("web/0")
    other.link.set_policies({"db/0": TEXT})
    other.listen()
    other.reactor.advance(0.05)
    other.accept()
    assert [list(each["policies"]) for each in other.said()] == [["db/0"]]
    assert other.changes == [True, False, True]


def test_ten_thousand_policies_go_in_packets_that_fit(other: Other) -> None:
    names = [f"{'x' * 60}/{number}" for number in range(10_000)]
    other.link.set_policies(dict.fromkeys(names, TEXT))
    connected(other)
    assert [name for each in other.said() for name in each["policies"]] == names


def test_an_answer_goes_to_its_question(other: Other) -> None:
    connected(other).said()
    first, second = other.link.ask("rotate", ["web/0"]), other.link.ask("usage")
    assert other.said() == [{"do": "rotate", "id": 1, "instances": ["web/0"]}, {"do": "usage", "id": 2}]
    told: list[Any] = []
    for asked in (first, second):
        asked.addCallback(told.append)
    other.say({"id": 2, "instances": {"web/0": {}}}, {"id": 9, "x": 1}, {"position": 4})
    other.say({"id": 2, "instances": {"web/1": {}}, "index_bytes": 9, "last": True})
    assert [list(part["instances"]) for part in told[0]] == [["web/0"], ["web/1"]]
    other.say({"id": 1, "rotated": 2})
    assert told[1] == [{"id": 1, "rotated": 2}]


def test_a_question_about_very_many_is_several(other: Other) -> None:
    connected(other).said()
    names = [f"{'x' * 60}/{number}" for number in range(5_000)]
    told: list[Any] = []
    other.link.ask("clear", names).addCallback(told.append)
    packets = other.said()
    assert [name for each in packets for name in each["instances"]] == names
    for packet in packets:
        assert told == []
        other.say({"id": packet["id"], "bytes": 7})
    assert sum(answer["bytes"] for answer in told[0]) == 7 * len(packets)
    assert other.link.ask("clear", []).result == []


def test_what_was_not_answered_is_asked_again_of_the_next_one(other: Other) -> None:
    connected(other).said()
    told: list[Any] = []
    other.link.ask("usage").addCallback(told.append)
    other.say({"id": 1, "instances": {"web/0": {}}})
    other.die()
    other.listen()
    other.reactor.advance(0.05)
    other.accept()
    assert other.said()[-1] == {"do": "usage", "id": 1}
    other.say({"id": 1, "instances": {"db/0": {}}, "last": True})
    assert [list(part["instances"]) for part in told[0]] == [["db/0"]]


def test_the_daemons_own_pipe_goes_to_every_droned_logs(other: Other) -> None:
    reader, writer = os.pipe()
    told: list[bool] = []
    other.link.set_own("droned/log", TEXT, reader, told.append)
    connected(other)
    for number in (1, 2):
        assert other.sock is not None
        other.sock.recv(PACKET_BYTES)
        packet, (copy,), _, _ = socket.recv_fds(other.sock, PACKET_BYTES, 4)
        assert json.loads(packet) == {
            "do": "own",
            "id": 0,
            "instance": "droned/log",
            "policy": DEFAULT_POLICY,
        }
        os.write(writer, b"x")
        assert os.read(copy, 9) == b"x"
        os.close(copy)
        other.say({"id": 0} if number == 1 else {"id": 0, "error": "no room"})
        if number == 1:
            other.die()
            other.listen()
            other.reactor.advance(0.05)
            other.accept()
    assert told == [True, False, False]
    other.link.set_own("droned/log", TEXT, None, told.append)
    other.die()
    assert told == [True, False, False]
    os.close(reader)
    os.close(writer)


def test_an_error_is_told(other: Other) -> None:
    connected(other).said()
    asked = other.link.ask("clear", ["web/0"])
    other.say({"id": 1, "error": "no such instance"})
    failure: Any = []
    asked.addErrback(failure.append)
    assert failure[0].check(NotNow)
    assert str(failure[0].value).startswith("cannot clear logs: ")
    assert "no such instance" in str(failure[0].value)


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("usage", "cannot tell the usage of logs: "),
        ("rotate", "cannot rotate logs: "),
        ("clear", "cannot clear logs: "),
    ],
)
def test_nobody_waits_for_ever(other: Other, there: bool, do: str, said: str) -> None:
    if there:
        connected(other)
    else:
        other.link.begin()
    asked = other.link.ask(do, None if do == "usage" else ["web/0"])
    failure: Any = []
    asked.addErrback(failure.append)
    other.reactor.pump([0.5] * int(2 * ANSWER_S))
    assert failure[0].check(ShuttingDown)
    assert str(failure[0].value).startswith(said)


def test_who_waits_at_the_end_is_told(other: Other) -> None:
    connected(other)
    failure: Any = []
    other.link.ask("usage").addErrback(failure.append)
    other.link.close()
    assert failure[0].check(ShuttingDown)


@pytest.mark.parametrize(
    "answer", [b"{", b"[]", b"5", b'{"id": "x"}', b'{"id": [1]}', b"\xff", b'{"id": true}']
)
def test_what_nobody_asked_for_is_let_be(other: Other, answer: bytes) -> None:
    connected(other)
    assert other.sock is not None
    other.sock.send(answer)
    other.link.doRead()
    assert other.link.is_connected

"""The ways to sinks, each against a real receiver, under a real reactor of their own."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.epollreactor import EPollReactor
from twisted.python.failure import Failure

from droned.drivers import sink_loki
from droned.drivers.clock import SystemClock
from droned.drivers.sink_datagram import DatagramLink
from droned.drivers.sink_endpoints import NamedEndpoint
from droned.drivers.sink_loki import LokiLink
from droned.drivers.sink_positions import SinkPositions
from droned.drivers.sink_stream import StreamLink
from droned.models.sinks import Address, Facility, Sink, SinkFailed, SinkKind, SinkPlace
from droned.protocols import syslog
from droned.protocols.captured import CapturedLine
from tests.drivers.receivers import Datagrams, Stream, line, loki, until
from tests.fakes.pools import InlinePool
from tests.protocols.wire import read_frames, read_message, read_push

FACTS = {"facility": Facility.DAEMON, "host": "h"}


@pytest.fixture
def reactor() -> Iterator[Any]:
    made: Any = EPollReactor()
    own = len(os.listdir("/proc/self/fd"))
    yield made
    until(made, lambda: len(os.listdir("/proc/self/fd")) == own)
    assert made.getDelayedCalls() == []
    for each in made.removeAll():
        each.connectionLost(None)
    made._poller.close()


def begun(work: Awaitable[int]) -> Deferred[int]:
    return Deferred.fromCoroutine(work)  # type: ignore[arg-type]  # a coroutine


def outcome(reactor: Any, work: Awaitable[int] | Deferred[int]) -> int | BaseException:
    """What became of it: how many lines were given up, or how it failed."""
    told: list[Any] = []
    (work if isinstance(work, Deferred) else begun(work)).addBoth(told.append)
    until(reactor, lambda: told)
    if isinstance(told[0], Failure):
        assert told[0].value is not None
        return told[0].value
    return int(told[0])


def failure(reactor: Any, work: Awaitable[int] | Deferred[int]) -> SinkFailed:
    told = outcome(reactor, work)
    assert isinstance(told, SinkFailed), told
    return told


# ---- datagrams


def datagram_link(reactor: Any, address: Address, most_bytes: int | None = None) -> DatagramLink:
    message = partial(syslog.message, most_bytes=most_bytes, **FACTS)  # type: ignore[arg-type]  # of two types
    return DatagramLink(address, message, reactor=reactor, pool=InlinePool())


def test_udp_takes_a_message_a_datagram(reactor: Any) -> None:
    far = Datagrams()
    link = datagram_link(reactor, Address(scheme="udp", host="localhost", port=far.port), 2048)
    sent = [line(1), line(2, "€" * 5000), line(3, "\udcff")]
    assert outcome(reactor, link.send(sent)) == 0
    one, two, three = map(read_message, far.taken())
    assert (one.text, three.text) == (b"line 1", b"\xff")
    assert two.facts["cut"] == "15000"
    link.close()
    far.close()


def test_udp_that_nobody_takes_is_sent_again_where_that_is_told(reactor: Any) -> None:
    far = Datagrams()
    port = far.port
    far.close()
    link = datagram_link(reactor, Address(scheme="udp", host="127.0.0.1", port=port))
    assert "nobody listens there" in str(failure(reactor, link.send([line(1)])))
    again = Datagrams(port=port)
    assert outcome(reactor, link.send([line(1)])) == 0
    assert len(again.taken()) == 1
    link.close()
    again.close()


def test_what_udp_cannot_carry_is_given_up_and_counted(reactor: Any) -> None:
    far = Datagrams()
    link = datagram_link(reactor, Address(scheme="udp", host="127.0.0.1", port=far.port))
    assert outcome(reactor, link.send([line(1), line(2, "x" * 70_000), line(3)])) == 1
    assert [read_message(each).text for each in far.taken()] == [b"line 1", b"line 3"]
    link.close()
    far.close()


def test_a_unix_socket_that_is_not_read_loses_nothing(reactor: Any, tmp_path: Path) -> None:
    far = Datagrams(tmp_path / "log")
    link = datagram_link(reactor, Address(scheme="unix", path=str(tmp_path / "log")))
    sending = begun(link.send([line(number) for number in range(500)]))
    for _ in range(20):
        reactor.iterate(0.01)
    assert not sending.called
    found: list[bytes] = []

    def taken() -> bool:
        found.extend(far.taken())
        return bool(sending.called)

    until(reactor, taken)
    found += far.taken()
    assert [read_message(each).text for each in found] == [b"line %d" % number for number in range(500)]
    link.close()
    far.close()


def test_a_full_unix_socket_can_be_given_up(reactor: Any, tmp_path: Path) -> None:
    far = Datagrams(tmp_path / "log")
    link = datagram_link(reactor, Address(scheme="unix", path=str(tmp_path / "log")))
    sending = begun(link.send([line(number) for number in range(5000)]))
    reactor.iterate(0.01)
    link.close()
    failure(reactor, sending)
    far.close()


def test_a_unix_socket_comes_back(reactor: Any, tmp_path: Path) -> None:
    path = tmp_path / "log"
    link = datagram_link(reactor, Address(scheme="unix", path=str(path)))
    assert "No such file" in str(failure(reactor, link.send([line(1)])))
    for _ in range(2):
        far = Datagrams(path)
        told = outcome(reactor, link.send([line(1)]))
        if isinstance(told, SinkFailed):  # the first send after the other one had gone
            told = outcome(reactor, link.send([line(1)]))
        assert told == 0
        assert len(far.taken()) == 1
        far.close()
        path.unlink()
    link.close()


def test_a_unix_socket_for_streams_is_named(reactor: Any, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "log"))
        other.listen()
        link = datagram_link(reactor, Address(scheme="unix", path=str(tmp_path / "log")))
        assert "it is no socket for datagrams" in str(failure(reactor, link.send([line(1)])))


# ---- a stream


def stream_link(reactor: Any, port: int, host: str = "127.0.0.1") -> StreamLink:
    def frame(each: CapturedLine) -> bytes:
        return syslog.framed(syslog.message(each, **FACTS))  # type: ignore[arg-type]  # of two types

    endpoint = NamedEndpoint(host, port, reactor=reactor, pool=InlinePool())
    address = Address(scheme="tcp", host=host, port=port)
    return StreamLink(address, frame, endpoint=endpoint, reactor=reactor)


def texts(received: bytearray) -> list[bytes]:
    return [read_message(each).text for each in read_frames(bytes(received))]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_stream_counts_octets_over_one_connection(reactor: Any, host: str) -> None:
    far = Stream()
    link = stream_link(reactor, far.port, host)
    for number in range(3):
        assert outcome(reactor, link.send([line(number), line(10 + number, "a\0b")])) == 0
    link.close()
    until(reactor, lambda: far.read() and far.ended)
    assert len(far.connections) == 1
    assert texts(far.received[0]) == [b"line 0", b"a\0b", b"line 1", b"a\0b", b"line 2", b"a\0b"]
    far.close()


def test_a_stream_that_is_not_read_is_waited_for(reactor: Any) -> None:
    far = Stream()
    link = stream_link(reactor, far.port)
    sent = [line(number, f"{number:05d}" * 2000) for number in range(200)]
    sending = begun(link.send(sent))
    until(reactor, far.accept)
    for _ in range(30):
        reactor.iterate(0.01)
    assert not sending.called
    until(reactor, lambda: far.read() and sending.called)
    far.read()
    assert texts(far.received[0]) == [each.text_bytes for each in sent]
    link.close()
    until(reactor, lambda: far.read() and far.ended)
    far.close()


def test_what_a_broken_connection_did_not_take_fails_and_goes_over_the_next(reactor: Any) -> None:
    far = Stream()
    link = stream_link(reactor, far.port)
    sent = [line(number, f"{number:05d}" * 2000) for number in range(200)]
    sending = begun(link.send(sent))
    until(reactor, far.accept)
    far.break_off()
    assert f"cannot send to tcp://127.0.0.1:{far.port}: " in str(failure(reactor, sending))
    again = begun(link.send(sent))
    until(reactor, lambda: far.read() and again.called)
    assert texts(far.received[1]) == [each.text_bytes for each in sent]
    link.close()
    until(reactor, lambda: far.read() and far.ended)
    far.close()


def test_a_connection_that_was_ended_meanwhile_is_made_again(reactor: Any) -> None:
    far = Stream()
    link = stream_link(reactor, far.port)
    assert outcome(reactor, link.send([line(1)])) == 0
    far.accept()
    far.break_off()
    for _ in range(5):
        reactor.iterate(0.01)
    assert outcome(reactor, link.send([line(2)])) == 0
    far.read()
    assert texts(far.received[1]) == [b"line 2"]
    link.close()
    until(reactor, lambda: far.read() and far.ended)
    far.close()


def test_nobody_listens_for_a_stream(reactor: Any) -> None:
    far = Stream()
    far.close()
    link = stream_link(reactor, far.port)
    assert "refused" in str(failure(reactor, link.send([line(1)])))
    link.close()


def test_a_stream_that_stalls_can_be_given_up(reactor: Any) -> None:
    far = Stream()
    link = stream_link(reactor, far.port)
    sending = begun(link.send([line(number, "x" * 10_000) for number in range(500)]))
    until(reactor, far.accept)
    link.close()
    failure(reactor, sending)
    far.close()


def test_a_name_that_is_none_is_told(reactor: Any) -> None:
    link = stream_link(reactor, 1, "no-such-host.invalid")
    assert "cannot look up no-such-host.invalid" in str(failure(reactor, link.send([line(1)])))


# ---- HTTP


def loki_link(reactor: Any, port: int, path: str = "/loki/api/v1/push") -> LokiLink:
    sink = Sink(
        name="far",
        kind=SinkKind.LOKI,
        address=Address(scheme="http", host="127.0.0.1", port=port, path=path),
        labels={"env": "test"},
    )
    return LokiLink(sink, "h", reactor=reactor, pool=InlinePool(), clock=SystemClock())


def test_pushes_go_over_one_connection(reactor: Any) -> None:
    with loki() as far:
        link = loki_link(reactor, far.port, "/push?x=1")
        for number in range(3):
            assert outcome(reactor, link.send([line(number)])) == 0
        link.close()
        assert [read_push(body)[0][2] for body in far.bodies] == ["line 0", "line 1", "line 2"]
        assert read_push(far.bodies[0])[0][0]["env"] == "test"
        assert far.headers[0]["Content-Type"] == "application/json"
        assert far.headers[0]["User-Agent"].startswith("droned/")
        assert set(far.paths) == {"/push?x=1"}
        assert len(far.connections) == 1


def test_what_cannot_be_taken_now_fails_and_says_when_to_come_again(reactor: Any) -> None:
    with loki(lambda number: [(429, {"Retry-After": "7"}, b"too fast\n"), (503, {}, b"")][number]) as far:
        link = loki_link(reactor, far.port)
        first = failure(reactor, link.send([line(1)]))
        assert "it answers 429: too fast" in str(first)
        assert first.retry_after_s == 7.0
        second = failure(reactor, link.send([line(1)]))
        assert (str(second).endswith("it answers 503"), second.retry_after_s) == (True, None)
        assert len(set(far.bodies)) == 1
        link.close()


def test_what_is_refused_for_good_is_given_up(reactor: Any) -> None:
    with loki(lambda number: (400, {}, b"entry too far behind" + b"x" * 100_000)) as far:
        link = loki_link(reactor, far.port)
        assert outcome(reactor, link.send([line(1), line(2)])) == 2
        assert link.refusal.startswith("400: entry too far behind")
        assert len(link.refusal) < 300
        link.close()


def test_a_push_without_an_answer_is_given_up(reactor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sink_loki, "ANSWER_S", 0.2)
    with loki(lambda number: None if number == 0 else (204, {}, b"")) as far:
        link = loki_link(reactor, far.port)
        assert "no answer in 0.2 s" in str(failure(reactor, link.send([line(1)])))
        assert outcome(reactor, link.send([line(1)])) == 0
        link.close()


def test_a_push_can_be_given_up(reactor: Any) -> None:
    with loki(lambda number: None) as far:
        link = loki_link(reactor, far.port)
        sending = begun(link.send([line(1)]))
        until(reactor, lambda: far.bodies)
        link.close()
        failure(reactor, sending)


def test_nobody_listens_for_pushes(reactor: Any) -> None:
    with loki() as far:
        port = far.port
    link = loki_link(reactor, port)
    assert "refused" in str(failure(reactor, link.send([line(1)])))
    link.close()


# ---- positions


def test_places_are_kept_and_those_of_others_forgotten(tmp_path: Path) -> None:
    kept = SinkPositions(str(tmp_path / "logs"))
    assert kept.read("far") is None
    kept.forget_all_but(())
    begun = SinkPlace(None, 1.5)
    for name, place in (("far", begun), ("far", SinkPlace(7, 1.5)), ("other", begun), ("old", begun)):
        kept.write(name, place)
    kept.forget_all_but(("far", "other"))
    assert [kept.read(name) for name in ("far", "other", "old")] == [SinkPlace(7, 1.5), begun, None]
    assert sorted(os.listdir(tmp_path / "logs")) == ["forward-far.json", "forward-other.json"]


@pytest.mark.parametrize(
    "content",
    ["", "7", '{"position": -1, "since": 1}', '{"position": "7", "since": 1}', '{"since": "x"}', "\xff"],
)
def test_a_place_that_is_none_is_not_known(tmp_path: Path, content: str) -> None:
    (tmp_path / "forward-far.json").write_text(content, "latin-1")
    assert SinkPositions(str(tmp_path)).read("far") is None

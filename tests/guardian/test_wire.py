"""Messages survive the wire, and what is not a message does not get past it."""

import json
import os
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.guardian import wire
from droned.guardian.wire import messages
from tests.guardian.harness import launch

# Any text that os.fsdecode can give: lone surrogates stand for bytes that are no UTF-8.
texts = st.text(st.characters(exclude_categories=()), max_size=50)
pairs = st.lists(st.tuples(texts, st.integers(1, 10**9)).map(list), max_size=20)
floats = st.floats(allow_nan=False, allow_infinity=False)

to_guardian = st.one_of(
    st.fixed_dictionaries({"type": st.just("progress"), "text": texts}),
    st.fixed_dictionaries({"type": st.just("pong"), "n": st.integers()}),
    st.fixed_dictionaries(
        {
            "type": st.just("signal"),
            "instance": texts,
            "run": st.integers(1),
            "signal": st.integers(1, 64),
            "to": st.sampled_from(["main", "group", "tree"]),
        }
    ),
    st.fixed_dictionaries({"type": st.just("ack"), "ended": pairs, "head": st.none()}),
    st.fixed_dictionaries(
        {
            "type": st.just("spawn"),
            "instance": texts,
            "run": st.integers(1),
            "launch": st.builds(
                lambda argv, env: {**launch(*argv), "env": env},
                st.lists(texts, max_size=5),
                st.dictionaries(texts, texts, max_size=5),
            ),
        }
    ),
)
to_daemon = st.one_of(
    st.fixed_dictionaries({"type": st.just("ping"), "n": st.integers()}),
    st.fixed_dictionaries(
        {
            "type": st.just("ended"),
            "instance": texts,
            "run": st.integers(1),
            "status": st.none() | st.integers(0, 65535),
            "at": floats,
            "cpu_s": st.none() | floats,
            "max_rss_bytes": st.none() | st.integers(0),
            "leftovers": st.integers(0),
        }
    ),
)


def packets_of(outbox: wire.Outbox) -> list[bytes]:
    """What an outbox sends, packet by packet."""
    ours, theirs = wire.pair_socket()
    with ours, theirs:
        found = []
        while not outbox.flush(ours):
            found.append(theirs.recv(1 << 20))
        while True:
            try:
                found.append(theirs.recv(1 << 20))
            except BlockingIOError:
                return found


@given(st.lists(to_guardian, max_size=30))
def test_what_the_daemon_says_arrives_as_it_was_said(said: list[dict[str, Any]]) -> None:
    outbox, reader = wire.Outbox(), wire.to_guardian()
    for message in said:
        outbox.add(message)
    packets = packets_of(outbox)
    assert all(len(packet) <= wire.PACKET_BYTES and packet.isascii() for packet in packets)
    assert [message for packet in packets for message, _ in reader.parse(packet)] == said


@given(st.lists(to_daemon, max_size=30))
def test_what_the_guardian_says_arrives_as_it_was_said(said: list[dict[str, Any]]) -> None:
    reader = wire.to_daemon()
    packet = wire.encode(said).encode()
    assert [message for message, _ in reader.parse(packet)] == said


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: json.dumps(text).encode()))
def test_nonsense_is_refused_and_nothing_else_happens(packet: bytes) -> None:
    reader = wire.to_guardian()
    try:
        assert reader.parse(packet) == []
    except wire.WireError:
        pass


@pytest.mark.parametrize(
    "message",
    [
        {"type": "signal", "instance": "web/0", "run": "1", "signal": 9, "to": "main"},
        {"type": "signal", "instance": "web/0", "run": True, "signal": 9, "to": "main"},
        {"type": "signal", "instance": "web/0", "run": 1, "signal": 9, "to": "everybody"},
        {"type": "signal", "instance": "web/0", "run": 1, "signal": 9},
        {"type": "ack", "ended": [["web/0", 1, 2]], "head": None},
        {"type": "ack", "ended": [], "head": {"version": "1", "digest": ""}},
        {"type": "spawn", "instance": "web/0", "run": 1, "launch": {**launch("x"), "argv": [1]}},
        {"type": "spawn", "instance": "web/0", "run": 1, "launch": {**launch("x"), "env": {"A": 1}}},
        {
            "type": "spawn",
            "instance": "web/0",
            "run": 1,
            "launch": {**launch("x"), "limits": {"nofile": [1.5]}},
        },
        {"type": "park", "name": "log", "fds": 1},
        {"type": "park", "name": "log", "fds": -1},
        {"type": "park", "name": "log", "fds": "1"},
        ["type", "pong"],
        7,
    ],
)
def test_a_message_of_the_wrong_shape_is_refused(message: object) -> None:
    with pytest.raises(wire.WireError, match=r"^cannot"):
        wire.to_guardian().parse(wire.encode([message]).encode())


def test_unknown_types_are_counted_and_unknown_fields_pass() -> None:
    """So a release can say more than the one before it understands."""
    reader = wire.to_guardian()
    said = [{"type": "sing"}, {"type": 5}, {"type": "pong", "n": 1, "key": "new"}]
    assert [message["type"] for message, _ in reader.parse(wire.encode(said).encode())] == ["pong"]
    assert reader.ignored == 2


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(wire.WireError):
        wire.to_guardian().parse(b"[" * 30_000 + b"]" * 30_000)


def test_many_messages_travel_in_few_packets_in_order() -> None:
    outbox = wire.Outbox()
    for number in range(10_000):
        outbox.add({"type": "pong", "n": number})
    packets = packets_of(outbox)
    assert len(packets) <= 5
    found = [message["n"] for packet in packets for message, _ in wire.to_guardian().parse(packet)]
    assert found == list(range(10_000))


def test_a_message_that_no_packet_holds_is_refused_when_said() -> None:
    with pytest.raises(wire.WireError, match="cannot send a message 'status'"):
        wire.Outbox().add({"type": "status", "text": "x" * wire.PACKET_BYTES})


def test_descriptors_arrive_with_the_message_that_announced_them() -> None:
    ours, theirs = wire.pair_socket()
    outbox, reader = wire.Outbox(), wire.to_guardian()
    files = [os.memfd_create(f"file-{number}") for number in range(3)]
    for number, fd in enumerate(files):
        os.write(fd, b"%d" % number)
        outbox.add({"type": "pong", "n": number})
        outbox.add({"type": "park", "name": str(number), "fds": 1}, [fd])
        os.close(fd)  # the outbox has a copy of its own
    with ours, theirs:
        assert outbox.flush(ours)
        deliveries = reader.receive(theirs)
    assert deliveries is not None
    for message, fds in deliveries:
        if message["type"] == "park":
            (fd,) = fds
            assert not os.get_inheritable(fd)
            assert os.pread(fd, 10, 0).decode() == message["name"]
            os.close(fd)


def test_descriptors_that_nobody_announced_are_closed() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = wire.pair_socket()
    with ours, theirs:
        for said in ({"type": "pong", "n": 1}, {"type": "sing", "fds": 1}):
            fd = os.memfd_create("extra")
            socket.send_fds(ours, [wire.encode([said]).encode()], [fd, fd])
            os.close(fd)
            wire.to_guardian().receive(theirs)
        fd = os.memfd_create("extra")
        socket.send_fds(ours, [b"nonsense"], [fd])
        os.close(fd)
        with pytest.raises(wire.WireError):
            wire.to_guardian().receive(theirs)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_end_of_a_connection_is_none() -> None:
    ours, theirs = wire.pair_socket()
    with theirs:
        with pytest.raises(BlockingIOError):
            wire.to_guardian().receive(theirs)
        ours.close()
        assert wire.to_guardian().receive(theirs) is None


def test_a_launch_in_a_memfd_is_sealed_and_checked() -> None:
    order: Any = launch("x" * 100_000)
    message = messages.Spawn(type="spawn", instance="web/0", run=1, launch=None, fds=1)
    fd = wire.launch_in_memfd(order)
    assert wire.launch_of(message, (fd,)) == order
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    os.close(fd)
    with pytest.raises(wire.WireError, match="cannot find the launch"):
        wire.launch_of(message, ())
    unsealed = os.memfd_create("launch")
    os.write(unsealed, json.dumps(order).encode())
    with pytest.raises(wire.WireError, match="cannot"):
        wire.launch_of(message, (unsealed,))
    os.close(unsealed)
    fd = wire.launch_in_memfd(order | {"argv": 5})
    with pytest.raises(wire.WireError, match="argv"):
        wire.launch_of(message, (fd,))
    os.close(fd)
    with pytest.raises(wire.WireError, match="the limit is"):
        wire.launch_in_memfd(order | {"argv": ["x" * wire.LAUNCH_BYTES]})

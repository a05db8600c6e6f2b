"""Messages to packets and back: lengths and types are checked here, before anything is used.

`Outbox` batches what one side sends, `Reader` takes packets apart. Neither
waits and neither owns the socket. Descriptors travel in the order of the
messages that announce them with "fds".
"""

import fcntl
import json
import os
import socket
import sys
import types
import typing
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

from droned.guardian.wire import captures, messages
from droned.guardian.wire.messages import LAUNCH_BYTES, PACKET_BYTES, PACKET_FDS, Launch, Message

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_ANCILLARY_BYTES = socket.CMSG_SPACE(4 * (PACKET_FDS + 3))
_SOCKET_BUFFER_BYTES = 4 * 1024 * 1024

encode: Callable[[object], str] = json.JSONEncoder(
    ensure_ascii=True, check_circular=False, separators=(",", ":")
).encode
"""One value as ASCII JSON. Lone surrogates come back as they were."""

Check = Callable[[object], bool]
Shape = tuple[tuple[str, frozenset[type], Check | None, bool], ...]
Delivery = tuple[Message, tuple[int, ...]]
"""A message and its descriptors, which are the receiver's to close."""


class WireError(Exception):
    """A packet or message that cannot be read or sent."""


def pair_socket() -> tuple[socket.socket, socket.socket]:
    """Two connected, non-blocking ends for one life of a daemon."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
    return ends


# ---- shapes


def _plain_types(annotation: Any) -> tuple[frozenset[type], Check | None]:
    """The exact types that JSON gives for `annotation`; a deeper check where types alone say too little."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Literal:
        return frozenset({str}), frozenset(arguments).__contains__
    if origin in (typing.Union, types.UnionType):
        found: frozenset[type] = frozenset()
        deep: Check | None = None
        for part in arguments:
            its_types, its_check = _plain_types(part)
            found |= its_types
            deep = its_check or deep
        if deep is not None and type(None) in found:
            deep = _or_null(deep)
        return found, deep
    if annotation is messages.Pair:
        return frozenset({list}), _is_pair
    if origin is list:
        return frozenset({list}), _all_of(arguments[0], list)
    if origin is dict:
        return frozenset({dict}), _all_of(arguments[1], dict)
    if annotation is float:
        return frozenset({float, int}), None
    if typing.is_typeddict(annotation):
        return frozenset({dict}), _has_shape(annotation)
    return frozenset({annotation}), None


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) is str and type(value[1]) is int


def _all_of(annotation: Any, container: type) -> Check:
    kinds, deep = _plain_types(annotation)

    def check(value: Any) -> bool:
        members = value.values() if container is dict else value
        return all(type(member) in kinds and (deep is None or deep(member)) for member in members)

    return check


def _shape_of(message: Any) -> Shape:
    """The fields of TypedDict `message`: name, types, deeper check, whether it may be missing."""
    fields = []
    for name, annotation in typing.get_type_hints(message, include_extras=True).items():
        if name == "type":
            continue  # the shape was found by it
        optional = typing.get_origin(annotation) is typing.NotRequired
        inner = typing.get_args(annotation)[0] if optional else annotation
        fields.append((name, *_plain_types(inner), optional))
    return tuple(fields)


def _has_shape(message: Any) -> Check:
    shape = _shape_of(message)
    return lambda value: _fault(shape, value) is None  # type: ignore[arg-type]  # its type was checked first


def _fault(shape: Shape, message: Message) -> str | None:
    """The first field of `message` that does not fit `shape`, or None."""
    for name, kinds, deep, optional in shape:
        if name in message:
            value = message[name]
            if type(value) not in kinds or (deep is not None and not deep(value)):
                return name
        elif not optional:
            return name
    return None


def _shapes(union: Any) -> dict[str, Shape]:
    return {
        typing.get_args(message.__annotations__["type"])[0]: _shape_of(message)
        for message in typing.get_args(union)
    }


class Reader:
    """Takes packets of one direction apart and counts what it did not know."""

    __slots__ = ("_shapes", "ignored")

    def __init__(self, shapes: dict[str, Shape]) -> None:
        self._shapes = shapes
        self.ignored = 0

    def receive(self, sock: socket.socket) -> list[Delivery] | None:
        """The messages of the next packet; None at the end of the connection.

        Raises BlockingIOError when there is none yet, WireError for a packet
        that cannot be read, OSError when the connection broke.
        """
        packet, ancillary, flags, _ = sock.recvmsg(PACKET_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC)
        fds = _descriptors_in(ancillary)
        if not packet:
            _close(fds)
            return None
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            _close(fds)
            raise WireError(f"cannot read a packet of more than {PACKET_BYTES} bytes")
        return self.parse(packet, fds)

    def parse(self, packet: bytes, fds: Sequence[int] = ()) -> list[Delivery]:
        """The messages of one packet with their descriptors; closes those that nobody announced."""
        try:
            found = json.loads(packet)
        except (ValueError, RecursionError) as error:
            _close(fds)
            raise WireError(f"cannot read a packet of {len(packet)} bytes: {error}") from error
        left = deque(fds)
        deliveries = []
        try:
            for message in found if type(found) is list else [found]:
                delivery = self._delivery(message, left)
                if delivery is not None:
                    deliveries.append(delivery)
        except WireError:
            for _, taken in deliveries:
                _close(taken)
            raise
        finally:
            _close(left)
        return deliveries

    def _delivery(self, message: Any, left: deque[int]) -> Delivery | None:
        if type(message) is not dict:
            raise WireError(f"cannot take {type(message).__name__} as a message")
        kind = message.get("type")
        shape = self._shapes.get(kind) if type(kind) is str else None
        taken: tuple[int, ...] = ()
        count = message.get("fds", 0)
        if count:
            if type(count) is not int or not 0 < count <= len(left):
                raise WireError(f"cannot find the {count!r} descriptors of a message {kind!r}")
            taken = tuple(left.popleft() for _ in range(count))
        if shape is None:
            self.ignored += 1
            _close(taken)
            return None
        fault = _fault(shape, message)
        if fault is not None:
            _close(taken)
            raise WireError(f"cannot take a message {kind!r} with {fault} = {message.get(fault)!r:.80}")
        return message, taken


def to_guardian() -> Reader:
    """A reader for what daemons send."""
    return Reader(_TO_GUARDIAN)


def to_daemon() -> Reader:
    """A reader for what guardians send."""
    return Reader(_TO_DAEMON)


def to_logs() -> Reader:
    """A reader for what guardians send to `droned-logs`."""
    return Reader(_shapes(captures.ToLogs))


def from_logs() -> Reader:
    """A reader for what `droned-logs` sends."""
    return Reader(_shapes(captures.FromLogs))


# ---- sending


class Outbox:
    """Messages that wait to be sent, in order, batched into as few packets as they fit.

    Descriptors are duplicated when taken and closed when sent or dropped, so
    the caller keeps its own.
    """

    __slots__ = ("_fds", "_size", "_texts", "_waiting")

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._texts: list[str] = []
        self._fds: list[int] = []
        self._size = 0

    def __bool__(self) -> bool:
        return bool(self._texts or self._waiting)

    @property
    def has_packet(self) -> bool:
        """Whether a packet is full: it need not wait for what comes after it."""
        return bool(self._waiting)

    def add(self, message: Any, fds: Iterable[int] = ()) -> None:
        """Queue `message` with copies of `fds`; WireError when it fits no packet."""
        text = encode(message)
        if len(text) + 2 > PACKET_BYTES:
            raise WireError(f"cannot send a message {message.get('type')!r} of {len(text)} bytes")
        copies = [os.dup(fd) for fd in fds]
        if self._size + len(text) + 2 > PACKET_BYTES or len(self._fds) + len(copies) > PACKET_FDS:
            self._close_packet()
        self._texts.append(text)
        self._fds += copies
        self._size += len(text) + 1

    def flush(self, sock: socket.socket) -> bool:
        """Send what the socket takes; True when all is sent.

        Raises OSError (EPIPE, ECONNRESET) when the other side is gone.
        """
        self._close_packet()
        while self._waiting:
            packet, fds = self._waiting[0]
            try:
                if fds:
                    socket.send_fds(sock, [packet], fds)
                else:
                    sock.send(packet)
            except BlockingIOError:
                return False
            self._waiting.popleft()
            _close(fds)
        return True

    def drop(self) -> None:
        """Forget all that waits."""
        self._close_packet()
        for _, fds in self._waiting:
            _close(fds)
        self._waiting.clear()

    def _close_packet(self) -> None:
        if self._texts:
            self._waiting.append((f"[{','.join(self._texts)}]".encode("ascii"), self._fds))
            self._texts, self._fds, self._size = [], [], 0


# ---- large launches


def launch_in_memfd(launch: Launch) -> int:
    """A sealed memfd that holds `launch`, for a `spawn` that fits no packet; the caller closes it.

    Raises WireError when it is larger than `LAUNCH_BYTES`.
    """
    text = encode(launch).encode("ascii")
    if len(text) > LAUNCH_BYTES:
        raise WireError(f"cannot send a launch of {len(text)} bytes, the limit is {LAUNCH_BYTES}")
    fd = os.memfd_create("droned-launch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        written = 0
        while written < len(text):
            written += os.write(fd, text[written:])
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def launch_of(message: messages.Spawn, fds: Sequence[int]) -> Launch:
    """The launch of a `spawn`, from the message or its memfd, whose descriptor stays the caller's.

    Raises WireError when it is missing, unsealed, too large or of the wrong shape.
    """
    if message["launch"] is not None:
        return message["launch"]
    if len(fds) != 1:
        raise WireError(f"cannot find the launch of {message['instance']}")
    try:
        seals = fcntl.fcntl(fds[0], fcntl.F_GET_SEALS)
        size = os.fstat(fds[0]).st_size
        if seals & _SEALS != _SEALS or size > LAUNCH_BYTES:
            raise WireError(f"cannot take an unsealed launch or one of {size} bytes")
        launch = json.loads(os.pread(fds[0], size, 0))
    except (OSError, ValueError, RecursionError) as error:
        raise WireError(f"cannot read the launch of {message['instance']}: {error}") from error
    if type(launch) is not dict or (fault := _fault(_LAUNCH, launch)) is not None:
        raise WireError(f"cannot take the launch of {message['instance']}: {fault}")
    return typing.cast(Launch, launch)


# ---- descriptors


def _descriptors_in(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, content in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds += [
                int.from_bytes(content[at : at + 4], sys.byteorder)
                for at in range(0, len(content) - len(content) % 4, 4)
            ]
    return fds


def _close(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


_LAUNCH = _shape_of(Launch)
_TO_GUARDIAN = _shapes(messages.ToGuardian)
_TO_DAEMON = _shapes(messages.ToDaemon)

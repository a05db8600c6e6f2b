"""A sink that takes datagrams: a syslog daemon over UDP or at a Unix socket.

A Unix socket says when it is full: what is sent waits until it is read. UDP
says nothing. What the host itself cannot send is given up and counted; that
nobody listens is told by some networks, and then the lines are kept.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from droned.drivers.sink_endpoints import resolve
from droned.models.ports import IPool, ISinkLink
from droned.models.sinks import Address, SinkFailed
from droned.protocols.captured import CapturedLine

FULL = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})


@implementer(ISinkLink)
class DatagramLink:
    """Sends each line as one datagram."""

    linger_s = 0.0
    most_lines = 200

    def __init__(
        self, address: Address, message: Callable[[CapturedLine], bytes], *, reactor: Any, pool: IPool
    ) -> None:
        """`message` makes a datagram of a line; names are looked up in `pool`."""
        self._address = address
        self._message = message
        self._reactor = reactor
        self._pool = pool
        self._socket: socket.socket | None = None
        self._room: _Room | None = None

    async def send(self, lines: Sequence[CapturedLine]) -> int:
        """See `ISinkLink`."""
        if self._socket is None:
            self._socket = await self._opened()
        given_up = 0
        try:
            for line in lines:
                given_up += not await self._send_one(self._socket, self._message(line))
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "")
        except OSError as error:
            self.close()
            raise SinkFailed(f"cannot send to {self._address}: {_words(error)}") from error
        return given_up

    async def _send_one(self, sock: socket.socket, content: bytes) -> bool:
        while True:
            try:
                sock.send(content)
                return True
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return False  # too long for this host's buffers: it will never go
                if error.errno not in FULL:
                    raise
                if self._address.scheme == "udp":
                    return False
            await self._until_there_is_room(sock)

    async def _until_there_is_room(self, sock: socket.socket) -> None:
        self._room = _Room(sock.fileno(), self._reactor)
        try:
            await self._room.found
        finally:
            self._room = None

    async def _opened(self) -> socket.socket:
        if self._address.scheme == "unix":
            family: int = socket.AF_UNIX
            to: Any = self._address.path
        else:
            host, port = self._address.host, self._address.port
            family, to = (await resolve(host, port, socket.SOCK_DGRAM, self._pool))[0]
        sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            sock.connect(to)
        except OSError as error:
            sock.close()
            raise SinkFailed(f"cannot reach {self._address}: {_words(error)}") from error
        return sock

    def close(self) -> None:
        """See `ISinkLink`."""
        if self._room is not None:
            self._room.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _words(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nobody listens there"
    if error.errno == errno.EPROTOTYPE:
        return "it is no socket for datagrams"
    return errno.errorcode.get(error.errno or 0, "") + (f" {error.strerror}" if error.strerror else "")


@implementer(IWriteDescriptor)
class _Room:
    """Waits until a socket takes more."""

    def __init__(self, descriptor: int, reactor: Any) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self.found: Deferred[None] = Deferred()
        reactor.addWriter(self)

    def close(self) -> None:
        """Nobody waits any more: `found` fails."""
        if self._leave():
            self.found.errback(Failure(OSError(errno.EBADF, "closed")))

    def _leave(self) -> bool:
        self._reactor.removeWriter(self)
        is_first, self._descriptor = self._descriptor >= 0, -1
        return is_first

    def fileno(self) -> int:  # Twisted's name
        """The number of the socket."""
        return self._descriptor

    def logPrefix(self) -> str:  # Twisted's name
        """What the reactor's own log calls us."""
        return "sink"

    def doWrite(self) -> None:  # Twisted's name
        """There is room."""
        if self._leave():
            self.found.callback(None)

    def connectionLost(self, reason: Failure) -> None:  # Twisted's name
        """The reactor found the socket broken: the next send says how."""
        if self._leave():
            self.found.callback(None)

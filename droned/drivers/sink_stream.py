"""A sink that takes a stream over TCP: a syslog daemon with counted octets.

Syslog has no acknowledgement. Lines count as taken when the other host has
acknowledged every byte of them (its kernel, that is): a connection that
breaks before has its lines sent again.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPullProducer, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from droned.models.ports import ISinkLink
from droned.models.sinks import Address, SinkFailed
from droned.protocols.captured import CapturedLine

FIRST_LOOK_S = 0.001
LONGEST_LOOK_S = 0.1
GIVE_UP_MS = 300_000
"""A host that acknowledges nothing for so long is gone (TCP_USER_TIMEOUT)."""


@implementer(ISinkLink)
class StreamLink:
    """Sends lines one behind the other."""

    linger_s = 0.0
    most_lines = 1000

    def __init__(
        self,
        address: Address,
        frame: Callable[[CapturedLine], bytes],
        *,
        endpoint: IStreamClientEndpoint,
        reactor: Any,
    ) -> None:
        """`frame` makes of a line what is sent of it."""
        self._address = address
        self._frame = frame
        self._endpoint = endpoint
        self._reactor = reactor
        self._connecting: Any = None
        self._connection: _Connection | None = None

    async def send(self, lines: Sequence[CapturedLine]) -> int:
        """See `ISinkLink`."""
        if self._connection is None or self._connection.is_lost:
            self._connection = await self._connected()
        await self._connection.put(b"".join(map(self._frame, lines)))
        return 0

    async def _connected(self) -> _Connection:
        factory = Factory.forProtocol(lambda: _Connection(self._reactor, str(self._address)))
        factory.noisy = False
        self._connecting = self._endpoint.connect(factory)
        try:
            made: _Connection = await self._connecting
        except SinkFailed:
            raise
        except Exception as error:  # a named border: whatever a connection can fail with
            raise SinkFailed(f"cannot reach {self._address}: {error}") from error
        finally:
            self._connecting = None
        return made

    def close(self) -> None:
        """See `ISinkLink`."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@implementer(IPullProducer)
class _Connection(Protocol):
    """One connection; what comes from the other side is of no meaning."""

    transport: Any

    def __init__(self, reactor: Any, where: str) -> None:
        self._reactor = reactor
        self._where = where
        self._content = b""
        self._taken: Deferred[None] | None = None
        self._look: Any = None
        self.is_lost = False

    def connectionMade(self) -> None:  # Twisted's name
        """Have the kernel notice a host that is gone."""
        self.transport.setTcpKeepAlive(True)
        self.transport.getHandle().setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GIVE_UP_MS)

    def put(self, content: bytes) -> Deferred[None]:
        """Send; fires when the other host has it all."""
        self._content = content
        self._taken = Deferred()
        self.transport.registerProducer(self, False)
        return self._taken

    def resumeProducing(self) -> None:  # Twisted's name
        """Nothing is left in the transport: give it what is to be sent, or see what became of it."""
        if self._content:
            content, self._content = self._content, b""
            self.transport.write(content)
        else:
            self.transport.unregisterProducer()
            self._see(FIRST_LOOK_S)

    def stopProducing(self) -> None:  # Twisted's name
        """The connection is lost, which is told by `connectionLost`."""

    def _see(self, again_s: float) -> None:
        """Look whether the other host has acknowledged everything."""
        self._look = None
        if self._unacknowledged():
            again = min(2 * again_s, LONGEST_LOOK_S)
            self._look = self._reactor.callLater(again_s, self._see, again)
        elif self._taken is not None:
            taken, self._taken = self._taken, None
            taken.callback(None)

    def _unacknowledged(self) -> int:
        """Bytes that the kernel still keeps for the other host."""
        try:
            told = fcntl.ioctl(self.transport.getHandle().fileno(), termios.TIOCOUTQ, bytes(4))
        except OSError:
            return 0  # not a system that tells
        return int(struct.unpack("i", told)[0])

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # Twisted's name
        """What is not acknowledged is to be sent again."""
        self.is_lost = True
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._taken is not None:
            taken, self._taken = self._taken, None
            text = f"cannot send to {self._where}: {reason.getErrorMessage().rstrip('.')}"
            taken.errback(Failure(SinkFailed(text)))

    def close(self) -> None:
        """End the connection; break it when the other host still has to take something."""
        if self._taken is None:
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

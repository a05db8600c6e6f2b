"""TLS over a connection to a sink; imported for https alone, and OpenSSL with it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer


@implementer(IStreamClientEndpoint)
class SecureEndpoint:
    """Connects as another endpoint does and speaks TLS."""

    def __init__(self, plain: IStreamClientEndpoint, options: Any, *, reactor: Any) -> None:
        """`options` checks the certificate (`optionsForClientTLS`)."""
        self._reactor = reactor
        self._plain = plain
        self._options = options

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """A connection; its certificate is checked by the first bytes over it."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        tls = TLSMemoryBIOFactory(self._options, True, factory, clock=self._reactor)
        secure: Any = await self._plain.connect(tls)
        wrapped: IProtocol = secure.wrappedProtocol
        return wrapped

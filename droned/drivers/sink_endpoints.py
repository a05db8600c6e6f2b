"""Connections to sinks: a name is looked up in a pool of ours, and its addresses are tried in order."""

from __future__ import annotations

import socket
from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from droned.drivers.plain_imports import import_plain
from droned.models.ports import IPool
from droned.models.sinks import SinkFailed

CONNECT_S = 10.0

Resolved = list[tuple[int, tuple[Any, ...]]]
"""Family and address, as `socket.connect` takes it."""


def looked_up(host: str, port: int, kind: int) -> Resolved:
    """The addresses of a name, best first; can block for as long as a name server takes. OSError for none."""
    found = socket.getaddrinfo(host, port, type=kind)
    return [(int(family), tuple(address)) for family, _, _, _, address in found]


async def resolve(host: str, port: int, kind: int, pool: IPool) -> Resolved:
    """The same without blocking. Raises SinkFailed."""
    try:
        # What is an address already needs nobody's answer.
        return [
            (int(family), tuple(address))
            for family, _, _, _, address in socket.getaddrinfo(
                host, port, type=kind, flags=socket.AI_NUMERICHOST
            )
        ]
    except OSError:
        pass
    try:
        found: Resolved = await pool.run(looked_up, host, port, kind)
        return found
    except OSError as error:
        raise SinkFailed(f"cannot look up {host}: {error.strerror}") from error


def import_endpoints() -> Any:
    """Twisted's endpoints; better called in a thread at first."""
    return import_plain("twisted.internet.endpoints")


@implementer(IStreamClientEndpoint)
class NamedEndpoint:
    """A host and port that is looked up at each connect."""

    def __init__(self, host: str, port: int, *, reactor: Any, pool: IPool) -> None:
        self._host = host
        self._port = port
        self._reactor = reactor
        self._pool = pool

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """A connection to the first address that takes one; fails as the last that did not."""
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        addresses = await resolve(self._host, self._port, socket.SOCK_STREAM, self._pool)
        for family, address in addresses[:-1]:
            try:
                return await self._to(family, address, factory)
            except Exception:  # noqa: BLE001  # whatever it is, the next address may be well
                continue
        return await self._to(*addresses[-1], factory)

    def _to(self, family: int, address: tuple[Any, ...], factory: IProtocolFactory) -> Awaitable[IProtocol]:
        endpoints = import_endpoints()
        is_ip6 = family == socket.AF_INET6
        endpoint = endpoints.TCP6ClientEndpoint if is_ip6 else endpoints.TCP4ClientEndpoint
        made: Awaitable[IProtocol] = endpoint(
            self._reactor, address[0], address[1], timeout=CONNECT_S
        ).connect(factory)
        return made

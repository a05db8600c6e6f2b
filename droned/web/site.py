"""The site: its connections, their limits, and its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.web.resource import IResource
from twisted.web.server import Site

from droned.commands.dispatcher import Caller
from droned.commands.table import Role
from droned.models.ports import IClock, ITimers
from droned.web.channel import ApiChannel, Limits
from droned.web.request import ApiRequest

SWEEP_S = 1.0
"""How often connections are held against their deadlines, while there are any."""
FAREWELL_S = 2.0
"""What answers under way are given when the site ends."""


class Visitor(Protocol):
    """Who is at the other end of a connection."""

    role: Role | None
    """What they may do; None is nothing."""

    def caller(self) -> Awaitable[Caller]:
        """They as a command's actor; looking up the name may take a moment."""
        ...


Welcome = Callable[[Any], Visitor]
"""Gives the visitor of a transport."""


class ApiSite(Site):
    """Makes a channel of each connection and keeps it within the limits."""

    protocol = ApiChannel  # type: ignore[assignment]  # Twisted's is a shell that can speak HTTP/2 too
    requestFactory = ApiRequest
    noisy = False

    def __init__(
        self,
        root: IResource,
        *,
        welcome: Welcome,
        clock: IClock,
        timers: ITimers,
        reactor: Any,
        limits: Limits,
    ) -> None:
        super().__init__(root, parsePOSTFormSubmission=False, reactor=reactor)
        self.timeOut = None  # the limits are kept by the sweep
        self.limits = limits
        self._welcome = welcome
        self._clock = clock
        self._timers = timers
        self._channels: set[ApiChannel] = set()
        self._sweep_call: Any = None
        self._emptied: Deferred[None] | None = None

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._channels)

    def now(self) -> float:
        """Seconds of the clock that deadlines are told by."""
        return self._clock.mono()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A channel for a new connection; None hangs up on one too many and on those that come at the end."""
        if self._emptied is not None or len(self._channels) >= self.limits.connections:
            return None
        return super().buildProtocol(addr)

    def arrived(self, channel: ApiChannel) -> Visitor:
        """A connection is there."""
        self._channels.add(channel)
        if self._sweep_call is None:
            self._sweep_call = self._timers.call_later(SWEEP_S, self._sweep)
        return self._welcome(channel.transport)

    def gone(self, channel: ApiChannel) -> None:
        """A connection has ended."""
        self._channels.discard(channel)
        if not self._channels:
            if self._sweep_call is not None:
                self._sweep_call.cancel()
                self._sweep_call = None
            if self._emptied is not None and not self._emptied.called:
                self._emptied.callback(None)

    async def farewell(self) -> None:
        """End every connection: idle ones now, others with their answer or after two seconds."""
        self._emptied = Deferred()
        if not self._channels:
            return
        cut = self._timers.call_later(FAREWELL_S, self._cut)
        for channel in tuple(self._channels):
            channel.leave()
        await self._emptied
        cut.cancel()

    def startFactory(self) -> None:
        """Nothing: Twisted would begin an access log and a clock for it."""

    def stopFactory(self) -> None:
        """Nothing, as there is nothing to end."""

    def log(self, request: object) -> None:
        """Nothing: what changes something is an event, the rest is not worth a line."""

    def _sweep(self) -> None:
        self._sweep_call = self._timers.call_later(SWEEP_S, self._sweep)
        now = self.now()
        for channel in [each for each in self._channels if each.is_overdue(now)]:
            channel.abort()

    def _cut(self) -> None:
        for channel in tuple(self._channels):
            channel.hang_up()

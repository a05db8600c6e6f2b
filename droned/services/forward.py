"""The service `forward`: sends captured lines to the sinks of the configuration.

While there are none, nothing of what it takes to send is imported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock

from droned.models.ports import Runner
from droned.models.sinks import Sink


class OneSink(Protocol):
    """A sink that lines are being sent to."""

    sink: Sink

    @property
    def note(self) -> str:
        """How it stands, in a few words."""
        ...

    async def begin(self) -> None:
        """Go on from where the sink is."""
        ...

    async def stop(self) -> None:
        """Send nothing more, and remember where the sink is."""
        ...


class ForwardService(Service):
    """Keeps one `OneSink` for each sink of the configuration."""

    name = "forward"

    def __init__(
        self,
        *,
        make: Callable[[Sink, bool], Awaitable[OneSink]],
        keep_only: Callable[[Collection[str]], Awaitable[None]],
        run: Runner,
    ) -> None:
        """`make` is told whether the sink is new in a daemon that runs already.

        `keep_only` is told the names of all sinks that there are: what is known of others is of no use.
        """
        self._make = make
        self._keep_only = keep_only
        self._run = run
        self._wanted: tuple[Sink, ...] = ()
        self._sinks: dict[str, OneSink] = {}
        self._turn: DeferredLock = DeferredLock()

    @property
    def note(self) -> str:
        """How each sink stands, for `daemon status`."""
        return "; ".join(each.note for each in self._sinks.values()) or "no sinks"

    def configure(self, sinks: tuple[Sink, ...]) -> None:
        """Have lines sent to these sinks, and to no others."""
        if sinks != self._wanted:
            self._wanted = sinks
            if self.running:
                self._run(self._in_turn(is_new=True), "forwarding as configured")

    def startService(self) -> Deferred[Any]:  # Twisted's name and type
        """Begin with every sink."""
        super().startService()
        return Deferred.fromCoroutine(self._in_turn(is_new=False))

    def stopService(self) -> Deferred[Any]:  # Twisted's name and type
        """End with every sink; each position is remembered."""
        super().stopService()
        return Deferred.fromCoroutine(self._in_turn(is_new=False))

    async def _in_turn(self, *, is_new: bool) -> None:
        await self._turn.acquire()
        try:
            await self._converge(is_new=is_new)
        finally:
            self._turn.release()

    async def _converge(self, *, is_new: bool) -> None:
        """Stop what is not wanted any more or otherwise, and begin what is not there."""
        wanted = {sink.name: sink for sink in self._wanted} if self.running else {}
        for name, each in list(self._sinks.items()):
            if wanted.get(name) != each.sink:
                await each.stop()
                del self._sinks[name]
        if self.running:
            await self._keep_only(tuple(wanted))
        for name, sink in wanted.items():
            if name not in self._sinks:
                made = await self._make(sink, is_new)
                await made.begin()
                self._sinks[name] = made

"""The feed: the last few thousand events in memory, told to every stream once they are on disk.

Rules of this module:

* An event is told when its version is on disk, so that the place where a
  stream stopped means the same after a kill -9 of the daemon. When the
  journal cannot write, it is told all the same: an operator must see.
* Nothing is kept for a stream but its place. A stream whose place has left
  the memory was too slow, or begins in the past and reads the journal first.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Protocol

from twisted.logger import Logger

from droned.commands.arguments import WHOLE_VERSION, Position, position_text
from droned.models.events import Event
from droned.models.ports import IClock, ITimers, Runner
from droned.models.registry import Commit, Registry
from droned.web.documents import encode
from droned.web.shapes import event_shape

KEPT = 4_000
"""Events that are kept in memory."""
KEPT_AT_LEAST_S = 1.0
"""Every event is kept so long, that a burst does not outrun a client that reads …"""
MOST_TIMES_KEPT = 5
"""… unless it is more than so many times `KEPT`."""

_log = Logger()
_position = attrgetter("position")
_told_mono = attrgetter("told_mono")


class Told:
    """An event as every stream shares it."""

    __slots__ = ("_body", "event", "position", "told_mono")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.told_mono = 0.0
        self.position: Position = (event.version, event.index)
        self._body: bytes | None = None

    @property
    def id(self) -> str:
        """Its place in the stream, as clients see it."""
        return position_text(self.position)

    @property
    def body(self) -> bytes:
        """Its JSON, made once."""
        if self._body is None:
            self._body = encode(event_shape(self.event))
        return self._body


class Durability(Protocol):
    """What is asked of the journal."""

    def when_durable(self, version: int) -> Awaitable[bool]:
        """True once `version` is on disk; False when the journal cannot write it now."""
        ...


class EventFeed:
    """The events of late, in order, and whoever wants to hear of new ones."""

    def __init__(
        self,
        *,
        registry: Registry,
        journal: Durability,
        clock: IClock,
        timers: ITimers,
        run: Runner,
        kept: int = KEPT,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._timers = timers
        self._run = run
        self._kept = kept
        self._events: list[Told] = []
        self._waiting: list[Told] = []
        self.committed_version = self.version = registry.version
        """`version`: everything up to it has been told; what was committed since waits for the disk."""
        self._floor: Position = (registry.version, WHOLE_VERSION)
        self._is_publishing = False
        self._listeners: list[Callable[[], None]] = []
        self.stop: Callable[[], None] = registry.subscribe(self._committed)
        """Ends the subscription to the registry."""

    @property
    def floor(self) -> Position:
        """The feed has every event behind this place."""
        return self._floor

    def covers(self, position: Position) -> bool:
        """Whether nothing that happened after `position` is missing here."""
        return position >= self._floor

    def after(self, position: Position, most: int) -> list[Told]:
        """The next events behind `position`, at most so many, oldest first."""
        start = bisect_right(self._events, position, key=_position)
        return self._events[start : start + most]

    def at_version(self, version: int) -> list[Told]:
        """The events of one version that are still here."""
        start = bisect_right(self._events, (version, -1), key=_position)
        end = bisect_right(self._events, (version, WHOLE_VERSION), key=_position)
        return self._events[start:end]

    def everything(self) -> list[Told]:
        """All events that are here, oldest first."""
        return self._events

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever there is more; the returned call ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _committed(self, commit: Commit) -> None:
        self.committed_version = commit.version
        self._waiting.extend(Told(event) for event in commit.events)
        if not self._is_publishing:
            self._is_publishing = True
            # In the next turn: by then every other subscriber, the journal above all, knows of the commit.
            self._timers.call_later(0.0, lambda: self._run(self._publish(), "telling events"))

    async def _publish(self) -> None:
        try:
            while self.version < self.committed_version:
                version = self.committed_version
                try:
                    await self._journal.when_durable(version)
                except Exception:  # noqa: BLE001  # a named border: a broken journal must not silence the events
                    _log.failure("cannot learn whether version {version} is on disk", version=version)
                self._tell(version)
        finally:
            self._is_publishing = False

    def _tell(self, version: int) -> None:
        ready = bisect_right(self._waiting, (version, WHOLE_VERSION), key=_position)
        now = self._clock.mono()
        for told in self._waiting[:ready]:
            told.told_mono = now
        self._events += self._waiting[:ready]
        del self._waiting[:ready]
        self.version = version
        self._trim(now)
        for listener in tuple(self._listeners):
            try:
                listener()
            except Exception:  # noqa: BLE001  # a named border: one stream never holds up the rest
                _log.failure("cannot tell a stream of version {version}", version=version)

    def _trim(self, now: float) -> None:
        surplus = len(self._events) - self._kept
        if surplus <= self._kept // 4:  # seldom and many at once: cutting a list's head moves all the rest
            return
        if len(self._events) <= MOST_TIMES_KEPT * self._kept:
            old = bisect_right(self._events, now - KEPT_AT_LEAST_S, key=_told_mono)
            surplus = min(surplus, old)
        if surplus:
            self._floor = self._events[surplus - 1].position
            del self._events[:surplus]

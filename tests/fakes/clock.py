"""A clock and timers that move only when told: wall and monotonic apart, dice that always say one half."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from droned.models.ports import IClock, ITimers


@implementer(IClock, ITimers)
class FakeClock:
    """Clock, dice and timers in one; `advance` moves both clocks and makes the calls that are due."""

    def __init__(self, wall: float = 1_000_000.0) -> None:
        self.reactor = MemoryReactorClock()
        self._wall = wall
        self.drawn = 0.5

    def wall(self) -> float:
        """Seconds since the epoch, steps included."""
        return self._wall + float(self.reactor.seconds())

    def mono(self) -> float:
        """Seconds since this clock was made."""
        return float(self.reactor.seconds())

    def draw(self) -> float:
        """What `drawn` says."""
        return self.drawn

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward (or back) without time going by."""
        self._wall += seconds

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.reactor.advance(seconds)

    def call_later(self, delay_s: float, call: Callable[[], None]) -> FakeCall:
        """Make `call` when that much time has gone by."""
        return FakeCall(self, delay_s, call)

    def sleep(self, delay_s: float) -> Awaitable[None]:
        """Done when that much time has gone by."""
        done: Deferred[None] = Deferred()
        self.reactor.callLater(delay_s, done.callback, None)
        return done

    @property
    def pending(self) -> int:
        """Calls that are still to come."""
        return len(self.reactor.getDelayedCalls())


class FakeCall:
    """A call that is to come."""

    def __init__(self, clock: FakeClock, delay_s: float, call: Callable[[], None]) -> None:
        self._delayed = clock.reactor.callLater(delay_s, call)

    def cancel(self) -> None:
        """Not to come any more."""
        if self._delayed.active():
            self._delayed.cancel()

"""The clocks, the dice and the reactor's timers, behind their ports."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from droned.models.ports import IClock, ITimers


@implementer(IClock)
class SystemClock:
    """The machine's own clocks and the system's randomness."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def mono(self) -> float:
        """Seconds of the monotonic clock, the same for every process since the boot."""
        return time.monotonic()

    def draw(self) -> float:
        """A new random number, 0.0-1.0."""
        return random.random()


@implementer(ITimers)
class ReactorTimers:
    """Calls later on a reactor."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Call:
        """Make `call` after `delay_s` seconds (0 is the next turn)."""
        return Call(self._reactor.callLater(delay_s, call))

    def sleep(self, delay_s: float) -> Awaitable[None]:
        """An awaitable that is done after `delay_s` seconds."""
        done: Deferred[None] = Deferred()
        self._reactor.callLater(delay_s, done.callback, None)
        return done


class Call:
    """A call that is to come."""

    __slots__ = ("_delayed",)

    def __init__(self, delayed: Any) -> None:
        self._delayed = delayed

    def cancel(self) -> None:
        """Not to come any more; does nothing when it has come."""
        if self._delayed.active():
            self._delayed.cancel()

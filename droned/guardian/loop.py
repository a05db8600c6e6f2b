"""Waiting: descriptors and timers of a single thread, without a wake-up that nobody asked for."""

import heapq
import select
import time
from collections.abc import Callable

from droned.guardian import log

_MOST_FAULTS = 100
READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANG_UP = select.EPOLLHUP  # always reported; asked for alone it means "the other side is closed"
URGENT = select.EPOLLPRI


class Timer:
    """A call that is to come; `cancel` may be called at any time."""

    __slots__ = ("_call", "at")

    def __init__(self, at: float, call: Callable[[], None]) -> None:
        self.at = at
        self._call: Callable[[], None] | None = call

    def __lt__(self, other: "Timer") -> bool:
        return self.at < other.at

    @property
    def is_pending(self) -> bool:
        """Whether it has neither come nor been cancelled."""
        return self._call is not None

    def cancel(self) -> None:
        """Never come; nothing happens when it already came."""
        self._call = None

    def fire(self) -> None:
        """Make the call now, once."""
        call, self._call = self._call, None
        if call is not None:
            call()


class Loop:
    """One epoll, one heap of timers. `idle` work is done between waits, a slice at a time."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[int], None]] = {}
        self._timers: list[Timer] = []
        self._running = True
        self._faults = 0
        self.after_turn: list[Callable[[], bool]] = []

    def watch(self, fd: int, events: int, call: Callable[[int], None]) -> None:
        """Have `call(events)` made when one of `events` holds for `fd`. Watching it anew changes both."""
        if fd in self._watched:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._watched[fd] = call

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, which must still be open; nothing happens when it is not watched."""
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Have `call()` made once, `delay_s` from now."""
        timer = Timer(time.monotonic() + delay_s, call)
        heapq.heappush(self._timers, timer)
        return timer

    @staticmethod
    def now() -> float:
        """Seconds of the clock that timers go by."""
        return time.monotonic()

    def stop(self) -> None:
        """Have `run` return at the end of this turn."""
        self._running = False

    def run(self) -> None:
        """Turn until stopped.

        After the events of each turn every call of `after_turn` is made; one
        that returns True has more to do, so the next turn does not wait.
        """
        more = False
        while self._running:
            for fd, events in self._epoll.poll(0.0 if more else self._wait_s()):
                call = self._watched.get(fd)
                if call is not None:  # an earlier event of this turn may have ended the watch
                    self._made(call, events)
            self._fire_due()
            more = False
            for call_after in self.after_turn:
                more |= self._made(call_after) is True

    def _made(self, call: Callable[..., object], *arguments: object) -> object:
        """Make one call; a fault in it is told, and does not take the others down before there are many."""
        try:
            return call(*arguments)
        except Exception as error:
            self._faults += 1
            if self._faults >= _MOST_FAULTS:
                raise
            log.say(f"a fault of the guardian itself: {type(error).__name__}: {error}")
            return None

    def close(self) -> None:
        """Give the descriptor back."""
        self._epoll.close()

    def _wait_s(self) -> float:
        while self._timers and not self._timers[0].is_pending:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].at - time.monotonic()) if self._timers else -1.0

    def _fire_due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].at <= now:
            self._made(heapq.heappop(self._timers).fire)

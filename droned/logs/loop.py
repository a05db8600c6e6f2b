"""Waiting: descriptors and a few named alarms of a single thread, without a wake-up that nobody asked for."""

import select
import time
from collections.abc import Callable

from droned.logs import log

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
HANG_UP = select.EPOLLHUP
_MOST_FAULTS = 100


class Loop:
    """One epoll and one moment for each name of an alarm."""

    __slots__ = ("_alarms", "_calls", "_epoll", "_faults", "is_over")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._calls: dict[int, Callable[[int], None]] = {}
        self._alarms: dict[str, tuple[float, Callable[[], None]]] = {}
        self._faults = 0
        self.is_over = False

    def watch(self, fd: int, events: int, call: Callable[[int], None]) -> None:
        """Have `call(events)` made when one of `events` holds for `fd`. Watching it anew changes both."""
        if fd in self._calls:
            self._epoll.modify(fd, events)
        else:
            self._epoll.register(fd, events)
        self._calls[fd] = call

    def unwatch(self, fd: int) -> None:
        """Stop watching `fd`, which must still be open; nothing happens when it is not watched."""
        if self._calls.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def alarm(self, name: str, at: float, call: Callable[[], None]) -> None:
        """Have `call()` made once at `at` (monotonic); one of this name that is to come sooner stays."""
        known = self._alarms.get(name)
        if known is None or at < known[0]:
            self._alarms[name] = (at, call)

    def silence(self, name: str) -> None:
        """Forget an alarm."""
        self._alarms.pop(name, None)

    def turn(self, until: float | None) -> None:
        """Wait for something to happen, no longer than `until` (None: for ever), and make the calls."""
        if self._alarms:
            first = min(at for at, _ in self._alarms.values())
            until = first if until is None or first < until else until
        for fd, events in self._epoll.poll(-1 if until is None else max(0.0, until - time.monotonic())):
            call = self._calls.get(fd)
            if call is not None:  # an earlier event of this turn may have ended the watch
                self._made(call, events)
        if self._alarms:
            now = time.monotonic()
            for name, (at, ring) in list(self._alarms.items()):
                if at <= now:
                    del self._alarms[name]
                    self._made(ring)

    def _made(self, call: Callable[..., object], *arguments: object) -> None:
        """Make one call; a fault in it is told, and does not end the capture before there are many."""
        try:
            call(*arguments)
        except Exception as error:
            self._faults += 1
            if self._faults >= _MOST_FAULTS:
                raise
            log.say(f"a fault of the capture itself: {type(error).__name__}: {error}")

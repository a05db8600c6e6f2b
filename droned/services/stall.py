"""The stall watch: measures the reactor's lag and names who held it up.

The guardian's ping comes every two seconds and says when it was sent: it is the
reactor's beat, and how long it has waited to be read is the lag. While no pings
come, a timer of the reactor beats instead. A thread looks as often, 100 ms
after a beat is due, and when it has not come the thread takes the stack of the
reactor's thread: what stands there is the culprit. So a stall of two seconds is
always named and a shorter one now and then, for next to nothing: an idle daemon
is not to be woken for its own sake. A lag without a culprit (the host gave the
daemon no time) is published, not logged.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.application.service import Service
from twisted.logger import Logger

BEAT_S = 2.0
"""Between two beats, as between two pings."""
LOOK_S = 30.0
"""How often it is seen whether pings still come."""
STALL_S = 0.1
WINDOW_BEATS = 30
"""Beats after which the largest lag is forgotten: a minute, and at most two."""


class StallWatch(Service):
    """Measures the lag of one reactor; `lag_s` is the largest of the last minute or two."""

    log = Logger()

    def __init__(self, timers: Any, mono: Callable[[], float]) -> None:
        """`timers` is an ITimers; `mono` reads the monotonic clock from any thread."""
        self._timers = timers
        self._mono = mono
        self._beat_at = self._due_at = 0.0
        self._pinged_at: float | None = None
        self._beats = 0
        self._largest = [0.0, 0.0]
        self._call: Any = None
        self._closed = threading.Event()
        self._culprit = ""

    @property
    def lag_s(self) -> float:
        """The largest lag of the last minute or two, in seconds."""
        return max(self._largest)

    @property
    def note(self) -> str:
        """The lag in words, for `daemon status`."""
        return f"largest lag {self.lag_s * 1000:.0f} ms"

    def startService(self) -> None:  # Twisted's name
        """Begin to beat, and to watch the beat."""
        super().startService()
        self._closed.clear()
        self._beat_at = self._mono()
        self._wait(BEAT_S)
        threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="stall-watch", daemon=True
        ).start()

    def stopService(self) -> None:  # Twisted's name
        """Stop beating; the thread ends at its next look."""
        super().stopService()
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def pinged(self, at: float) -> None:
        """A ping was read that was sent at `at`, in seconds of the monotonic clock."""
        if self.running:
            self._pinged_at = self._mono()
            self._beat(self._pinged_at, self._pinged_at - at)

    def _wait(self, delay_s: float) -> None:
        self._due_at = self._mono() + delay_s
        self._call = self._timers.call_later(delay_s, self._timer_beat)

    def _timer_beat(self) -> None:
        """The beat of the timer, unless pings make it unnecessary."""
        now = self._mono()
        if self._pinged_at is not None and now - self._pinged_at < 2 * BEAT_S:
            self._wait(LOOK_S)
        else:
            self._beat(now, max(0.0, now - self._due_at))
            self._wait(BEAT_S)

    def _beat(self, now: float, lag_s: float) -> None:
        self._beat_at = now
        self._beats += 1
        if self._beats % WINDOW_BEATS == 0:
            self._largest = [0.0, self._largest[0]]
        self._largest[0] = max(self._largest[0], lag_s)
        if lag_s > STALL_S and self._culprit:
            self.log.warn(  # noqa: G010  # the name of Twisted's Logger
                "the reactor stood still for {lag_ms} ms, in {culprit}",
                lag_ms=round(lag_s * 1000),
                culprit=self._culprit,
            )
        self._culprit = ""

    def _watch(self, thread: int) -> None:
        """The thread: look whether the beat is overdue, and if so, where the reactor is."""
        late_s = 0.0
        while not self._closed.wait(BEAT_S if late_s >= 0.0 else -late_s):
            late_s = self._mono() - self._beat_at - BEAT_S - STALL_S
            if late_s >= 0.0 and not self._culprit:
                self._culprit = culprit_of(sys._current_frames().get(thread))


def culprit_of(frame: FrameType | None) -> str:
    """Where a thread is, as `file.py:12 in function`, innermost of our own or a plugin's code.

    Empty while the reactor waits: nobody's code is to blame then.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_name == "run_daemon":
            break
        if "/twisted/" not in code.co_filename and not code.co_filename.startswith("<"):
            place = "/".join(code.co_filename.split("/")[-2:])
            return f"{place}:{frame.f_lineno} in {code.co_name}"
        frame = frame.f_back
    return ""

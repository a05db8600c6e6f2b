"""The stall watch: measures the reactor's lag and names who held it up.

A timer of the reactor beats every two seconds; how late it is, is the lag. A
thread looks as often, 100 ms after a beat is due, and when it has not come the
thread takes the stack of the reactor's thread: what stands there is the
culprit. So a stall of two seconds is always named and a shorter one now and
then, for next to nothing: an idle daemon is not to be woken for its own sake.
A lag without a culprit (the host gave the daemon no time) is published, not
logged.
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
        self._beat_at = 0.0
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
        self._call = self._timers.call_later(BEAT_S, self._beat)
        threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="stall-watch", daemon=True
        ).start()

    def stopService(self) -> None:  # Twisted's name
        """Stop beating; the thread ends at its next look."""
        super().stopService()
        self._closed.set()
        if self._call is not None:
            self._call.cancel()

    def _beat(self) -> None:
        now = self._mono()
        lag_s = max(0.0, now - self._beat_at - BEAT_S)
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
        self._call = self._timers.call_later(BEAT_S, self._beat)

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

"""When a companion counts as hung, and how long to wait before the next one. Pure: every time is given.

A daemon hangs when it was silent for SILENCE_S. Only such seconds count in
which the guardian itself was on time, and of those in which the daemon wanted
to run only as many as it was let: nobody who got no processor hangs. So it is
with `droned-logs`, which is asked less often and gets more time.
"""

from collections import deque

TICK_S = 2.0
SILENCE_S = 8.0
STARTUP_S = 60.0
_LATE_S = 1.0
_FULL_SHARES = 2.0
"""A daemon that spins on half a processor has had its chance to answer."""

_REPLACEMENTS = 3
_WITHIN_S = 600.0


class Watchdog:
    """The patience with one life of a companion. Times are of the monotonic clock."""

    __slots__ = ("_at", "_deadline", "_paused_until", "_silence_s", "_used_s", "silent_s")

    def __init__(self, now: float, silence_s: float = SILENCE_S) -> None:
        self._at = now
        self._silence_s = silence_s
        self._deadline: float | None = now + STARTUP_S
        self._paused_until = now
        self._used_s: float | None = None
        self.silent_s = 0.0

    def progressed(self, now: float) -> None:
        """The start-up goes on."""
        if self._deadline is not None:
            self._deadline = now + STARTUP_S

    def became_ready(self, now: float) -> None:
        """The start-up is over; from here on it has to answer."""
        self._deadline = None
        self.answered(now)

    def answered(self, now: float) -> None:
        """A sign of life."""
        self._at = now
        self.silent_s = 0.0

    def pause(self, now: float, seconds: float) -> None:
        """Look away for so long (0: look again now)."""
        self._paused_until = now + seconds
        self.answered(now)

    def tick(self, now: float, used_s: float | None = None) -> str | None:
        """Count the time since the last tick or sign of life; why the daemon has to go, or None.

        `used_s` is the processor time of the daemon's life so far while it is
        ready to run, None while it waits for something (or is stopped).
        """
        since, self._at = now - self._at, now
        before, self._used_s = self._used_s, used_s
        if now < self._paused_until:
            return None
        if self._deadline is not None:
            # The deadline of the start-up too waits for a guardian that was held up.
            if since > TICK_S + _LATE_S:
                self._deadline += since - TICK_S
            return f"not ready within {STARTUP_S:.0f} s" if now >= self._deadline else None
        if since <= TICK_S + _LATE_S:
            share = 1.0
            if used_s is not None and before is not None and since > 0.0:
                share = min(1.0, _FULL_SHARES * (used_s - before) / since)
            self.silent_s += since * share
        # A tick comes a little after its time, never before: an allowance keeps rounding out of it.
        is_hung = self.silent_s >= self._silence_s - 0.05
        return f"silent for {self._silence_s:.0f} s" if is_hung else None


class Backoff:
    """The waits between the lives of a companion: none after the first death, then 0.2, 0.4, 0.8 … 30 s.

    That is a daemon, by the defaults: `first_s` doubled to `most_s`; each
    `forgives_s` in control forgive one death. So a daemon that is killed
    now and then is always back at once, and one that dies of itself soon after
    each start waits longer and longer.
    """

    __slots__ = ("_deaths", "_failures", "_first_s", "_forgives_s", "_most_s")

    def __init__(
        self,
        failures: float = 0.0,
        deaths: tuple[float, ...] = (),
        *,
        forgives_s: float = 2.0,
        first_s: float = 0.2,  # a second death within two seconds still leaves the host in control after 1.5
        most_s: float = 30.0,
    ) -> None:
        self._failures = failures
        self._forgives_s = forgives_s
        self._first_s = first_s
        self._most_s = most_s
        self._deaths: deque[float] = deque(deaths, maxlen=_REPLACEMENTS)

    def delay_s(self, now: float, healthy_s: float) -> float:
        """The wait after a death at `now` of one that was in control for `healthy_s`."""
        self._deaths.append(now)
        self.forgive(healthy_s)
        self._failures += 1.0
        if self._failures < 2.0:
            return 0.0
        return min(self._first_s * 2.0 ** min(int(self._failures) - 2, 16), self._most_s)

    def forgive(self, healthy_s: float) -> None:
        """A daemon that ended on purpose, or has died, was in control for so long."""
        self._failures = max(0.0, self._failures - healthy_s / self._forgives_s)

    def is_safe_mode(self, now: float) -> bool:
        """Whether it died so often lately that the next one shall leave its plugins out."""
        return len(self._deaths) == _REPLACEMENTS and now - self._deaths[0] <= _WITHIN_S

    def saved(self) -> tuple[float, tuple[float, ...]]:
        """The first arguments for the same back-off again."""
        return self._failures, tuple(self._deaths)

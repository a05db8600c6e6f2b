"""The end of everything without a daemon: TERM to all trees, ten seconds, KILL."""

import signal
import time
from collections.abc import Callable

from droned.guardian import log, loop
from droned.guardian.runs import Run, Table
from droned.guardian.trees import Trees

GRACE_S = 10.0
_KILLED_S = 5.0
_LOOK_S = 0.2


class Ending:
    """Ends all trees when nobody else is there to do it in order."""

    def __init__(self, table: Table, trees: Trees, waits: loop.Loop, done: Callable[[], None]) -> None:
        self._table = table
        self._trees = trees
        self._loop = waits
        self._done = done
        self._began: float | None = None
        self._killed = False

    @property
    def is_going_on(self) -> bool:
        """Whether it has begun."""
        return self._began is not None

    def begin(self) -> None:
        """Ask all to end; `done` is called when nothing is left, or when KILL did not help."""
        if self._began is not None:
            return
        self._began = time.monotonic()
        log.say(f"no daemon could be had for the stop: ending {len(self._left())} trees")
        self._signal(signal.SIGTERM)
        self._look()

    def _left(self) -> list[Run]:
        return [*self._table.living(), *self._trees.awaited()]

    def _signal(self, number: int) -> None:
        for run in self._left():
            self._trees.signal(run, number, "tree")

    def _look(self) -> None:
        since = time.monotonic() - (self._began or 0.0)
        if not self._left() or since >= GRACE_S + _KILLED_S:
            self._done()
            return
        if since >= GRACE_S and not self._killed:
            self._killed = True
            self._signal(signal.SIGKILL)
        self._loop.later(_LOOK_S, self._look)

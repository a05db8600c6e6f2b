"""The files that the output of instances goes to, and where in them the output of each run begins.

One file a stream and instance, which every run appends to. So that nobody
takes the words of an earlier run for those of a later one, what was in each
file when a run began is noted: whoever opens the files tells. The notes are of
this life of the daemon.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence

from droned.models.registry import Commit

STREAMS = ("stdout", "stderr")
RUNS_KEPT = 4
"""Runs of an instance of which it is known; so many restarts can follow a command while it is reported."""


class OutputFiles:
    """All of one state folder."""

    def __init__(self, state_dir: str) -> None:
        self._folder = f"{state_dir}/logs"
        self._made: set[str] = set()
        self._begins: dict[str, deque[tuple[int, int | None, int | None]]] = {}

    def paths(self, instance: str) -> dict[str, str]:
        """The files of the instance `app/label`, by stream."""
        return {stream: f"{self._folder}/{instance}.{stream}.log" for stream in STREAMS}

    def prepare(self, app: str) -> None:
        """Have the folder of the app's output. Raises OSError when it cannot be made."""
        if app not in self._made:
            os.makedirs(f"{self._folder}/{app}", mode=0o755, exist_ok=True)
            self._made.add(app)

    def note(self, instance: str, run: int, sizes: Sequence[int] | None) -> None:
        """A run began when its files had these sizes; None for one that never wrote a word."""
        known = self._begins.setdefault(instance, deque(maxlen=RUNS_KEPT))
        if not known or known[-1][0] < run:  # what is told twice is of one run
            known.append((run, *(sizes or (None, None))))

    def begins(self, instance: str) -> list[dict[str, int | None]]:
        """`run`, and the offset of its output in the file of each stream: the last runs, oldest first.

        The offsets of a run that never wrote a word are None.
        """
        return [
            {"run": run, **dict(zip(STREAMS, sizes, strict=True))}
            for run, *sizes in self._begins.get(instance, ())
        ]

    def follow(self, commit: Commit) -> None:
        """Forget the instances that are gone."""
        for change in commit.changes:
            if change.kind == "instance" and change.after is None:
                self._begins.pop(change.key, None)

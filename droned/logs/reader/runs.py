"""Which run of its instance a line is of: told by the facts of beginnings, looked up when needed."""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from droned.logs.reader.blocks import Fact
from droned.logs.reader.index import Index
from droned.logs.reader.question import Question

BORDERS = ("began", "ended")
"""Facts that end the lines of their streams: none goes from one run into the next."""


class Runs:
    """The runs of instances, as a walk from `position` on comes by their beginnings."""

    def __init__(self, index: Index, position: int | None) -> None:
        self._index = index
        self._position = position
        self._began: dict[str, list[tuple[int, dict[str, int]]]] = {}

    def add(self, fact: Fact) -> None:
        """A run has begun."""
        instance = str(fact.told["instance"])
        self._of(instance).append((int(fact.told["run"]), _offsets(fact.told)))

    def at(self, instance: str, stream: str, offset: int) -> int | None:
        """The run of a line that begins at this offset; None when nobody knows."""
        for run, offsets in reversed(self._of(instance)):
            if offsets.get(stream, 0) <= offset:
                return run
        return None

    def _of(self, instance: str) -> list[tuple[int, dict[str, int]]]:
        found = self._began.get(instance)
        if found is None:
            found = self._began[instance] = []
            before = self._before(instance)
            if before is not None:
                found.append(before)
        return found

    def _before(self, instance: str) -> tuple[int, dict[str, int]] | None:
        if self._position is None:
            return None
        starts = self._index.starts
        for start in reversed(starts[: max(1, bisect_right(starts, self._position))]):
            for fact in reversed(self._index.facts_of(start).get(instance, [])):
                if fact.told["fact"] == "began" and fact.position <= self._position:
                    return int(fact.told["run"]), _offsets(fact.told)
            if (run := run_at_head(self._index, start, instance)) is not None:
                return run, {}
        return None


def run_at_head(index: Index, start: int, instance: str) -> int | None:
    """The last run that had begun when this file of the index did; None where it does not say."""
    head = index.head(start)
    runs = head.told.get("runs") if head else None
    run = runs.get(instance) if isinstance(runs, dict) else None
    return run if isinstance(run, int) else None


def borders_before(index: Index, stream: tuple[str, str], offset: int, position: int) -> Iterator[int]:
    """Offsets at which runs had begun or ended in this stream, newest first, told at `position` or before.

    Goes back to the file of the index in which the stream came by `offset`.
    """
    instance, name = stream
    for start in reversed(index.starts[: bisect_right(index.starts, position)]):
        for fact in reversed(index.facts_of(start).get(instance, [])):
            if fact.told["fact"] in BORDERS and fact.position <= position:
                border = _offsets(fact.told).get(name)
                if border is not None:
                    yield border
        told = [at for _number, who, what, at in index.streams(start) if (who, what) == stream]
        if not told or told[0] <= offset:
            return


def borders_after(index: Index, stream: tuple[str, str], position: int) -> set[int]:
    """Offsets at which runs began or ended in this stream, as told from this position on."""
    instance, name = stream
    return {
        border
        for start in index.starts[max(0, bisect_right(index.starts, position) - 1) :]
        for fact in index.facts_of(start).get(instance, [])
        if fact.told["fact"] in BORDERS and (border := _offsets(fact.told).get(name)) is not None
    }


def _offsets(told: dict[str, Any]) -> dict[str, int]:
    offsets = told.get("offsets")
    return offsets if isinstance(offsets, dict) else {}


class Wanted:
    """The one run of each instance that is asked for, and where it lies."""

    def __init__(self, question: Question, index: Index) -> None:
        self._run = question.run
        self.runs: dict[str, int | None] = {}
        self.begin: int | None = None
        self.end: int | None = None
        began: dict[str, dict[int, int]] = {}
        for start in index.starts:
            head = index.head(start)
            told = head.told.get("runs") if head else None
            for instance, run in (told if isinstance(told, dict) else {}).items():
                if question.asks_about(instance):
                    began.setdefault(instance, {}).setdefault(run, start)
            for instance, facts in index.facts_of(start).items():
                if question.asks_about(instance):
                    for fact in facts:
                        if fact.told["fact"] == "began":
                            began.setdefault(instance, {}).setdefault(fact.told["run"], fact.position)
        ends: list[int | None] = []
        for instance, runs in began.items():
            ordered = sorted(runs)
            run = question.run if question.run is not None else (ordered[-2] if len(ordered) > 1 else None)
            self.runs[instance] = run
            if run is None or run not in runs:
                continue
            self.begin = runs[run] if self.begin is None else min(self.begin, runs[run])
            later = [runs[other] for other in ordered if other > run]
            ends.append(later[0] if later else None)
        if ends and None not in ends:
            self.end = max(end for end in ends if end is not None)

    def has(self, instance: str, run: int | None) -> bool:
        """Is this run of the instance asked for?"""
        if run is None:
            return False
        wanted = self.runs.get(instance, self._run)
        return wanted is not None and run == wanted

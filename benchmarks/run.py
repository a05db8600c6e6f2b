"""Goes through the lives: each run lets every manager live once, and each row measures in that life."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks import observe
from benchmarks.figures import Effort, Measured
from benchmarks.managers import MANAGERS
from benchmarks.managers.base import App, Failed
from benchmarks.rows import LOG_ROWS, ROWS
from benchmarks.rows.row import Row

SMALL = 10
"""Programs in the lives of the rows that are also made small."""
OWN = 0
"""Stands for the size where a row has a life of its own."""
PATIENCE_S = 60.0
"""How long a life waits for the machine to be quiet."""
MOST_STOLEN = 0.1
"""A life during which the host withheld more than this share of the machine is lived again."""
MOST_ATTEMPTS = 3


def say(text: str) -> None:
    """A line of progress, for a person."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def chosen_rows(only: Sequence[str]) -> tuple[Row, ...]:
    """The rows of these names, or all; raises Failed for a name that is none."""
    rows = (*ROWS, *LOG_ROWS)
    names = [row.name for row in rows]
    if unknown := [name for name in only if name not in names]:
        raise Failed(f"cannot measure {', '.join(unknown)}: there are {', '.join(names)}")
    return tuple(row for row in rows if not only or row.name in only)


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One life of a manager: with which programs, and what is measured in it."""

    manager: str
    size: int
    apps: tuple[App, ...]
    rows: tuple[Row, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many programs there are."""
        return sum(app.instances for app in self.apps)


def lives_of(name: str, rows: Sequence[Row], effort: Effort) -> Iterator[Life]:
    """The lives of one manager in one run."""
    shared = [row for row in rows if row.apps is None]
    small = [row for row in shared if row.is_small_too]
    for size, rows_now in ((effort.count, shared), (SMALL, small)):
        if rows_now:
            yield Life(manager=name, size=size, apps=(App(instances=size),), rows=tuple(rows_now))
    for row in rows:
        if row.apps is not None:
            apps = tuple(row.apps(effort))
            yield Life(manager=name, size=OWN, apps=apps, rows=(row,), settings=row.settings)


def lives(rows: Sequence[Row], managers: Sequence[str], effort: Effort) -> Measured:
    """Every run of every manager, interleaved; what fails is noted and the rest goes on."""
    measured = Measured()
    for run in range(effort.runs):
        # Turned by one each time, so that nobody always comes first or after the same other.
        turned = [managers[(place + run) % len(managers)] for place in range(len(managers))]
        for name in turned:
            wanted = [row for row in rows if row.managers is None or name in row.managers]
            if run:
                wanted = [row for row in wanted if not row.once]
            for life in lives_of(name, wanted, effort):
                say(f"run {run + 1} of {effort.runs}: {name}, {life.count} programs")
                _undisturbed(life, effort, measured)
    return measured


def _undisturbed(life: Life, effort: Effort, measured: Measured) -> None:
    """One life; lived again, within reason, when the host of this virtual machine withheld its time."""
    for attempt in range(1, 2 if effort.is_quick else MOST_ATTEMPTS + 1):
        found = Measured()
        others = observe.quiet_machine(0.0 if effort.is_quick else PATIENCE_S)
        before = observe.ticks()
        _live(life, effort, found)
        stolen = observe.ticks().shares_since(before)[1]
        say(f"  others used {100 * others:.0f} % before, the host withheld {100 * stolen:.0f} %")
        if stolen <= MOST_STOLEN or attempt == MOST_ATTEMPTS or effort.is_quick:
            measured.take(found, others, stolen)
            return
        measured.repeated += 1
        measured.faults += found.faults


def _live(life: Life, effort: Effort, measured: Measured) -> None:
    """One life; launch and stop always happen, and count only when they are wanted."""
    name, count, wanted = life.manager, life.count, life.rows
    between = [row for row in wanted if row not in (ROWS[0], ROWS[-1])]
    rows = [ROWS[0], *between, ROWS[-1]]
    with MANAGERS[name](life.apps, life.settings) as manager:
        for row in rows:
            try:
                found = row.measure(manager, effort)
            except Exception as error:  # noqa: BLE001 - whatever fails in one measurement, the others are made
                measured.faults.append(
                    f"{row.name}, {name}, {count} programs: {type(error).__name__}: {error}"
                )
                say(f"  {row.name}: {error}")
                return
            if row in wanted:
                measured.add(life.size, name, found)
                for series, values in found.items():
                    shown = ", ".join(f"{value:.4g}" for value in values[:6])
                    say(f"  {series}: {shown}{' …' if len(values) > 6 else ''}")

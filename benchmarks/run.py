"""Goes through the lives: each run lets every manager live once, and each row measures in that life."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from benchmarks import observe
from benchmarks.figures import Effort, Measured
from benchmarks.managers import MANAGERS
from benchmarks.managers.base import Failed
from benchmarks.rows import ROWS
from benchmarks.rows.row import Row

SMALL = 10
"""Programs in the lives of the rows that are also made small."""
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
    names = [row.name for row in ROWS]
    if unknown := [name for name in only if name not in names]:
        raise Failed(f"cannot measure {', '.join(unknown)}: there are {', '.join(names)}")
    return tuple(row for row in ROWS if not only or row.name in only)


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
            small = [row for row in wanted if row.is_small_too]
            for count, rows_now in ((effort.count, wanted), (SMALL, small)):
                if rows_now:
                    say(f"run {run + 1} of {effort.runs}: {name}, {count} programs")
                    _undisturbed(name, count, rows_now, effort, measured)
    return measured


def _undisturbed(name: str, count: int, rows: Sequence[Row], effort: Effort, measured: Measured) -> None:
    """One life; lived again, within reason, when the host of this virtual machine withheld its time."""
    for attempt in range(1, 2 if effort.is_quick else MOST_ATTEMPTS + 1):
        found = Measured()
        others = observe.quiet_machine(0.0 if effort.is_quick else PATIENCE_S)
        before = observe.ticks()
        _live(name, count, rows, effort, found)
        stolen = observe.ticks().shares_since(before)[1]
        say(f"  others used {100 * others:.0f} % before, the host withheld {100 * stolen:.0f} %")
        if stolen <= MOST_STOLEN or attempt == MOST_ATTEMPTS or effort.is_quick:
            measured.take(found, others, stolen)
            return
        measured.repeated += 1
        measured.faults += found.faults


def _live(name: str, count: int, wanted: Sequence[Row], effort: Effort, measured: Measured) -> None:
    """One life; launch and stop always happen, and count only when they are wanted."""
    rows = [row for row in ROWS if row in wanted or row in (ROWS[0], ROWS[-1])]
    with MANAGERS[name](count) as manager:
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
                measured.add(count, name, found)
                for series, values in found.items():
                    shown = ", ".join(f"{value:.4g}" for value in values[:6])
                    say(f"  {series}: {shown}{' …' if len(values) > 6 else ''}")

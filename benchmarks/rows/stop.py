"""Ordered stop of everything: TERM to the manager until its programs and itself are gone."""

from __future__ import annotations

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import Manager
from benchmarks.rows.row import Row


def measure(manager: Manager, effort: Effort) -> Series:
    """Seconds; that nothing is left has been seen from outside."""
    observe.become_quiet(manager.own_pids())
    return {"stop_s": [manager.end(within_s=60.0)]}


ROW = Row(
    name="stop",
    measure=measure,
    figures=(
        Figure(
            series="stop_s",
            title="stop all 1,000, and exit",
            unit="s",
            target="< 0.7 s",
            at_most=0.7,
        ),
    ),
)

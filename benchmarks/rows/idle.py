"""What the manager costs while nothing happens."""

from __future__ import annotations

import time

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import Manager
from benchmarks.rows.row import Row


def measure(manager: Manager, effort: Effort) -> Series:
    """Percent of one processor, and the memory of the manager's own processes."""
    pids = manager.own_pids()
    observe.become_quiet(pids)
    before_s, began = observe.cpu_seconds(pids), time.monotonic()
    time.sleep(effort.idle_s)
    used_s, passed_s = observe.cpu_seconds(pids) - before_s, time.monotonic() - began
    return {
        "idle_percent": [100 * used_s / passed_s],
        "pss_mb": [observe.pss_bytes(manager.starting_pids()) / 1e6],
        "pss_all_mb": [observe.pss_bytes(pids) / 1e6],
    }


ROW = Row(
    name="idle",
    measure=measure,
    once=True,
    figures=(
        Figure(series="idle_percent", title="idle: share of a core", unit="%", target="< 0.1 %", at_most=0.1),
        Figure(
            series="pss_mb",
            title="memory (PSS) of guardian and daemon",
            unit="MB",
            target="< 60 MB",
            at_most=60.0,
        ),
        Figure(series="pss_all_mb", title="the same with what captures output", unit="MB", target=""),
    ),
)

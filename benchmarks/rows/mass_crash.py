"""A fifth of the programs is killed at once, until all are back."""

from __future__ import annotations

import random
import signal
import time

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import Manager
from benchmarks.rows.row import Row
from tests.faults import processes

SHARE = 0.2


def measure(manager: Manager, effort: Effort) -> Series:
    """Seconds from the first kill to the last exec."""
    observe.become_quiet(manager.own_pids())
    victims = random.sample(sorted(manager.running.values()), int(manager.count * SHARE))
    began_ns = time.monotonic_ns()
    killed = sum(processes.send(pid, signal.SIGKILL, manager.is_program) for pid in victims)
    stamps = manager.started(killed, within_s=60.0)
    return {"mass_crash_s": [(max(stamp.exec_ns for stamp in stamps) - began_ns) / 1e9]}


ROW = Row(
    name="mass-crash",
    measure=measure,
    figures=(
        Figure(
            series="mass_crash_s",
            title="200 of 1,000 killed at once → all back",
            unit="s",
            target="< 0.4 s",
            at_most=0.4,
        ),
    ),
)

"""kill -9 of one program until the next one has been exec'd in its place."""

from __future__ import annotations

import random
import signal
import time

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series, p99
from benchmarks.managers.base import Failed, Manager
from benchmarks.rows.row import Row
from tests.faults import processes

SLOW = ("supervisord",)
"""Those that take a second for each."""


def measure(manager: Manager, effort: Effort) -> Series:
    """Milliseconds, one sample a kill; never in step with anybody's timer."""
    dice = random.Random()
    observe.become_quiet(manager.own_pids())
    took_ms = []
    for _ in range(effort.slow_kills if manager.name in SLOW else effort.kills):
        time.sleep(dice.uniform(0.02, 0.07))
        name, pid = dice.choice(sorted(manager.running.items()))
        began_ns = time.monotonic_ns()
        if not processes.send(pid, signal.SIGKILL, manager.is_program):
            raise Failed(f"{name}, pid {pid}, was gone before it was killed")
        (stamp,) = manager.started(1, within_s=10.0, every_s=0.0003)
        if stamp.name != name:
            raise Failed(f"{name} was killed and {stamp.name} started")
        took_ms.append((stamp.exec_ns - began_ns) / 1e6)
    return {"restart_ms": took_ms}


ROW = Row(
    name="restart",
    measure=measure,
    figures=(
        Figure(
            series="restart_ms",
            title="kill -9 one → new pid exec'd, median",
            unit="ms",
            target="< 4 ms",
            at_most=4.0,
        ),
        Figure(
            series="restart_ms",
            title="kill -9 one → new pid exec'd, p99",
            unit="ms",
            target="< 10 ms",
            statistic=p99,
            at_most=10.0,
        ),
    ),
)

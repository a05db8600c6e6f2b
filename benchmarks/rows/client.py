"""The command that a person types to see the status, from its start to its end."""

from __future__ import annotations

import os
import subprocess
import time

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import Failed, Manager
from benchmarks.rows.row import Row

MOST = {10: 70.0, 1000: 150.0}
"""Milliseconds that it may take, by the number of programs."""


def measure(manager: Manager, effort: Effort) -> Series:
    """Milliseconds of wall time, one sample a call; the first call is not counted."""
    command = manager.client_command()
    if command is None:
        return {}
    observe.become_quiet(manager.own_pids())
    took_ms = []
    for _ in range(effort.client_calls + 1):
        began = time.monotonic()
        done = subprocess.run(
            command, env=manager.client_environment(), stdin=subprocess.DEVNULL, capture_output=True
        )
        took_ms.append((time.monotonic() - began) * 1e3)
        lines = done.stdout.count(b"\n")
        if done.returncode or lines < manager.count:
            raise Failed(
                f"{os.path.basename(command[0])}: exit {done.returncode}, {lines} lines: "
                + done.stderr.decode(errors="replace").strip()
            )
    return {"client_ms": took_ms[1:]}


ROW = Row(
    name="client",
    measure=measure,
    managers=("droned", "supervisord"),
    is_small_too=True,
    figures=(
        Figure(
            series="client_ms",
            title="dronectl status (supervisorctl status)",
            unit="ms",
            target="< 150 ms",
            at_most=MOST[1000],
        ),
    ),
)

SMALL = Figure(
    series="client_ms",
    title="dronectl status (supervisorctl status) with 10 programs",
    unit="ms",
    target="< 70 ms",
    at_most=MOST[10],
)
"""The same with ten programs; `report` gives it a line of its own."""

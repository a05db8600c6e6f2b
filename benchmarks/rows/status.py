"""The status of all programs over the socket, asked over and over: load.c."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import Failed, Manager
from benchmarks.rows.row import Row
from tests.faults import programs

LOAD = Path(__file__).resolve().parents[1] / "load.c"


def measure(manager: Manager, effort: Effort) -> Series:
    """Answers a second, and how long they took; each answer tells all programs."""
    question = manager.question()
    request = manager.folder / "request"
    request.write_bytes(question.request)
    command = [
        str(programs.compiled(LOAD)),
        str(question.socket),
        str(effort.connections),
        str(effort.load_s),
        str(request),
        question.kind,
        question.mark,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=effort.load_s + 60.0)
    if done.returncode:
        raise Failed(f"cannot ask {manager.name}: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    if found["failures"] or found["marks"] != manager.count:
        raise Failed(
            f"{manager.name} gave {found['failures']} errors and {found['marks']} of {manager.count} programs"
        )
    return {
        "status_per_s": [found["answers"] / found["seconds"]],
        "status_p50_ms": [found["p50_ms"]],
        "status_p99_ms": [found["p99_ms"]],
        "status_bytes": [found["first_bytes"]],
    }


ROW = Row(
    name="status",
    measure=measure,
    figures=(
        Figure(
            series="status_per_s",
            title="status of all over the socket",
            unit="/s",
            target="≥ 1,500/s",
            at_least=1500.0,
        ),
        Figure(series="status_p99_ms", title="the same, p99", unit="ms", target="< 5 ms", at_most=5.0),
        Figure(series="status_bytes", title="size of one answer", unit="bytes", target=""),
    ),
)

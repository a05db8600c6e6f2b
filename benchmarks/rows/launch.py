"""Launch of the manager until the last of its programs has been exec'd."""

from __future__ import annotations

from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import Manager
from benchmarks.rows.row import Row


def measure(manager: Manager, effort: Effort) -> Series:
    """Seconds, by the programs' own stamps."""
    began_ns = manager.launch()
    stamps = manager.started(manager.count, within_s=120.0, every_s=0.01)
    return {"launch_s": [(max(stamp.exec_ns for stamp in stamps) - began_ns) / 1e9]}


ROW = Row(
    name="launch",
    measure=measure,
    figures=(
        Figure(
            series="launch_s",
            title="launch → all programs exec'd",
            unit="s",
            target="≥ 5× faster than supervisord",
            faster_than_supervisord=5.0,
        ),
    ),
)

"""Much is printed as fast as it goes: by one program, by a hundred, and by one with a write a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import App, Manager
from benchmarks.rows import printing
from benchmarks.rows.row import Row


def _measure(series: str) -> Callable[[Manager, Effort], Series]:
    def measure(manager: Manager, effort: Effort) -> Series:
        """MB/s, and CPU seconds a GiB until all is in the files."""
        observe.become_quiet(manager.own_pids())
        found = printing.printed(manager, sorted(manager.running))
        return {f"{series}_mb_per_s": [found.mb_per_s], f"{series}_cpu_s": [found.cpu_s_per_gib]}

    return measure


def _figures(series: str, title: str, share: float, times_less_cpu: float) -> tuple[Figure, ...]:
    words = "supervisord's" if share == 1.0 else f"{share:g} × supervisord's"
    less = "supervisord's" if times_less_cpu == 1.0 else f"{1 / times_less_cpu:g} × supervisord's"
    return (
        Figure(
            series=f"{series}_mb_per_s",
            title=f"{title} → all in the files",
            unit="MB/s",
            target=f"≥ {words}",
            share_of_supervisord=share,
        ),
        Figure(
            series=f"{series}_cpu_s",
            title="the same, CPU of the manager's own processes",
            unit="s/GiB",
            target=f"≤ {less}",
            faster_than_supervisord=times_less_cpu,
        ),
    )


def _one(effort: Effort) -> Sequence[App]:
    return printing.printers(1, effort.printed_bytes, printing.CHUNK_BYTES)


def _hundred(effort: Effort) -> Sequence[App]:
    return printing.printers(effort.printers, effort.printed_bytes // effort.printers, printing.CHUNK_BYTES)


def _lines(effort: Effort) -> Sequence[App]:
    return printing.printers(1, effort.printed_lines_bytes, printing.LINE_BYTES)


MANAGERS = ("droned", "supervisord")

ROWS = (
    Row(
        name="logs-big",
        measure=_measure("big"),
        managers=MANAGERS,
        apps=_one,
        figures=_figures("big", "one program prints 1 GiB in 64 KiB writes", 1.0, 1.0),
    ),
    Row(
        name="logs-big-100",
        measure=_measure("big_100"),
        managers=MANAGERS,
        apps=_hundred,
        figures=_figures("big_100", "100 programs print 1 GiB in all in 64 KiB writes", 1.0, 1.0),
    ),
    Row(
        name="logs-lines",
        measure=_measure("lines"),
        managers=MANAGERS,
        apps=_lines,
        figures=_figures("lines", "one program prints 256 MiB, a write a line of 100 bytes", 0.75, 2.0),
    ),
)

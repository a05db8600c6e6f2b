"""Many programs print a short line now and then: what that costs the manager."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import App, Failed, Manager
from benchmarks.rows import printing
from benchmarks.rows.row import Row
from tests.faults import processes

LINES_PER_S = 50
"""Of each program."""
LINE_BYTES = 60
FILES_MADE_S = 2.0
THERE_WITHIN_S = 5.0


def _lines(effort: Effort) -> int:
    return int(effort.printed_s * LINES_PER_S)


def _apps(effort: Effort) -> Sequence[App]:
    mode = ("lines", str(_lines(effort)), str(LINE_BYTES), str(LINES_PER_S))
    return (App(instances=effort.count, program="writer", mode=mode, is_captured=True),)


def measure(manager: Manager, effort: Effort) -> Series:
    """Percent of a processor until the last line, once the files are there (supervisord makes them at once).

    Every line has to be in its file in the end.
    """
    pids = manager.own_pids()
    observe.become_quiet(pids)
    names = sorted(manager.running)
    printing.begin(manager, names)
    begun = time.monotonic()
    time.sleep(FILES_MADE_S)
    before_s, began = observe.all_cpu_seconds(pids), time.monotonic()
    printing.reports(manager, 0, len(names), effort.printed_s + 60.0)
    ended = time.monotonic()
    used_s, passed_s = observe.all_cpu_seconds(pids) - before_s, ended - began
    wanted = _lines(effort) * LINE_BYTES

    def missing() -> list[str]:
        sizes = {name: sum(path.stat().st_size for path in manager.log_files(name)) for name in names}
        return [f"{name}: {size}" for name, size in sizes.items() if size != wanted]

    if not processes.until(lambda: not missing(), THERE_WITHIN_S, 0.2):
        found = missing()
        raise Failed(f"{len(found)} programs have not {wanted} bytes in their files: {found[:3]}")
    return {
        "many_percent": [100 * used_s / passed_s],
        "many_lines_per_s": [len(names) * _lines(effort) / (ended - begun)],
    }


ROW = Row(
    name="logs-many",
    measure=measure,
    managers=("droned", "supervisord"),
    apps=_apps,
    figures=(
        Figure(
            series="many_percent",
            title="1,000 programs print 50,000 short lines a second in all, files there: share of a core",
            unit="%",
            target="< 12 %",
            at_most=12.0,
        ),
        Figure(series="many_lines_per_s", title="the same, lines that were printed", unit="/s", target=""),
    ),
)

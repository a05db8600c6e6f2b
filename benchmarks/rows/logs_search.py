"""A search over 2 GB of rotated and compressed output, by dronectl and by the API; what compressing costs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Sequence

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import App, Failed, Manager
from benchmarks.managers.droned import Droned
from benchmarks.rows import printing
from benchmarks.rows.row import Row
from tests.faults import captured, processes, programs

COMPRESSED_WITHIN_S = 400.0
"""A segment is left alone for a minute; what compresses has the lowest priority."""
MORE_FILES_THAN_NEEDED = 1000


def _apps(effort: Effort) -> Sequence[App]:
    (app,) = printing.printers(1, effort.searched_bytes, printing.CHUNK_BYTES)
    options = {"logs": {"keep": MORE_FILES_THAN_NEEDED}}
    return (App(instances=1, program=app.program, mode=app.mode, is_captured=True, options=options),)


def _compressed(manager: Droned) -> bool:
    """Whether all that is rotated is compressed."""
    segments = captured.segments(manager.state / "logs", "web/0", "stdout")
    return all(segment.is_compressed for segment in segments[:-1])


def _by_dronectl(manager: Droned) -> tuple[float, float, int]:
    """Seconds to the first line and to the end, and how many lines there were."""
    command = [str(programs.ROOT / "bin" / "dronectl"), "logs", "--since", "10m", "-g", "ERROR"]
    began = time.monotonic()
    process = subprocess.Popen(
        command, env=manager.client_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout as output:
        lines = output.readline().count(b"\n")
        first_s = time.monotonic() - began
        while part := output.read(1 << 20):
            lines += part.count(b"\n")
    if process.wait():
        raise Failed(f"dronectl logs ended with {process.returncode}")
    return first_s, time.monotonic() - began, lines


def _by_api(manager: Droned) -> tuple[float, float, int]:
    """The same, asked of the API."""
    began = time.monotonic()
    first_s, content = 0.0, b""
    with contextlib.closing(manager.api.stream("/logs?since=10m&grep=ERROR")) as parts:
        for part in parts:
            first_s = first_s or time.monotonic() - began
            content += part
    took_s = time.monotonic() - began
    return first_s, took_s, sum("line" in json.loads(line) for line in content.splitlines())


def measure(manager: Manager, effort: Effort) -> Series:
    """Seconds to the first line, and MB/s of what was searched; every line has to be found."""
    assert isinstance(manager, Droned)
    printing.printed(manager, sorted(manager.running))
    pids = manager.own_pids()
    before_s = observe.all_cpu_seconds(pids)
    if not processes.until(lambda: _compressed(manager), COMPRESSED_WITHIN_S, 0.2):
        raise Failed(f"not all is compressed after {COMPRESSED_WITHIN_S:.0f} s")
    observe.become_quiet(pids)
    compressing_s = (observe.all_cpu_seconds(pids) - before_s) / effort.searched_bytes * 2**30
    wanted = effort.searched_bytes // printing.LINE_BYTES // printing.LINES_AN_ERROR
    found: Series = {"search_compressing_s": [compressing_s]}
    for _ in range(effort.searches):
        for way, search in (("dronectl", _by_dronectl), ("api", _by_api)):
            first_s, took_s, lines = search(manager)
            if lines != wanted:
                raise Failed(f"{lines} lines instead of {wanted} were found by {way}")
            found.setdefault(f"search_{way}_first_s", []).append(first_s)
            found.setdefault(f"search_{way}_mb_per_s", []).append(effort.searched_bytes / took_s / 1e6)
    return found


def _figures(way: str, title: str) -> tuple[Figure, ...]:
    return (
        Figure(
            series=f"search_{way}_first_s",
            title=f"{title} over 2 GB rotated and compressed: first line",
            unit="s",
            target="< 0.3 s",
            at_most=0.3,
        ),
        Figure(
            series=f"search_{way}_mb_per_s",
            title="the same, all of it",
            unit="MB/s",
            target="≥ 200 MB/s",
            at_least=200.0,
        ),
    )


ROW = Row(
    name="logs-search",
    measure=measure,
    managers=("droned",),
    apps=_apps,
    settings={"logs": {"total": "100G"}},
    once=True,
    figures=(
        *_figures("dronectl", "`dronectl logs --since 10m -g ERROR`"),
        *_figures("api", "the API"),
        Figure(
            series="search_compressing_s",
            title="compressing what is rotated, a minute later and at idle priority: CPU",
            unit="s/GiB",
            target="",
        ),
    ),
)

"""RESULTS.md: the tables, each figure with its target and whether it was reached."""

from __future__ import annotations

import datetime as dt
import os
import platform
import shlex
import statistics
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from benchmarks import run
from benchmarks.faults import FaultRow
from benchmarks.figures import Effort, Figure, Measured
from benchmarks.managers import supervisord
from benchmarks.rows import LOG_ROWS, ROWS, client
from tests.faults import programs
from tests.faults.verdict import Verdict

CAPTURING = ("droned", "supervisord")
OUTCOMES = {True: "reached", False: "**missed**", None: "–"}


def written(value: float) -> str:
    """A number with three digits that mean something."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cell(figure: Figure, values: Sequence[float], runs: int) -> str:
    if not values:
        return "–"
    text = written(figure.statistic(values))
    if len(values) == 1:
        return text
    what = f"{len(values)} samples" if len(values) > runs else f"{len(values)} runs"
    return f"{text} [{written(min(values))} – {written(max(values))}, {what}]"


def _line(figure: Figure, size: int, measured: Measured, managers: Sequence[str], runs: int) -> str | None:
    """One line of the table; None when nobody was measured."""
    values = {name: measured.of(size, name, figure.series) for name in managers}
    if not any(values.values()):
        return None
    numbers = {name: figure.statistic(found) for name, found in values.items() if found}
    cells = [_cell(figure, values[name], runs) for name in managers]
    own = numbers.get("droned")
    ratio, outcome = "–", "–"
    if own is not None:
        peers = {name: number for name, number in numbers.items() if name != "droned"}
        outcome = OUTCOMES[figure.reached(own, peers)]
        peer = peers.get("supervisord")
        if own and peer:
            # Of two rates the greater is the better one, of all else the smaller.
            ratio = written(own / peer if figure.is_rate else peer / own) + "×"
    return f"| {figure.title} ({figure.unit}) | {figure.target} | {' | '.join(cells)} | {ratio} | {outcome} |"


def figures_table(measured: Measured, managers: Sequence[str], effort: Effort) -> list[str]:
    """The table of what was measured beside the peers, with programs that pause."""
    wanted = [(effort.count, figure) for row in ROWS for figure in row.figures]
    wanted.insert([figure for _, figure in wanted].index(client.ROW.figures[0]), (run.SMALL, client.SMALL))
    return _table(wanted, measured, managers, effort)


def logs_table(measured: Measured, managers: Sequence[str], effort: Effort) -> list[str]:
    """The table of captured output, of the managers that capture it."""
    wanted = [(run.OWN, figure) for row in LOG_ROWS for figure in row.figures]
    return _table(wanted, measured, [name for name in managers if name in CAPTURING], effort)


def _table(
    wanted: Sequence[tuple[int, Figure]], measured: Measured, managers: Sequence[str], effort: Effort
) -> list[str]:
    """Head and lines; nothing where no line has a number."""
    lines = [
        f"| what | target | {' | '.join(managers)} | better than supervisord | droned |",
        "|---" * (len(managers) + 4) + "|",
    ]
    for size, figure in wanted:
        line = _line(figure, size, measured, managers, effort.runs)
        if line is not None:
            lines.append(line)
    return lines if len(lines) > 2 else []


def faults_table(verdicts: Sequence[tuple[FaultRow, Verdict]]) -> list[str]:
    """The table of the fault rows."""
    lines = ["| what | target | measured | droned |", "|---|---|---|---|"]
    for row, verdict in verdicts:
        figures = ", ".join(f"{name} {written(value)}" for name, value in verdict.figures.items())
        outcome = "reached" if verdict.passed else f"**missed**: {len(verdict.faults)} faults"
        lines.append(f"| {row.title} | {row.target} | {figures or '–'} | {outcome} |")
    for row, verdict in verdicts:
        if verdict.faults:
            lines += ["", f"Faults in *{row.title}*:", ""]
            lines += [f"* {' '.join(fault.split())[:400]}" for fault in verdict.faults[:15]]
    return lines


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=programs.ROOT)
    except OSError:
        return "?"
    return (done.stdout.splitlines() or ["?"])[0]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def head(arguments: Sequence[str]) -> list[str]:
    """On what, when, with which versions and by which command it was measured."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = _first_line("git", "rev-parse", "--short", "HEAD")
    changed = _first_line("git", "status", "--porcelain", "-uno") != "?"
    machine = f"{os.cpu_count()} processors ({_processor()}), {memory:.0f} GiB, Linux {platform.release()}"
    versions = (
        f"droned at {commit}{' with changes' if changed else ''}",
        f"Python {platform.python_version()}",
        f"Twisted {metadata.version('twisted')}",
        f"supervisor {supervisord.VERSION}",
        _first_line(programs.compiler() or "cc", "--version"),
    )
    return [
        f"Machine: {machine}, load {os.getloadavg()[0]:.1f} at the end  ",
        f"Date: {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC  ",
        f"Versions: {', '.join(versions)}  ",
        f"Command: `{shlex.join(('bin/bench', *arguments))}`",
    ]


def _noise(measured: Measured) -> str:
    others, stolen = ([100 * share for share in found] for found in (measured.others, measured.stolen))
    return (
        f"Noise: others used {statistics.median(others):.0f} % of the machine (at most {max(others):.0f} %) "
        f"when a life of a manager began; the host of this virtual machine withheld "
        f"{statistics.median(stolen):.0f} % of its time (at most {max(stolen):.0f} %) during one; "
        f"{measured.repeated} lives were repeated because it withheld over {100 * run.MOST_STOLEN:.0f} %"
    )


INTRODUCTION = """\
Written by `bin/bench`; `benchmarks/__init__.py` says how a measurement is kept honest. A cell is the median
(or the percentile that the line names) [least – most, runs or samples]; ratios are of medians of the same
run, and under 1.5 they mean nothing. All keep the same static C program running, which pauses and obeys TERM.
droned writes its journal to the disk and captures two pipes of each program; supervisord has a pipe to each
program and no log file; the two yardsticks have neither policy nor logs nor memory. In the table of captured
output both have two pipes to each program and keep six files of 50 MB of each stream."""


def document(
    arguments: Sequence[str],
    effort: Effort,
    managers: Sequence[str],
    measured: Measured | None,
    verdicts: Sequence[tuple[FaultRow, Verdict]],
) -> str:
    """The whole page."""
    lines = ["# Results", "", INTRODUCTION, "", *head(arguments)]
    if measured is not None and measured.others:
        lines[-1] += "  "
        lines.append(_noise(measured))
    if measured is not None:
        for title, table in (
            (f"Figures ({effort.count:,} programs)", figures_table(measured, managers, effort)),
            ("Captured output", logs_table(measured, managers, effort)),
        ):
            if table:
                lines += ["", f"## {title}", "", *table]
        if measured.faults:
            lines += ["", "Could not be measured:", ""]
            lines += [f"* {' '.join(fault.split())[:400]}" for fault in measured.faults]
    if verdicts:
        lines += ["", "## Faults", "", *faults_table(verdicts)]
    return "\n".join(lines) + "\n"


def default_place() -> Path:
    """Where the page stands."""
    return Path(__file__).resolve().parent / "RESULTS.md"

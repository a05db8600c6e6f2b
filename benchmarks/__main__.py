"""`bin/bench`: measure, print the tables, write RESULTS.md."""

from __future__ import annotations

import argparse
import signal
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import faults, report, run
from benchmarks.figures import QUICK, Effort
from benchmarks.managers import MANAGERS
from benchmarks.managers.base import Failed, remove_folders
from benchmarks.rows import LOG_ROWS, ROWS


def parser() -> argparse.ArgumentParser:
    """The options."""
    rows = ", ".join(row.name for row in (*ROWS, *LOG_ROWS))
    fault_rows = ", ".join(row.name for row in faults.FAULT_ROWS)
    made = argparse.ArgumentParser(
        prog="bin/bench",
        description="Measures droned beside its peers and writes benchmarks/RESULTS.md.",
        epilog=f"Rows: {rows}. Fault rows: {fault_rows}.",
    )
    made.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="only this row (repeatable)"
    )
    made.add_argument("--runs", type=int, metavar="N", help="lives of each manager (5)")
    made.add_argument("--quick", action="store_true", help="few programs, one run: checks the measurements")
    made.add_argument("--faults", action="store_true", help="the fault rows in full size, after the figures")
    made.add_argument("--no-peers", action="store_true", help="droned alone")
    made.add_argument("--manager", action="append", metavar="NAME", choices=list(MANAGERS), help="only these")
    made.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write the page (RESULTS.md, nowhere for --quick)",
    )
    return made


def main() -> int:
    """Exit status: 0 all could be measured, 1 something could not or a fault was found, 2 wrong use."""
    asked = parser().parse_args()
    # TERM ends as Ctrl-C does: by way of every cleaning up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    fault_names = [row.name for row in faults.FAULT_ROWS]
    wanted_faults = [name for name in asked.only if name in fault_names]
    only = [name for name in asked.only if name not in fault_names]
    try:
        rows = run.chosen_rows(only)
    except Failed as error:
        print(error, file=sys.stderr)
        return 2
    managers = asked.manager or (["droned"] if asked.no_peers else list(MANAGERS))
    effort = QUICK if asked.quick else Effort()
    if asked.runs:
        effort = replace(effort, runs=asked.runs)
    measured = None
    if not wanted_faults or only:
        try:
            measured = run.lives(rows, managers, effort)
        finally:
            remove_folders()
    verdicts = []
    if asked.faults or wanted_faults:
        chosen = [row for row in faults.FAULT_ROWS if not wanted_faults or row.name in wanted_faults]
        verdicts = [(row, faults.judged(row, asked.quick)) for row in chosen]
    page = report.document(sys.argv[1:], effort, managers, measured, verdicts)
    print(page)
    place = asked.output or (None if asked.quick else report.default_place())
    if place is not None:
        place.write_text(page)
    failed = bool(measured and measured.faults) or any(verdict.faults for _, verdict in verdicts)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

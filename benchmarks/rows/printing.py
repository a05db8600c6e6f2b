"""What the rows about captured output share: programs that print when told, and when all of it is there.

The programs are tests/programs/writer.c: they wait for USR1, print, and report
when their first write began. What they printed is there when the newest file
of each ends with its last line, under every manager.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import observe
from benchmarks.managers.base import App, Failed, Manager
from tests.faults import processes
from tests.faults.stamps import Report

END = b"END\n"
"""The end of what is printed in bulk."""
LINE_BYTES = 100
"""Bytes of a line of the text."""
LINES_AN_ERROR = 1000
"""One line in so many has the word ERROR."""
CHUNK_BYTES = 65_536
LOOK_S = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """What it took to have all of it in the files."""

    bytes: int
    took_s: float
    """From the first write to the last byte in its file."""
    cpu_s: float
    """Of the manager's own processes."""

    @property
    def mb_per_s(self) -> float:
        """Millions of bytes a second."""
        return self.bytes / self.took_s / 1e6

    @property
    def cpu_s_per_gib(self) -> float:
        """CPU seconds for 2**30 bytes."""
        return self.cpu_s / self.bytes * 2**30


def printers(instances: int, size: int, chunk: int) -> tuple[App, ...]:
    """Programs of which each prints so many bytes as fast as it can."""
    mode = ("bulk", str(size), str(chunk))
    return (App(instances=instances, program="writer", mode=mode, is_captured=True),)


def begin(manager: Manager, names: Iterable[str]) -> None:
    """Let these programs print."""
    for name in names:
        if not processes.send(manager.running[name], signal.SIGUSR1, manager.is_program):
            raise Failed(f"{name} is gone before it has printed")


def reports(manager: Manager, before: int, count: int, within_s: float) -> list[Report]:
    """The next `count` reports after the first `before`; raises Failed when they do not come."""
    deadline = time.monotonic() + within_s
    size = -1
    while True:
        if (grown := manager.stamps.reports.stat().st_size) != size:
            size = grown
            found = manager.stamps.reported()[before:]
            if len(found) >= count:
                return found
        if time.monotonic() > deadline:
            raise Failed(f"{len(found)} of {count} programs had printed after {within_s:.0f} s")
        time.sleep(LOOK_S)


def printed(manager: Manager, names: Sequence[str], within_s: float = 120.0) -> Printed:
    """Let these print in bulk, and wait until all of it is in the files."""
    before = len(manager.stamps.reported())
    pids = manager.own_pids()
    used_s = observe.all_cpu_seconds(pids)
    begin(manager, names)
    found = reports(manager, before, len(names), within_s)
    _all_there(manager, names, within_s)
    ended_ns = time.monotonic_ns()
    used_s = observe.all_cpu_seconds(pids) - used_s
    return Printed(
        bytes=sum(report.bytes for report in found),
        took_s=(ended_ns - min(report.first_ns for report in found)) / 1e9,
        cpu_s=used_s,
    )


def _all_there(manager: Manager, names: Iterable[str], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    for name in names:
        while not has_end(manager.log_files(name)):
            if time.monotonic() > deadline:
                raise Failed(f"what {name} printed is not all there after {within_s:.0f} s")
            time.sleep(LOOK_S)


def has_end(files: Sequence[Path]) -> bool:
    """Whether the newest of these files that is not empty ends as what is printed in bulk does."""
    for path in reversed(files):
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if size:
                    file.seek(max(0, size - len(END)))
                    return file.read() == END
        except FileNotFoundError:
            # It was rotated, compressed or deleted just now.
            return False
    return False

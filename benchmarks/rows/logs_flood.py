"""One program floods its log beside others that are quiet: neither they nor disk and daemon shall suffer."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series, p99
from benchmarks.managers.base import App, Failed, Manager
from benchmarks.managers.droned import Droned
from benchmarks.rows import printing
from benchmarks.rows.row import Row
from tests.faults.verdict import percentile

TOTAL = "512M"
TOTAL_BYTES = 512 * 2**20
SEGMENT_BYTES = 50 * 2**20
QUIET = 99
LINE_BYTES = 100
LOOK_S = 0.05
"""How often the files are looked at: what a quiet line is late by contains up to so much."""


def _apps(effort: Effort) -> Sequence[App]:
    seconds = int(effort.flood_s)
    flood = ("flood", str(seconds), str(printing.CHUNK_BYTES))
    quiet = ("lines", str(seconds), str(LINE_BYTES), "1")
    return (
        App(name="flood", instances=1, program="writer", mode=flood, is_captured=True),
        App(name="quiet", instances=QUIET, program="writer", mode=quiet, is_captured=True),
    )


@dataclass(slots=True)
class Quiet:
    """The file of one quiet program, read as it grows."""

    path: Path
    offset: int = 0

    def late_s(self) -> list[float]:
        """The seconds between each new line's printing and now."""
        now_ns = time.monotonic_ns()
        if self.path.stat().st_size < self.offset + LINE_BYTES:
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            text = file.read()
        lines = len(text) // LINE_BYTES
        self.offset += lines * LINE_BYTES
        printed_ns = (int(text[at + 13 : at + 32]) for at in range(0, lines * LINE_BYTES, LINE_BYTES))
        return [(now_ns - at_ns) / 1e9 for at_ns in printed_ns]


@dataclass(slots=True)
class Asker:
    """Asks the daemon for its status all the time, in a thread; a context manager."""

    manager: Droned
    took_s: list[float] = field(default_factory=list)
    failures: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Asker:
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join()

    def _ask(self) -> None:
        while not self._over.wait(LOOK_S):
            began = time.monotonic()
            try:
                self.manager.api.daemon()
            except Exception:  # noqa: BLE001 - an answer that does not come is what is looked for
                self.failures += 1
            self.took_s.append(time.monotonic() - began)


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below a folder, links aside."""
    total = 0
    for entry in os.scandir(folder):
        try:
            if entry.is_dir(follow_symlinks=False):
                total += folder_bytes(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            # It was deleted between the two looks.
            continue
    return total


def measure(manager: Manager, effort: Effort) -> Series:
    """How late quiet lines are, how far the cap is exceeded, how fast the flood is, how quick the daemon."""
    assert isinstance(manager, Droned)
    pids = manager.own_pids()
    observe.become_quiet(pids)
    logs = manager.state / "logs"
    names = sorted(manager.running)
    quiet: dict[str, Quiet] = {}
    late_s: list[float] = []
    most_bytes = 0
    with Asker(manager) as asker:
        printing.begin(manager, names)
        deadline = time.monotonic() + effort.flood_s + 30.0
        is_over = False
        while not is_over:
            # Looked at once more after the last report.
            is_over = len(manager.stamps.reported()) == len(names)
            next_s = time.monotonic() + LOOK_S
            for name in names:
                if name not in quiet and name.startswith("quiet/") and (files := manager.log_files(name)):
                    quiet[name] = Quiet(files[-1])
            for one in quiet.values():
                late_s += one.late_s()
            most_bytes = max(most_bytes, folder_bytes(logs))
            if time.monotonic() > deadline:
                raise Failed("the programs do not come to an end of printing")
            time.sleep(max(0.0, next_s - time.monotonic()))
    wanted = QUIET * int(effort.flood_s)
    seen_by = time.monotonic() + 5.0
    while len(late_s) < wanted and time.monotonic() < seen_by:
        for one in quiet.values():
            late_s += one.late_s()
        time.sleep(LOOK_S)
    if len(late_s) != wanted:
        raise Failed(f"{len(late_s)} of {wanted} quiet lines are in the files")
    if asker.failures:
        raise Failed(f"the daemon gave no answer {asker.failures} times")
    (flood,) = (report for report in manager.stamps.reported() if report.name.startswith("flood/"))
    return {
        "flood_mb_per_s": [flood.bytes / (flood.last_ns - flood.first_ns) * 1e3],
        "flood_quiet_s": [percentile(late_s, 0.99)],
        "flood_quiet_most_s": [max(late_s)],
        "flood_over_mb": [max(0, most_bytes - TOTAL_BYTES) / 1e6],
        "flood_status_ms": [1e3 * took for took in asker.took_s],
    }


ROW = Row(
    name="logs-flood",
    measure=measure,
    managers=("droned",),
    apps=_apps,
    settings={"logs": {"total": TOTAL}},
    once=True,
    figures=(
        Figure(
            series="flood_quiet_s",
            title="one program floods for 60 s beside 99 quiet ones: a quiet line is visible after, p99",
            unit="s",
            target="< 1 s",
            at_most=1.0,
        ),
        Figure(series="flood_quiet_most_s", title="the same, the latest", unit="s", target=""),
        Figure(series="flood_mb_per_s", title="the flood", unit="MB/s", target="≥ 200 MB/s", at_least=200.0),
        Figure(
            series="flood_over_mb",
            title="above the cap of 512 MiB at most",
            unit="MB",
            target="≤ one segment of 52.4 MB",
            at_most=SEGMENT_BYTES / 1e6,
        ),
        Figure(
            series="flood_status_ms",
            title="the daemon's own status meanwhile, p99",
            unit="ms",
            target="",
            statistic=p99,
        ),
    ),
)

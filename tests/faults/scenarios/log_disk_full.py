"""The disk of the logs is full: programs go on, what is dropped is counted and marked, and it mends itself.

The logs have a small disk of their own (tmpfs, for which one has to be root).
Another file takes all of its room for a while, whoever gives some back.
"""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import captured, processes
from tests.faults.api import Refused, Unanswered
from tests.faults.scenarios.log_kills import ROLES, all_reported, all_started, with_logs
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.stamps import Report
from tests.faults.verdict import Verdict

GOES_ON_WITHIN_S = 1.0
LONGEST_WRITE_S = 1.0
RECOVERED_WITHIN_S = 10.0
THERE_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    instances: int = 20
    disk_mb: int = 256
    full_s: float = 20.0
    burst_lines: int = 200
    line_bytes: int = 100
    pause_ms: int = 50
    slack_s: float = 0.0
    """What a busy machine may add to each limit; the figures are judged without it."""


@contextlib.contextmanager
def small_disk(place: Path, size_mb: int) -> Iterator[None]:
    """A disk of its own at `place`, which is made; raises Lost where that is not allowed."""
    place.mkdir(parents=True, mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0700", "droned-logs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Lost(f"cannot mount a small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Whoever has a file there open keeps it until then; nobody can get there any more.
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@dataclass(slots=True)
class Ballast:
    """A file that takes all room of its disk, and what others give back; a context manager."""

    path: Path
    step_bytes: int = 65_536
    is_full: threading.Event = field(default_factory=threading.Event)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Ballast:
        self._thread = threading.Thread(target=self._grow)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        assert self._thread is not None
        self._thread.join()
        self.path.unlink()

    def _grow(self) -> None:
        with self.path.open("wb", buffering=0) as file:
            step = self.step_bytes
            while not self._over.is_set():
                try:
                    if not file.write(b"\0" * step):
                        raise OSError(errno.ENOSPC, "nothing was written")
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    self.is_full.set()
                    self._over.wait(0.005)


def printed_bytes(pid: int) -> int:
    """How much a program has written until now, by the kernel's account."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def _go_on(pids: Sequence[int], within_s: float) -> bool:
    """Whether every one of these prints something from now on."""
    before = {pid: printed_bytes(pid) for pid in pids}
    return processes.until(lambda: all(printed_bytes(pid) > before[pid] for pid in pids), within_s, 0.02)


def _in_the_files(site: Site, name: str) -> int:
    found = captured.segments(site.state / "logs", name, "stdout")
    return sum(segment.size() for segment in found)


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Fill the disk for a while, make room again, and account for every byte."""
    verdict = Verdict(f"log disk full for {size.full_s:.0f} s")
    app = App(
        name="web",
        program="writer",
        mode=("bursts", str(size.burst_lines), str(size.line_bytes), str(size.pause_ms)),
        instances=size.instances,
    )
    with Site(command) as site, small_disk(site.state / "logs", size.disk_mb):
        site.configure((app,))
        try:
            site.launch()
            site.in_control()
            stamps = all_started(site, size.instances)
            status = with_logs(site)
            pids = [stamp.pid for stamp in stamps]
            for pid in pids:
                site.kill_program(pid, signal.SIGUSR1)
            time.sleep(1.0)
            with Ballast(site.state / "logs" / "ballast") as ballast:
                verdict.expect(ballast.is_full.wait(30.0), "the disk did not become full")
                until = time.monotonic() + size.full_s
                while time.monotonic() < until:
                    if not _go_on(pids, GOES_ON_WITHIN_S + size.slack_s):
                        raise Lost("a program does not go on printing while the disk is full")
                    time.sleep(0.1)
                lost = _lost_bytes(site)
            verdict.expect(len(lost) == size.instances, f"only {len(lost)} streams have counted drops")
            began = time.monotonic()
            _recovered(site, [stamp.name for stamp in stamps], size)
            verdict.figures["recovered_s"] = time.monotonic() - began
            time.sleep(1.0)
            for pid in pids:
                site.kill_program(pid, signal.SIGUSR2)
            reports = all_reported(site, size.instances)
            judge(site, size, reports, verdict)
            after = with_logs(site)
            for name, role in ROLES.items():
                verdict.expect(after[role] == status[role], f"{name} was replaced")
        except (Lost, Refused, Unanswered) as error:
            verdict.faults.append(str(error))
    return verdict


def _lost_bytes(site: Site) -> dict[str, int]:
    """Bytes that were dropped, by instance, as the API tells."""
    usage = site.api.get("/logs/usage")["instances"]
    return {name: row["lost_bytes"] for name, row in usage.items() if row["lost_bytes"]}


def _recovered(site: Site, names: Sequence[str], size: Size) -> None:
    before = {name: _in_the_files(site, name) for name in names}

    def is_captured() -> bool:
        return all(_in_the_files(site, name) > before[name] for name in names)

    if not processes.until(is_captured, RECOVERED_WITHIN_S + size.slack_s, 0.02):
        raise Lost(f"not captured again {RECOVERED_WITHIN_S:.0f} s after there was room")


def judge(site: Site, size: Size, reports: Sequence[Report], verdict: Verdict) -> None:
    """Every byte that was printed is in a file or is told to be lost, at its place."""
    processes.until(lambda: not _wrong(site, size, reports), THERE_WITHIN_S, 0.5)
    verdict.faults += _wrong(site, size, reports)
    gaps = captured.index(site.state / "logs").gaps
    lost = _lost_bytes(site)
    for report in reports:
        dropped = sum(count for _, count in gaps.get((report.name, "stdout"), []))
        counted = lost.get(report.name, 0)
        verdict.expect(dropped == counted > 0, f"{report.name}: {dropped} bytes dropped, {counted} counted")
        answer = b"".join(site.api.stream(f"/logs?target={report.name}"))
        shown = [row for row in map(json.loads, answer.splitlines()) if row.get("event") == "lost"]
        verdict.expect(shown, f"{report.name}: its log does not tell that something is lost")
    longest_s = max(report.longest_s for report in reports)
    limit_s = LONGEST_WRITE_S + size.slack_s
    verdict.expect(longest_s <= limit_s, f"a program waited {longest_s:.2f} s in a write")
    verdict.figures["longest_write_s"] = longest_s
    verdict.figures["printed_mb"] = sum(report.bytes for report in reports) / 1e6
    verdict.figures["lost_mb"] = sum(lost.values()) / 1e6


def _wrong(site: Site, size: Size, reports: Sequence[Report]) -> list[str]:
    """Faults in index and files."""
    logs = site.state / "logs"
    told = captured.index(logs)
    found = list(told.faults)
    for report in reports:
        gaps = told.gaps.get((report.name, "stdout"), [])
        found += captured.wrong(logs, f"{report.name}@{site.tag}", size.line_bytes, report.bytes, gaps)
    return found

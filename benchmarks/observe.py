"""What the kernel tells of a manager's own processes: CPU time and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds that all threads of these processes have used, to the nanosecond."""
    total_ns = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def all_cpu_seconds(pids: Iterable[int]) -> float:
    """The same with threads that have ended and children that were reaped, to the clock tick."""
    ticks_used = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks_used += sum(map(int, fields[11:15]))
    return ticks_used / os.sysconf("SC_CLK_TCK")


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory of these processes, shared pages counted in proportion."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticks:
    """How the time of all processors was spent since the boot, in clock ticks."""

    idle: int
    stolen: int
    """Wanted by this machine and given to another by the host of virtual machines."""
    total: int

    def shares_since(self, before: Ticks) -> tuple[float, float]:
        """Shares (0.0-1.0) of the time since then: used by anybody here, and stolen."""
        passed = max(1, self.total - before.total)
        stolen = (self.stolen - before.stolen) / passed
        return 1.0 - (self.idle - before.idle) / passed - stolen, stolen


def ticks() -> Ticks:
    """The account of now."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return Ticks(idle=fields[3] + fields[4], stolen=fields[7], total=sum(fields))


def quiet_machine(within_s: float = 60.0, most: float = 0.1) -> float:
    """Wait, within reason, until others use less than `most` of the machine; the share that they use then."""
    deadline = time.monotonic() + within_s
    while True:
        before = ticks()
        time.sleep(1.0)
        used, _ = ticks().shares_since(before)
        if used <= most or time.monotonic() >= deadline:
            return used


def become_quiet(pids: Iterable[int], within_s: float = 20.0) -> None:
    """Wait until these processes have nothing left to do: under 2 % of a processor for half a second."""
    watched = tuple(pids)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        before = cpu_seconds(watched)
        time.sleep(0.5)
        if cpu_seconds(watched) - before < 0.01:
            return

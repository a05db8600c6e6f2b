"""What the kernel tells of a manager's own processes: CPU time and memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path


def cpu_seconds(pids: Iterable[int]) -> float:
    """CPU seconds that all threads of these processes have used, to the nanosecond."""
    total_ns = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def pss_bytes(pids: Iterable[int]) -> int:
    """Memory of these processes, shared pages counted in proportion."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def busy_share(over_s: float) -> float:
    """Share (0.0-1.0) of all processors that anybody used in the next `over_s` seconds."""

    def read() -> tuple[int, int]:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    all_before, idle_before = read()
    time.sleep(over_s)
    all_after, idle_after = read()
    return 1.0 - (idle_after - idle_before) / max(1, all_after - all_before)


def quiet_machine(within_s: float = 60.0, most: float = 0.1) -> float:
    """Wait, within reason, until others use less than `most` of the machine; the share that they use then."""
    deadline = time.monotonic() + within_s
    while (share := busy_share(1.0)) > most and time.monotonic() < deadline:
        pass
    return share


def become_quiet(pids: Iterable[int], within_s: float = 20.0) -> None:
    """Wait until these processes have nothing left to do: under 2 % of a processor for half a second."""
    watched = tuple(pids)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        before = cpu_seconds(watched)
        time.sleep(0.5)
        if cpu_seconds(watched) - before < 0.01:
            return

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


def become_quiet(pids: Iterable[int], within_s: float = 20.0) -> None:
    """Wait until these processes have nothing left to do: under 2 % of a processor for half a second."""
    watched = tuple(pids)
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        before = cpu_seconds(watched)
        time.sleep(0.5)
        if cpu_seconds(watched) - before < 0.01:
            return

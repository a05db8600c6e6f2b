"""Figures: what is measured, in which unit, and what droned has to reach.

A row of the table measures *series* (lists of numbers under a name); a figure
is one number made of a series, with its target. All samples of all
repetitions stand in one series: medians and percentiles are taken over them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.faults.verdict import percentile

Series = dict[str, list[float]]
"""Samples by the name of the series."""


def p99(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return percentile(values, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the tables."""

    series: str
    title: str
    unit: str
    target: str
    """What the issue asks for, in its words; empty when it asks for nothing."""
    statistic: Callable[[Sequence[float]], float] = statistics.median
    at_most: float | None = None
    """droned's own number has to be below this."""
    at_least: float | None = None
    """droned's own number has to reach this."""
    faster_than_supervisord: float | None = None
    """supervisord's number divided by droned's has to reach this."""
    share_of_supervisord: float | None = None
    """droned's number divided by supervisord's has to reach this: for rates."""

    @property
    def is_rate(self) -> bool:
        """Whether the greater number is the better one."""
        return self.at_least is not None or self.share_of_supervisord is not None

    def reached(self, own: float, peers: Mapping[str, float]) -> bool | None:
        """Whether droned reached the target; None when it has none, or its peer was not measured."""
        if self.at_most is not None:
            return own < self.at_most
        if self.at_least is not None:
            return own >= self.at_least
        if "supervisord" in peers and self.faster_than_supervisord is not None:
            return peers["supervisord"] / own >= self.faster_than_supervisord
        if "supervisord" in peers and self.share_of_supervisord is not None:
            return own / peers["supervisord"] >= self.share_of_supervisord
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much a measurement may cost."""

    count: int = 1000
    """Programs under each manager."""
    runs: int = 5
    kills: int = 40
    """Restarts that are measured in each life of a manager."""
    slow_kills: int = 4
    """The same for a manager that takes a second for each."""
    idle_s: float = 60.0
    load_s: float = 5.0
    connections: int = 4
    client_calls: int = 15
    printed_bytes: int = 2**30
    """Bytes that are printed in all where their throughput is measured."""
    printed_lines_bytes: int = 2**28
    """The same where each line is a write."""
    printers: int = 100
    printed_s: float = 20.0
    """How long many programs print a line now and then."""
    flood_s: float = 60.0
    searched_bytes: int = 2_000_000_000
    searches: int = 5
    is_quick: bool = False


QUICK = Effort(
    count=50,
    runs=1,
    kills=20,
    slow_kills=2,
    idle_s=3.0,
    load_s=1.0,
    client_calls=3,
    printed_bytes=2**26,
    printed_lines_bytes=2**24,
    printers=10,
    printed_s=2.0,
    flood_s=3.0,
    searched_bytes=150_000_000,
    searches=2,
    is_quick=True,
)
"""Enough to see that the measurements work; its numbers say nothing."""


@dataclass(slots=True)
class Measured:
    """All series of one run of the benchmarks: by size, manager and name."""

    series: dict[tuple[int, str, str], list[float]] = field(default_factory=dict)
    others: list[float] = field(default_factory=list)
    """Shares (0.0-1.0) of the machine that others used when a life began."""
    stolen: list[float] = field(default_factory=list)
    """Shares of the machine that its host gave to others during each life."""
    repeated: int = 0
    """Lives that were lived again since the host withheld too much; nothing of them is in the series."""
    faults: list[str] = field(default_factory=list)
    """Measurements that could not be made, and why."""

    def add(self, size: int, manager: str, found: Series) -> None:
        """Add samples."""
        for name, values in found.items():
            self.series.setdefault((size, manager, name), []).extend(values)

    def take(self, life: Measured, others: float, stolen: float) -> None:
        """Add what one life gave, and how quiet it was."""
        for key, values in life.series.items():
            self.series.setdefault(key, []).extend(values)
        self.faults += life.faults
        self.others.append(others)
        self.stolen.append(stolen)

    def of(self, size: int, manager: str, name: str) -> list[float]:
        """The samples of one series; empty when nothing was measured."""
        return self.series.get((size, manager, name), [])

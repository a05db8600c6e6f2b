"""What the supervised programs say of themselves: when they were exec'd and how they mean to end.

One line a run, appended by tests/programs/child.c. The lines of one name
stand in the order of its runs, since a run begins after the one before it was
reaped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """One run, told by itself."""

    name: str
    pid: int
    exec_ns: int
    """CLOCK_MONOTONIC at the first instruction of `main`."""
    end: str | None
    """How it means to end (`7`, `s11`); None when it leaves that to others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a writer printed from one USR1 on, told by itself."""

    name: str
    first_ns: int
    """CLOCK_MONOTONIC before its first write."""
    last_ns: int
    """The same after its last one."""
    longest_s: float
    """The longest that one write took; 0 where it did not look."""
    bytes: int


def report_of(line: str) -> Report:
    """What one line of the reports says."""
    name, *numbers = line.split()
    first_ns, last_ns, longest_ns, size = map(int, numbers)
    return Report(
        name=name.rpartition("@")[0],
        first_ns=first_ns,
        last_ns=last_ns,
        longest_s=longest_ns / 1e9,
        bytes=size,
    )


@dataclass(slots=True)
class StampFile:
    """The file that the programs append to; `new` gives each line once."""

    path: Path
    _offset: int = field(default=0, init=False)

    def create(self) -> None:
        """Make the files, empty, writable for any user that a program may run as."""
        for path in (self.path, self.reports):
            path.touch()
            path.chmod(0o666)

    @property
    def reports(self) -> Path:
        """Where `tests/programs/writer.c` tells what it printed."""
        return self.path.with_name(self.path.name + ".reports")

    def reported(self) -> list[Report]:
        """All reports until now."""
        lines = self.reports.read_text().splitlines(keepends=True)
        return [report_of(line) for line in lines if line.endswith("\n")]

    def size(self) -> int:
        """Bytes written until now: the cheapest way to see that somebody was exec'd."""
        return self.path.stat().st_size

    def new(self) -> Iterator[Stamp]:
        """The stamps since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.decode().splitlines():
            at_ns, pid, name, end = line.split(" ")
            yield Stamp(
                name=name.rpartition("@")[0],
                pid=int(pid),
                exec_ns=int(at_ns),
                end=None if end == "-" else end,
            )

"""The outside observer: what was alive when, by the process table alone.

`Observer` runs the C program of tests/programs/observer.c; `history` reads
what it wrote. The order of the sights is the order in which things were seen,
with every death before any birth that could follow from it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import programs


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """One process as it was seen from outside."""

    name: str
    pid: int
    start: int
    """Clock ticks since the boot."""
    seen: int
    """Place of the first sight in the order of all that was seen."""
    seen_s: float
    """Monotonic seconds; late by at most one look."""
    gone: int | None = None
    """Place of the death; None while it lives."""
    gone_s: float | None = None
    end: str | None = None
    """`7` or `s9`, as the kernel told; None when it did not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that was seen in one observation."""

    lives: tuple[Life, ...]
    longest_gap_s: float | None = None
    """The longest time between two looks; None before the first account of it."""

    def of(self, name: str) -> tuple[Life, ...]:
        """The lives under one name, in the order of their first sight."""
        return tuple(life for life in self.lives if life.name == name)

    def by_name(self) -> dict[str, tuple[Life, ...]]:
        """Every name with its lives."""
        found: dict[str, list[Life]] = {}
        for life in self.lives:
            found.setdefault(life.name, []).append(life)
        return {name: tuple(lives) for name, lives in found.items()}


@dataclass(slots=True)
class _Draft:
    name: str
    seen: int
    seen_s: float
    gone: int | None = None
    gone_s: float | None = None
    end: str | None = None


def history(lines: Iterable[str]) -> History:
    """What the observer's lines say; a last line that is not whole is left out."""
    drafts: dict[tuple[int, int, int], _Draft] = {}
    latest: dict[tuple[int, int], tuple[int, int, int]] = {}
    gap_s: float | None = None
    for place, line in enumerate(lines):
        if not line.endswith("\n"):
            break
        kind, *words = line.split()
        at_s = int(words[0]) / 1e9
        if kind == "g":
            gap_s = int(words[1]) / 1e9
            continue
        pid, start = int(words[1]), int(words[2])
        if kind == "+":
            latest[pid, start] = (pid, start, place)
            drafts[pid, start, place] = _Draft(words[3].rpartition("@")[0], place, at_s)
            continue
        draft = drafts[latest[pid, start]]
        if kind == "-":
            draft.gone, draft.gone_s = place, at_s
        elif words[3] != "?":
            draft.end = words[3]
    lives = tuple(
        Life(
            name=draft.name,
            pid=pid,
            start=start,
            seen=draft.seen,
            seen_s=draft.seen_s,
            gone=draft.gone,
            gone_s=draft.gone_s,
            end=draft.end,
        )
        for (pid, start, _), draft in drafts.items()
    )
    return History(lives=lives, longest_gap_s=gap_s)


@dataclass(slots=True)
class Observer:
    """A running observer; a context manager that ends it."""

    tag: str
    file: Path
    period_ms: int = 20
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Observer:
        self.file.touch()
        command = [str(programs.observer()), self.tag, str(self.file), str(self.period_ms)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the observation; what was seen stays in the file."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10.0)
            self.process = None

    def history(self) -> History:
        """What has been seen until now, or in all."""
        with self.file.open() as file:
            return history(file)

    def settle(self) -> None:
        """Wait for as long as three looks take, so that what is true now has been seen."""
        time.sleep(0.003 * self.period_ms + 0.02)

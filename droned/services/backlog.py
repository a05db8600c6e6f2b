"""Lines that a sink has not taken yet: first in, first out, and bounded."""

from __future__ import annotations

from collections import deque
from itertools import islice

from droned.protocols.captured import CapturedLine

MOST_LINES = 10_000
MOST_BYTES = 1024 * 1024
MOST_BATCH_BYTES = 256 * 1024


class Backlog:
    """Who fills it looks at `is_full` and stops; what has come already is taken all the same."""

    def __init__(self) -> None:
        self._lines: deque[CapturedLine] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def size_bytes(self) -> int:
        """What its lines take."""
        return self._bytes

    @property
    def is_full(self) -> bool:
        """Whether nothing should be added."""
        return len(self._lines) >= MOST_LINES or self._bytes >= MOST_BYTES

    @property
    def has_room(self) -> bool:
        """Whether half of it is free."""
        return len(self._lines) <= MOST_LINES // 2 and self._bytes <= MOST_BYTES // 2

    def put(self, line: CapturedLine) -> None:
        """Add one line."""
        self._lines.append(line)
        self._bytes += line.size_bytes

    def first(self, most_lines: int) -> list[CapturedLine]:
        """The first lines, so many and `MOST_BATCH_BYTES` at most, but one at least if there is one."""
        found: list[CapturedLine] = []
        size_bytes = 0
        for line in islice(self._lines, most_lines):
            size_bytes += line.size_bytes
            if found and size_bytes > MOST_BATCH_BYTES:
                break
            found.append(line)
        return found

    def drop(self, count: int) -> None:
        """The first `count` lines are done with."""
        for _ in range(count):
            self._bytes -= self._lines.popleft().size_bytes

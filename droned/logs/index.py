"""The index: what was captured when, written once a tick; and what it tells after a start.

Nothing is lost when it cannot be written: what is to be told waits, ticks
become one, and it is tried again every second.
"""

import os
import time
from collections.abc import Callable, Iterable
from typing import Any

from droned.logs import log
from droned.logs.format import (
    INDEX_FILE_BYTES,
    TICK,
    blocks,
    fact_block,
    index_name,
    tick_block,
)

_MOST_WAITING = 4 * 1024 * 1024
_MOST_IN_PAIR = 1 << 31
_RETRY_S = 1.0
_FILE_MODE = 0o640

StreamRow = list[Any]
"""Number, instance, stream, offset."""


class Index:
    """The writer. `streams` and `runs` give that with which every file begins."""

    __slots__ = (
        "_count",
        "_fd",
        "_number",
        "_pairs",
        "_retry_at",
        "_runs",
        "_said",
        "_size",
        "_streams",
        "_told",
        "_waiting",
        "_waiting_bytes",
        "files",
        "folder",
        "position",
    )

    def __init__(
        self, folder: str, streams: Callable[[], list[StreamRow]], runs: Callable[[], dict[str, int]]
    ) -> None:
        self.folder = folder
        self._streams = streams
        self._runs = runs
        self.files: list[tuple[int, int]] = []
        """First position and size of each file, oldest first; the size of the last one is in `size_bytes`."""
        self.position = 0
        self._told = 0
        self._pairs: list[tuple[int, int]] = []
        self._number = -1
        self._count = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._fd = -1
        self._size = 0
        self._retry_at = 0.0
        self._said = False

    @property
    def size_bytes(self) -> int:
        """Of all of its files."""
        return sum(size for _, size in self.files[:-1]) + self._size

    def go_on(self, files: list[tuple[int, int]], position: int) -> None:
        """Continue the last of these files, whose size is where its blocks end, at this position."""
        self.files = files
        self.position = self._told = position
        if files:
            try:
                self._fd = os.open(f"{self.folder}/{index_name(files[-1][0])}", os.O_WRONLY | os.O_CLOEXEC)
                self._size = files[-1][1]
                os.ftruncate(self._fd, self._size)
                os.lseek(self._fd, self._size, os.SEEK_SET)
            except OSError as error:
                self._failed(error)

    def note(self, number: int, count: int) -> None:
        """So many bytes of the stream with this number were captured just now."""
        self.position += count
        if number == self._number:
            self._count += count
            return
        if self._count:
            if self._count < _MOST_IN_PAIR:
                self._pairs.append((self._number, self._count))
            else:
                self._pairs += [(self._number, part) for part in _parts(self._count)]
        self._number = number
        self._count = count

    def fact(self, fact: dict[str, Any]) -> None:
        """Tell something between the bytes that were captured before and those that come after."""
        if self._waiting_bytes > _MOST_WAITING:
            return  # it could not be written for long: the bytes themselves count more
        self._close_tick(time.time_ns() // 1000)
        self._wait(fact_block(time.time_ns() // 1000, self._told, fact))

    def flush(self, now: float) -> bool:
        """Write what is to be told; False when that could not be done."""
        if now < self._retry_at:
            self._merge()
            return False
        self._close_tick(time.time_ns() // 1000)
        if not self._waiting:
            return True
        try:
            if self._fd < 0 or self._size >= INDEX_FILE_BYTES:
                self._begin_file()
            self._write(b"".join(self._waiting))
        except OSError as error:
            self._failed(error)
            self._retry_at = now + _RETRY_S
            return False
        self._waiting.clear()
        self._waiting_bytes = 0
        self._said = False
        return True

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._waiting or self._pairs or self._count)

    def late(self, number: int, count: int, time_us: int) -> None:
        """Tell of bytes that were captured at another time: before we were started."""
        self._close_tick(time_us)
        self._wait(tick_block(time_us, self._told, [(number, part) for part in _parts(count)]))
        self._told += count
        self.position += count

    def skip(self, count: int) -> None:
        """Leave out so many positions: of bytes that are there, and that no index tells of any more."""
        self._close_tick(time.time_ns() // 1000)
        self.position += count
        self._told += count

    def drop_oldest(self) -> int:
        """Delete the oldest file, which is not the one that is written; how many bytes that gave."""
        first, size = self.files.pop(0)
        try:
            os.unlink(f"{self.folder}/{index_name(first)}")
        except FileNotFoundError:
            pass
        except OSError as error:
            log.say(f"cannot delete {index_name(first)}: {error.strerror}")
        return size

    def _wait(self, block: bytes) -> None:
        self._waiting.append(block)
        self._waiting_bytes += len(block)

    def _close_tick(self, time_us: int) -> None:
        if self._count:
            self._pairs += [(self._number, part) for part in _parts(self._count)]
            self._number, self._count = -1, 0
        if self._pairs:
            self._wait(tick_block(time_us, self._told, self._pairs))
            self._told += sum(count for _, count in self._pairs)
            self._pairs = []

    def _merge(self) -> None:
        """Make one pair of all that a stream has in this tick, for want of a place to write them."""
        if len(self._pairs) > 1000:
            sums: dict[int, int] = {}
            for number, count in self._pairs:
                sums[number] = sums.get(number, 0) + count
            if len(sums) < len(self._pairs):
                self._pairs = [(number, part) for number, count in sums.items() for part in _parts(count)]

    def _begin_file(self) -> None:
        """Begin the next file with a row for each stream, whose offsets are those before what waits."""
        start = self.files[-1][0] if self.files else -1
        position = self._first_waiting()
        if position == start:
            return  # nothing was captured since: one file cannot have the name of another
        path = f"{self.folder}/{index_name(position)}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
        head = fact_block(time.time_ns() // 1000, position, self._first_fact())
        try:
            if os.write(fd, head) != len(head):
                raise OSError(28, "No space left on device")
        except OSError:
            os.close(fd)
            os.unlink(path)
            raise
        if self._fd >= 0:
            os.close(self._fd)
            self.files[-1] = (start, self._size)
        self._fd, self._size = fd, len(head)
        self.files.append((position, 0))

    def _first_waiting(self) -> int:
        return next(blocks(self._waiting[0])).position

    def _first_fact(self) -> dict[str, Any]:
        """All streams and runs, less what waits to be told."""
        after: dict[int, int] = {}
        runs = self._runs()
        for text in self._waiting:
            for block in blocks(text):
                if block.kind == TICK:
                    for number, count in block.pairs():
                        after[number] = after.get(number, 0) + count
                elif (fact := block.fact())["fact"] == "began":
                    runs.pop(fact["instance"], None)
        rows = [
            [number, instance, stream, offset - after.get(number, 0)]
            for number, instance, stream, offset in self._streams()
        ]
        return {"fact": "streams", "streams": rows, "runs": runs}

    def _write(self, content: bytes) -> None:
        count = os.write(self._fd, content)
        if count != len(content):
            os.ftruncate(self._fd, self._size)
            os.lseek(self._fd, self._size, os.SEEK_SET)
            raise OSError(28, "No space left on device")
        self._size += count

    def _failed(self, error: OSError) -> None:
        if not self._said:
            self._said = True
            log.say(f"cannot write the index: {error.strerror}; what it has to tell waits")


def _parts(count: int) -> Iterable[int]:
    """`count` as numbers that fit a pair."""
    while count > _MOST_IN_PAIR:
        yield _MOST_IN_PAIR
        count -= _MOST_IN_PAIR
    yield count

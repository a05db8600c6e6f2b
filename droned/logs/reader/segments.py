"""The bytes of one stream out of its segments, raw or compressed, while they are rotated and deleted."""

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import islice

from droned.logs.format import segment_name, segment_named
from droned.logs.reader.opened import Compressed, Raw

MOST_OPEN = 400
"""Files that are open at once, over all streams."""
_STEP = 1024 * 1024
_TRIES = 20
_HELD = 2
MOST_HELD = 100
"""Streams of which segments are kept open at once."""


class Segments:
    """Reads one stream by its offsets; what has been deleted is left out."""

    __slots__ = ("_end", "_folder", "_held", "_open", "_opened", "_starts", "stream")

    def __init__(self, folder: str, stream: str, opened: "dict[Segments, None]") -> None:
        self._folder = folder
        self._opened = opened
        self.stream = stream
        self._open: Raw | Compressed | None = None
        self._held: dict[int, Raw | Compressed] = {}
        self._starts: list[int] | None = None
        self._end = 0

    def starts(self, *, again: bool = False) -> list[int]:
        """The first offset of each segment that there is, ascending."""
        if self._starts is None or again:
            try:
                names = [segment_named(name) for name in os.listdir(self._folder)]
            except (FileNotFoundError, NotADirectoryError):
                names = []
            starts = {name.start for name in names if name and name.stream == self.stream}
            self._starts = sorted(starts.union(self._held))
        return self._starts

    def read(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """What there is between two offsets: pieces of at most 1 MiB, each with its offset."""
        has_looked = False
        while start < end:
            data = self._read_at(start, min(end - start, _STEP))
            if data:
                yield start, data
                start += len(data)
                has_looked = False
                continue
            if not has_looked:  # the next segment is new, or this one is compressed or gone by now
                has_looked = True
                self.close()
                self.starts(again=True)
                continue
            behind = [begin for begin in self.starts() if begin > start]
            if not behind:
                return
            start = behind[0]

    def line_start(self, offset: int, border: int) -> int:
        """Where the line begins that has the byte at `offset`, or would have it: not before `border`."""
        size, end = 4096, offset
        while end > border:
            start = max(border, end - size)
            last: tuple[int, bytes] | None = None
            for at, data in self.read(start, end):
                joins = last is not None and last[0] + len(last[1]) == at
                last = (last[0], last[1] + data) if last and joins else (at, data)
            if last is None or last[0] + len(last[1]) != end:
                return end
            found = last[1].rfind(b"\n")
            if found >= 0:
                return last[0] + found + 1
            if last[0] > start:
                return last[0]
            end, size = start, min(size * 4, _STEP)
        return border

    def spans(self, end: int | None) -> list[tuple[int, int, int]]:
        """Start, end and time in us of each segment below `end`; None: of all there are."""
        starts = self.starts()
        spans = []
        for number, start in enumerate(starts):
            size, time_us = self._measure(start)
            following = starts[number + 1] if number + 1 < len(starts) else None
            stop = following if following is not None else start + size
            if end is not None:
                stop = min(stop, end)
            if stop > start:
                spans.append((start, stop, time_us))
        return spans

    def end(self, least: int) -> int:
        """The offset behind the last byte, looked up anew when it was no more than `least`."""
        if self._end <= least and (starts := self.starts(again=True)):
            self._end = starts[-1] + self._measure(starts[-1])[0]
        return self._end

    def kept_from(self, end: int | None) -> int:
        """The first offset that is kept; `end` where nothing is kept before it."""
        starts = self.starts()
        if not starts:
            return end or 0
        return starts[0] if end is None else min(starts[0], end)

    def hold(self) -> list[tuple[int, int]]:
        """Keep the newest segments, deleted or not, until `release`: the last one may be empty.

        Gives the first offset and the bytes of each.
        """
        self.release()
        for _number in range(_TRIES):
            newest = self.starts(again=True)[-_HELD:]
            for start in newest:
                if (found := self._opened_at(start)) is not None:
                    self._held[start] = found
            if self._held or not newest:
                break
        return [(start, self._measure(start)[0]) for start in self._held]

    def release(self) -> None:
        """Keep nothing that is deleted."""
        for file in self._held.values():
            file.close()
        self._held.clear()

    def close(self) -> None:
        """Close what is open."""
        if self._open is not None:
            self._open.close()
            self._open = None
            self._opened.pop(self, None)

    def _path(self, start: int, *, is_compressed: bool) -> str:
        return f"{self._folder}/{segment_name(self.stream, start, is_compressed=is_compressed)}"

    def _read_at(self, offset: int, length: int) -> bytes:
        starts = self.starts()
        at = bisect_right(starts, offset) - 1
        if at < 0:
            return b""
        start = starts[at]
        if at + 1 < len(starts):
            length = min(length, starts[at + 1] - offset)
        found = self._held.get(start) or self._open
        if found is None or found.start != start:
            found = self._switch_to(start)
        return found.read(offset, length) if found is not None else b""

    def _switch_to(self, start: int) -> Raw | Compressed | None:
        self.close()
        self._open = self._opened_at(start)
        if self._open is not None:
            self._opened[self] = None
            if len(self._opened) > MOST_OPEN:
                next(iter(self._opened)).close()
        return self._open

    def _opened_at(self, start: int) -> Raw | Compressed | None:
        """The segment, open; None when it is gone."""
        for is_compressed in (False, True):
            try:
                fd = os.open(self._path(start, is_compressed=is_compressed), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            return Compressed(fd, start, self._opened) if is_compressed else Raw(fd, start)
        return None

    def _measure(self, start: int) -> tuple[int, int]:
        """Bytes, uncompressed, and time of change in us."""
        held = self._held.get(start)
        try:
            place = held.fd if isinstance(held, Raw) else self._path(start, is_compressed=False)
            found = os.stat(place)
            return found.st_size, found.st_mtime_ns // 1000
        except FileNotFoundError:
            pass
        try:
            fd = os.open(self._path(start, is_compressed=True), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0, 0
        file = Compressed(fd, start, {})
        try:
            return file.size(), os.fstat(fd).st_mtime_ns // 1000
        finally:
            file.close()


class AllSegments:
    """The segments of all streams in the folder of logs; few enough files of them are open at once."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._found: dict[tuple[str, str], Segments] = {}
        self._opened: dict[Segments, None] = {}

    def of(self, instance: str, stream: str) -> Segments:
        """Those of one stream."""
        found = self._found.get((instance, stream))
        if found is None:
            found = Segments(f"{self._folder}/{instance}", stream, self._opened)
            self._found[instance, stream] = found
        return found

    def hold(self, streams: Iterable[tuple[str, str]]) -> list[list[tuple[int, int]]]:
        """Keep the newest segments of each of these, given by instance and name, until `release`.

        Gives what `Segments.hold` does, for each: what is the same as before is all that there is.
        """
        return [self.of(instance, name).hold() for instance, name in islice(streams, MOST_HELD)]

    def release(self) -> None:
        """Keep nothing that is deleted."""
        for segments in self._found.values():
            segments.release()

    def close(self) -> None:
        """Close all that is open."""
        for segments in list(self._opened):
            segments.close()

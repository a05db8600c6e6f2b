"""Many blocks of the index at once: their headers alone, without a look at what they hold.

An index of 100 MB is a million blocks, or blocks of a thousand streams; what is not asked for must cost next
to nothing. So headers are put into arrays; facts are found by their text; and a single stream in a tick by
its number. A header is believed when its mark and its position fit to what stands before it; the last block,
which may be torn, is checked in full.
"""

import json
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from droned.logs.format import FACT, HEADER_BYTES, MOST_PAYLOAD, PAIR_BYTES, TICK, blocks

_HEADER = struct.Struct("<2sBxIQQI4x")
_CHECK = struct.Struct("<I")
_CHECK_AT = 24
_PAIR = struct.Struct("<II")
_LENGTH = struct.Struct("<I")


class Fact(NamedTuple):
    """A fact of the index, and where it stands."""

    position: int
    time_us: int
    told: dict[str, Any]


class Blocks:
    """The whole blocks in `content`; `end` is where they end in it, `end_position` what they have told of."""

    __slots__ = ("content", "end", "end_position", "kinds", "payloads", "positions", "stops", "times")

    def __init__(self, content: bytes, position: int = 0) -> None:
        self.content = content
        self.kinds = bytearray()
        self.positions = array("q")
        self.times = array("q")
        self.payloads = array("q")
        self.stops = array("q")
        self.end = 0
        self.end_position = position
        self._walk()

    def __len__(self) -> int:
        return len(self.kinds)

    def _walk(self) -> None:
        unpack, size, content, at = _HEADER.unpack_from, len(self.content), self.content, 0
        add_kind, add_position, add_time = self.kinds.append, self.positions.append, self.times.append
        add_payload, add_stop = self.payloads.append, self.stops.append
        while (start := at + HEADER_BYTES) <= size:
            mark, kind, length, time_us, position, _check = unpack(content, at)
            at = start + length
            if mark != b"dL" or length > MOST_PAYLOAD or at > size:
                break
            add_kind(kind)
            add_position(position)
            add_time(time_us)
            add_payload(start)
            add_stop(at)
        while self.kinds and next(blocks(content, self.payloads[-1] - HEADER_BYTES), None) is None:
            self.kinds.pop()
            for column in (self.positions, self.times, self.payloads, self.stops):
                column.pop()
        if self.kinds:
            self.end = self.stops[-1]
            self.end_position = self.positions[-1] + self._bytes_of(len(self) - 1)

    def _bytes_of(self, number: int) -> int:
        if self.kinds[number] != TICK:
            return 0
        start, stop = self.payloads[number], self.stops[number]
        stop -= (stop - start) % PAIR_BYTES
        return sum(memoryview(self.content)[start:stop].cast("I")[1::2])

    def sound(self, first: int, last: int) -> int:
        """The first block from `first` on whose check fails; `last` where none before it does."""
        view, crc32, check_of = memoryview(self.content), zlib.crc32, _CHECK.unpack_from
        for number in range(first, last):
            start = self.payloads[number]
            told = b"%d,%d,%d" % (self.kinds[number], self.times[number], self.positions[number])
            check = crc32(view[start : self.stops[number]], crc32(told))
            if check != check_of(view, start - HEADER_BYTES + _CHECK_AT)[0]:
                return number
        return last

    def first_at(self, time_us: int) -> int | None:
        """The first block that is not older; clocks step back and some is told late: all are looked at."""
        return next((number for number, at in enumerate(self.times) if at >= time_us), None)

    def end_of(self, time_us: int) -> int:
        """The position behind the last block that is not newer, or that of the first."""
        for number in range(len(self) - 1, -1, -1):
            if self.times[number] <= time_us:
                return self.positions[number + 1] if number + 1 < len(self) else self.end_position
        return self.positions[0]

    def fact(self, number: int) -> Fact | None:
        """The fact of this block; None for a tick, and for what cannot be read."""
        if self.kinds[number] != FACT:
            return None
        try:
            told = json.loads(self.content[self.payloads[number] : self.stops[number]])
        except ValueError:
            return None
        if not isinstance(told, dict):
            return None
        return Fact(self.positions[number], self.times[number], told)

    def fact_numbers(self, first: int, last: int) -> Iterator[int]:
        """The blocks from `first` to before `last` that are facts."""
        at = self.kinds.find(FACT, first, last)
        while at >= 0:
            yield at
            at = self.kinds.find(FACT, at + 1, last)

    def pairs(self, number: int) -> Iterator[tuple[int, int]]:
        """Stream and length, of a tick."""
        start, stop = self.payloads[number], self.stops[number]
        stop -= (stop - start) % PAIR_BYTES
        return _PAIR.iter_unpack(memoryview(self.content)[start:stop])

    def pairs_of(self, stream: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """Block, position of the end, and length of each pair of one stream in these blocks."""
        sought, find, content = stream.to_bytes(4, "little"), self.content.find, self.content
        payloads, stops, kinds, end = self.payloads, self.stops, self.kinds, self.stops[last - 1]
        block, position, summed = -1, 0, 0
        at = find(sought, payloads[first], end)
        while at >= 0:
            number = bisect_right(stops, at, first, last)
            start = payloads[number]
            if at < start or (at - start) % PAIR_BYTES or at + PAIR_BYTES > end or kinds[number] != TICK:
                at = find(sought, at + 1, end)
                continue
            if number != block:
                block, position, summed = number, self.positions[number], start
            (length,) = _LENGTH.unpack_from(content, at + 4)
            if at > summed:
                position += sum(memoryview(content)[summed:at].cast("I")[1::2])
            position += length
            summed = at + PAIR_BYTES
            yield number, position, length
            at = find(sought, summed, end)


def facts_in(content: bytes) -> Iterator[Fact]:
    """All facts in `content` but those of streams, found by their text."""
    at = 0
    while (at := content.find(b'"fact":"', at)) >= 0:
        header = content.rfind(b"dL\x02", max(0, at - MOST_PAYLOAD), at)
        at += len(b'"fact":"')
        if header < 0 or content.startswith(b"streams", at):
            continue
        if header + HEADER_BYTES > len(content):
            return
        _mark, kind, length, time_us, position, check = _HEADER.unpack_from(content, header)
        stop = header + HEADER_BYTES + length
        if length > MOST_PAYLOAD or stop > len(content) or stop < at:
            continue
        payload = content[header + HEADER_BYTES : stop]
        if zlib.crc32(payload, zlib.crc32(b"%d,%d,%d" % (kind, time_us, position))) != check:
            continue
        told = json.loads(payload)
        if isinstance(told, dict):
            yield Fact(position, time_us, told)
        at = stop

"""One open segment, raw or compressed, read by the offsets of its stream.

A compressed one is a row of gzip members, whose headers say where the next one is. So it can be read from any
place; and where few streams are read, the members that come next are decompressed by threads of their own, as
one processor decompresses less than 200 MB/s. What others have compressed is read from its beginning.
"""

import os
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Sized

from droned.logs.format import MEMBER_HEADER_BYTES, gzip_member_sizes
from droned.logs.reader.inflate import Inflating, inflate

_INPUT_BYTES = 128 * 1024
_STEP = 1024 * 1024
_FEW = 4
"""Up to so many open files may each have whole members in memory."""
_AHEAD = 3


class Raw:
    """A raw segment."""

    __slots__ = ("fd", "start")

    def __init__(self, fd: int, start: int) -> None:
        self.fd = fd
        self.start = start

    def read(self, offset: int, length: int) -> bytes:
        """At most so many bytes; none where there are none."""
        return os.pread(self.fd, length, offset - self.start)

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)


class Compressed:
    """A compressed segment; `opened` is all that is open."""

    __slots__ = (
        "_at",
        "_inflate",
        "_input",
        "_member",
        "_offsets",
        "_opened",
        "_places",
        "_ready",
        "fd",
        "start",
    )

    def __init__(self, fd: int, start: int, opened: Sized) -> None:
        self.fd = fd
        self.start = start
        self._opened = opened
        self._offsets = array("q")
        self._places = array("q")
        self._ready: dict[int, Inflating] = {}
        self._member: tuple[int, bytes] = (-1, b"")
        self._look()
        self._restart(start, 0)

    def size(self) -> int:
        """Bytes of text."""
        if self._offsets:
            return self._offsets[-1] - self.start
        offset = self.start
        while data := self.read(offset, _STEP):
            offset += len(data)
        return offset - self.start

    def read(self, offset: int, length: int) -> bytes:
        """At most so many bytes; none at the end, and where it is damaged."""
        if self._offsets:
            member = bisect_right(self._offsets, offset) - 1
            if member == len(self._places):
                return b""
            if len(self._opened) <= _FEW:
                return self._of_member(member, offset, length)
            if not self._offsets[member] <= self._at <= offset:
                self._restart(self._offsets[member], self._places[member])
        elif self._at > offset:
            self._restart(self.start, 0)
        while self._at < offset:
            if not self._next(min(offset - self._at, _STEP)):
                return b""
        return self._next(length)

    def close(self) -> None:
        """Close it."""
        os.close(self.fd)

    def _look(self) -> None:
        """Find offset and place of each member, and the end of the last; none if not all are ours."""
        size, place, offset = os.fstat(self.fd).st_size, 0, self.start
        while place < size:
            sizes = gzip_member_sizes(os.pread(self.fd, MEMBER_HEADER_BYTES, place))
            if sizes is None:
                self._offsets, self._places = array("q"), array("q")
                return
            self._offsets.append(offset)
            self._places.append(place)
            place += sizes[0]
            offset += sizes[1]
        if self._offsets:
            self._offsets.append(offset)

    def _of_member(self, member: int, offset: int, length: int) -> bytes:
        if self._member[0] != member:
            found = self._ready.pop(member, None)
            is_next = member == self._member[0] + 1 > 0
            text = found.text() if found is not None else inflate(*self._content(member))
            self._member = (member, text)
            if is_next:
                for later in range(member + 1, min(member + 1 + _AHEAD, len(self._places))):
                    if later not in self._ready:
                        self._ready[later] = Inflating(*self._content(later))
            else:
                self._ready.clear()
        at = offset - self._offsets[member]
        text = self._member[1]
        return text if at == 0 and length >= len(text) else text[at : at + length]

    def _content(self, member: int) -> tuple[bytes, int]:
        place = self._places[member]
        end = self._places[member + 1] if member + 1 < len(self._places) else os.fstat(self.fd).st_size
        return os.pread(self.fd, end - place, place), self._offsets[member + 1] - self._offsets[member]

    def _restart(self, offset: int, place: int) -> None:
        os.lseek(self.fd, place, os.SEEK_SET)
        self._at = offset
        self._inflate = zlib.decompressobj(wbits=31)
        self._input = b""

    def _next(self, length: int) -> bytes:
        """At most `length` bytes more; empty at the end, and where it is damaged."""
        found = []
        while length:
            if self._inflate.eof:  # one more member may follow
                self._input = self._inflate.unused_data or os.read(self.fd, _INPUT_BYTES)
                if not self._input:
                    break
                self._inflate = zlib.decompressobj(wbits=31)
            elif not self._input:
                self._input = os.read(self.fd, _INPUT_BYTES)
            was_empty = not self._input
            try:
                data = self._inflate.decompress(self._input, length)
            except zlib.error:
                break
            self._input = self._inflate.unconsumed_tail
            if data:
                found.append(data)
                length -= len(data)
                self._at += len(data)
            elif was_empty and not self._inflate.eof:
                break
        return found[0] if len(found) == 1 else b"".join(found)

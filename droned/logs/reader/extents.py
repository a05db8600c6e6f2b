"""Where the bytes of a stream lie in the order of capture: arithmetic on offsets, positions and times."""

from array import array
from bisect import bisect_left


class Extents:
    """Some bytes of one stream, one after the other, with the position of each.

    Extent number i ends at `offsets[i]` of its stream and at `positions[i]` of the host; it begins where the
    one before it ends, and was captured at `times[i]`, in microseconds since the epoch.
    """

    __slots__ = ("offsets", "positions", "start", "times")

    def __init__(self, start: int) -> None:
        self.start = start
        self.offsets = array("q")
        self.positions = array("q")
        self.times = array("q")

    @property
    def end(self) -> int:
        """The offset behind the last byte."""
        return self.offsets[-1] if self.offsets else self.start

    def add(self, length: int, position: int, time_us: int) -> None:
        """So many bytes more, which end at this position."""
        self.offsets.append(self.end + length)
        self.positions.append(position)
        self.times.append(time_us)

    def offset_at(self, position: int) -> int:
        """How far the stream had come at this position."""
        at = bisect_left(self.positions, position)
        if at == len(self.positions):
            return self.end
        before = self.offsets[at - 1] if at else self.start
        return max(before, self.offsets[at] - (self.positions[at] - position))

    def place_of(self, offset: int) -> tuple[int, int]:
        """Position and time of what ends at this offset, which is above `start` and up to `end`."""
        at = bisect_left(self.offsets, offset)
        return self.positions[at] - (self.offsets[at] - offset), self.times[at]

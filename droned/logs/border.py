"""Where a segment ends: at the end of a line, once it has its size.

A segment takes its `max_size`, then the rest of the line it is in. A line that
goes on for a quarter of that size beyond it is cut.
"""

import os
from collections.abc import Callable

from droned.logs import kernel
from droned.logs.streams import Pipe, Stream

_SCRATCH_BYTES = 64 * 1024
_LONGEST_SHARE = 4


def is_too_long(room: int, max_size: int) -> bool:
    """Whether a segment with so much room left (below 0: it has more than its size) ends within a line."""
    return -room >= max_size // _LONGEST_SHARE


def cut(content: bytes, room: int, max_size: int) -> tuple[int, bool]:
    """How many bytes of `content`, which comes next, go to this segment, and whether it ends there.

    `room` is what is left of its size, 0 or less where it waits for the end of a line.
    """
    if len(content) < room:
        return len(content), False
    newline = content.find(b"\n", max(room - 1, 0))
    longest = room + max_size // _LONGEST_SHARE
    if newline < 0 or newline >= longest:
        return min(len(content), longest), len(content) >= longest
    return newline + 1, True


class Border:
    """Ends segments by `rotate`, exactly, with a scratch pipe to look at what comes next."""

    __slots__ = ("_rotate", "_scratch")

    def __init__(self, rotate: Callable[[Stream], object]) -> None:
        self._rotate = rotate
        self._scratch: tuple[int, int] | None = None

    def is_reached(self, stream: Stream) -> bool:
        """Whether the open segment, which has its size, ends here."""
        return is_too_long(stream.room, stream.policy.max_size) or stream.ends_line()

    def finish_line(self, pipe: Pipe) -> int:
        """Move the rest of the line. Its end is looked at first: it is still in the pipe. 0 at its end."""
        if self._scratch is None:
            self._scratch = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stream = pipe.stream
        seen = kernel.tee(pipe.fd, self._scratch[1], _SCRATCH_BYTES)
        if not seen:
            return 0
        content = b""
        while len(content) < seen:  # a program may have made packets of what it writes: one comes at a time
            content += os.read(self._scratch[0], seen - len(content))
        count, _ = cut(content, min(stream.room, 0), stream.policy.max_size)
        return os.splice(pipe.fd, stream.fd, max(count, 1), None, None, os.SPLICE_F_NONBLOCK)

    def read_and_write(self, pipe: Pipe, most: int) -> int:
        """Without splice: read, and write up to the end of the segment; the rest waits with the pipe."""
        stream = pipe.stream
        content = pipe.left
        if not content:
            if not kernel.bytes_in(pipe.fd):
                return 0 if kernel.at_end(pipe.fd) else -1
            content = pipe.left = os.read(pipe.fd, min(most, _SCRATCH_BYTES))
        count, _ = cut(content, stream.room, stream.policy.max_size)
        count = os.write(stream.fd, content[: max(count, 1)])
        pipe.left = content[count:]
        return count

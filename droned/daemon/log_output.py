"""Where the bytes of droned's own log go, without ever waiting: an open descriptor, or a pipe of its own.

A reader that does not read costs lines, not the daemon. Lines are whole: the
rest of one that was begun is written before anything else, and what comes
meanwhile is dropped and counted.
"""

from __future__ import annotations

import fcntl
import os
import select
from collections.abc import Callable

PIECE_BYTES = 4096
"""PIPE_BUF: a pipe that takes anything takes so much without waiting."""
NEWLINE = 0x0A
PIPE_BYTES = 256 * 1024
"""What the pipe to `droned-logs` holds while nobody takes it, if the host lets us."""


class Output:
    """Writes to one descriptor, which may be a file, a pipe or a terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._rest = b""
        self._lost = 0

    def write(self, content: bytes, lost_line: Callable[[int], bytes]) -> None:
        """Write whole lines; those that cannot be written now are dropped, which `lost_line` tells later."""
        if self._rest:
            self._rest = self._rest[self._written(self._rest) :]
            if self._rest:
                self._lost += 1
                return
        if self._lost:
            content = lost_line(self._lost) + content
        done = self._written(content)
        if done == len(content):
            self._lost = 0
            return
        self._lost += 1
        if done and content[done - 1] != NEWLINE:
            self._rest = content[done : content.index(NEWLINE, done) + 1]

    def _written(self, content: bytes) -> int:
        """How many bytes could be written without waiting; all of them when their reader is gone."""
        at = 0
        try:
            while at < len(content) and self._poll.poll(0):
                at += os.write(self._descriptor, content[at : at + PIECE_BYTES])
        except BlockingIOError:
            return at
        except (OSError, ValueError):
            return len(content)  # the daemon's life does not hang on it
        return at


class OwnPipe(Output):
    """A pipe of which both ends are kept: it outlives whoever else has its read end."""

    def __init__(self) -> None:
        """Raises OSError when there are no descriptors for it."""
        self.reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        try:
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            pass  # it holds as much as the host gives any pipe
        super().__init__(self._writer)

    def close(self) -> None:
        """Close both ends: whoever reads the other copy finds the end of it."""
        os.close(self._writer)
        os.close(self.reader)

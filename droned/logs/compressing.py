"""Compresses segments in a process of its own, at the lowest priority.

A thread would share Python's lock with the mover, and hold it while others
have the processor. The process gets paths, and is done when it exits. What it
writes replaces the raw segment only when it is whole and on disk.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable

from droned.logs import log
from droned.logs.loop import READ, Loop
from droned.logs.streams import Segment

REST_S = 60.0
"""How long a segment is left alone: what a flood soon deletes is not worth it."""
_AT_ONCE = 16
_AGAIN_S = 60.0
_KILL = 9
_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compressor.py")


class Compressing:
    """The segments that wait, and the process that has some of them. `is_done` gets segment and size."""

    __slots__ = ("_is_done", "_loop", "_pid", "_pidfd", "_waiting", "_work")

    def __init__(self, loop: Loop, is_done: Callable[[Segment, int], None]) -> None:
        self._loop = loop
        self._is_done = is_done
        self._waiting: deque[Segment] = deque()
        self._work: list[Segment] = []
        self._pid = 0
        self._pidfd = -1

    def add(self, segment: Segment) -> None:
        """Compress this one once it has rested."""
        self._waiting.append(segment)
        if not self._work and len(self._waiting) == 1:
            self._wait_for(segment)

    def close(self) -> None:
        """End the process, if there is one; what it has begun is begun again some time."""
        if self._pid:
            os.kill(self._pid, _KILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _wait_for(self, segment: Segment) -> None:
        rest_s = max(0.0, segment.done_at + REST_S - time.time())
        self._loop.alarm("compress", time.monotonic() + min(rest_s, REST_S), self._begin)

    def _begin(self) -> None:
        """Start the process with those that have rested."""
        if self._work:
            return
        now = time.time()
        waiting = self._waiting
        while waiting and len(self._work) < _AT_ONCE:
            segment = waiting[0]
            if not segment.is_gone and segment.stream.policy.compress:
                if 0.0 <= now - segment.done_at < REST_S:  # one of the future: the clock was set back
                    break
                self._work.append(segment)
            waiting.popleft()
        if not self._work:
            if waiting:
                self._wait_for(waiting[0])
            return
        command = [sys.executable, "-I", "-S", "-E", _PROGRAM, str(os.getpid())]
        command += [segment.path for segment in self._work]
        try:
            self._pid = os.posix_spawn(sys.executable, command, {})
            self._pidfd = os.pidfd_open(self._pid)
        except OSError as error:
            log.say(f"cannot compress: {error.strerror}")
            self._fail()
            return
        self._loop.watch(self._pidfd, READ, self._ended)

    def _fail(self) -> None:
        if self._pid:
            os.kill(self._pid, _KILL)
            os.waitpid(self._pid, 0)
            self._pid = 0
        self._waiting.extendleft(reversed(self._work))
        self._work.clear()
        self._loop.alarm("compress", time.monotonic() + _AGAIN_S, self._begin)

    def _ended(self, events: int) -> None:
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        work, self._work = self._work, []
        for segment in work:
            self._look(segment)
        if status:
            log.say(f"the compressor ended with {status}")
        if self._waiting:
            if status:
                self._loop.alarm("compress", time.monotonic() + _AGAIN_S, self._begin)
            else:
                self._wait_for(self._waiting[0])

    def _look(self, segment: Segment) -> None:
        """What became of a segment. One that was not done stays as it is, until we are started again."""
        path = f"{segment.path}.gz"
        try:
            size = os.stat(path).st_size
            if segment.is_gone:
                os.unlink(path)
                return
        except FileNotFoundError:
            return
        self._is_done(segment, size)

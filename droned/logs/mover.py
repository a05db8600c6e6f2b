"""Moves what programs write: pipe to file, in bounded passes, fair among streams.

* Nothing is looked at before something has come: a wait without end on one
  epoll that holds all pipes.
* After that the pipes are asked again a tick later, not for each line: 20 ms,
  more where hundreds of streams are busy. Once a tick the index is written.
* A pipe that gave `_HOT_BYTES` at once is busy: it is taken from between the
  ticks as well, after a pause in which it fills where it was not full.
* A pass takes at most `_PIPE_BYTES` from a pipe and `_PASS_BYTES` in all; who
  was left out is first in the next one.

Bytes leave a pipe only into a file (`splice`), so that a kill at any moment
loses none of them. Where the kernel has no splice they are read and written.
"""

import errno
import fcntl
import os
import resource
import select
import time

from droned.logs import kernel, log
from droned.logs.border import Border
from droned.logs.full import Full
from droned.logs.index import Index
from droned.logs.loop import READ, Loop
from droned.logs.shelf import Shelf
from droned.logs.streams import Pipe, Stream

_PIPE_BYTES = 64 * 1024
_ALONE_BYTES = 256 * 1024
_PASS_BYTES = 4 * 1024 * 1024
_PASS_S = 0.05
"""A pass that makes hundreds of files takes a while: others have their turn in between."""
_HOT_BYTES = 16 * 1024
_FEW_HOT = 8
_ENLARGE_AFTER = 64
_PAUSE_S = 0.00015
_MOST_IDLE = 3
"""So often a busy pipe may give little, after pauses that double, before it is left to the tick."""
_MOST_EVENTS = 4096
_TICKS = ((400, 0.2), (100, 0.05), (0, 0.02))
"""Streams that gave something, and after how many seconds they are asked again."""
_RECENT = 64
_SPARED = 32
"""So many of the highest descriptors no segment has: pipes come in packets, and clients, at any time."""
_FLAGS = getattr(os, "SPLICE_F_NONBLOCK", 0) | getattr(os, "SPLICE_F_MOVE", 0)


class Mover:
    """All pipes. `ended` are those that came to their end since somebody looked."""

    __slots__ = (
        "_asked_at",
        "_border",
        "_epoll",
        "_first_spared",
        "_full",
        "_has_splice",
        "_hot",
        "_index",
        "_is_armed",
        "_loop",
        "_moved",
        "_rest",
        "_shelf",
        "ended",
        "next_at",
        "pipes",
    )

    def __init__(self, loop: Loop, index: Index, shelf: Shelf) -> None:
        self._loop = loop
        self._index = index
        self._shelf = shelf
        self._has_splice = kernel.has_splice()
        self._border = Border(self.rotate)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._first_spared = limit - min(_SPARED, limit // 4)
        self._full = Full(loop, index, shelf, self.put_away, self._take_back)
        self._epoll = select.epoll()
        self.pipes: dict[int, Pipe] = {}
        self._rest: list[Pipe] = []
        self._hot: list[Pipe] = []
        self._asked_at = 0.0
        self.next_at: float | None = None
        """When there is something to do (monotonic); None: not before the pipes say so."""
        self._moved = False
        self.ended: list[Pipe] = []
        self._is_armed = True
        loop.watch(self._epoll.fileno(), READ, self._woken)

    # ---- pipes

    def add(self, pipe: Pipe) -> None:
        """Capture from this pipe, whose descriptor is ours from here on."""
        if pipe.fd >= self._first_spared:
            self._move_down(pipe)
        self.pipes[pipe.fd] = pipe
        pipe.stream.pipes.append(pipe)
        if pipe.stream.trouble and pipe.stream.policy.when_full == "block":
            pipe.is_away = True
        else:
            self._epoll.register(pipe.fd, READ)

    def _move_down(self, pipe: Pipe) -> None:
        """Give a pipe the place of segments: the next packet of pipes finds room then."""
        self.close_files()
        lower = fcntl.fcntl(pipe.fd, fcntl.F_DUPFD_CLOEXEC, 0)
        os.close(pipe.fd)
        pipe.fd = lower

    def end(self, pipe: Pipe) -> None:
        """Capture from it no more, and close it."""
        if self.pipes.pop(pipe.fd, None) is None:
            return
        self.put_away(pipe)
        os.close(pipe.fd)
        pipe.fd = -1  # who has it in a list finds nothing there
        pipe.stream.pipes.remove(pipe)

    def put_away(self, pipe: Pipe) -> None:
        """Do not look at a pipe for a while."""
        if not pipe.is_away:
            pipe.is_away = True
            self._epoll.unregister(pipe.fd)

    def _take_back(self, stream: Stream) -> None:
        for pipe in stream.pipes:
            if pipe.is_away:
                pipe.is_away = False
                self._epoll.register(pipe.fd, READ)

    def _woken(self, events: int) -> None:
        self.next_at = 0.0

    def soon(self) -> None:
        """Have a turn as soon as the tick allows it: there is something to write to the index."""
        self.next_at = 0.0

    # ---- passes

    def turn(self) -> bool:
        """Make a pass, and write the index if it is time; True when there is something new to tell."""
        now = time.monotonic()
        if now < self._asked_at and self._hot and not self._rest:
            self._drain_hot(self._asked_at)
            self.next_at = 0.0
            return False
        if now < self._asked_at and not self._rest:
            self.next_at = self._asked_at
            return False
        if self._rest:
            ready, self._rest = self._rest, []
        else:
            self._hot = []
            pipes = self.pipes
            ready = [pipes[fd] for fd, _ in self._epoll.poll(0, _MOST_EVENTS)]
        self._pass(ready)
        return self._after_pass(now, len(ready))

    def _after_pass(self, now: float, count: int) -> bool:
        moved, self._moved = self._moved, False
        is_new = moved or self._index.is_behind
        if is_new:
            self._index.flush(now)
        if count:
            for least, tick_s in _TICKS:
                if count >= least:
                    self._asked_at = now + tick_s
                    break
            self.next_at = 0.0 if self._hot or self._rest else self._asked_at
            self._arm(False)
        elif self._index.is_behind:
            self._asked_at = 0.0
            self.next_at = now + 1.0
            self._arm(True)
        else:
            self._asked_at = 0.0
            self.next_at = None
            self._arm(True)
        if moved:
            self._shelf.check(time.time())
        return is_new or bool(self.ended)

    def _arm(self, is_armed: bool) -> None:
        """Whether the loop is to wake as soon as a pipe has something."""
        if is_armed != self._is_armed:
            self._is_armed = is_armed
            self._loop.watch(self._epoll.fileno(), READ if is_armed else 0, self._woken)

    def _pass(self, ready: list[Pipe]) -> None:
        """Take from each of these once, as far as bytes and time go."""
        left = _PASS_BYTES
        until = time.monotonic() + _PASS_S
        for number, pipe in enumerate(ready):
            if not number & 15 and number and time.monotonic() > until:
                self._rest = ready[number:]
                break
            count = self.take(pipe, _PIPE_BYTES)
            if count >= _HOT_BYTES:
                self._hot.append(pipe)
                left -= count
                if left <= 0:
                    self._rest = ready[number + 1 :]
                    break

    def _drain_hot(self, until: float) -> None:
        """Take from what is busy until it is not, the tick is due, or a pass is full."""
        left = _PASS_BYTES
        hot = self._hot
        few = len(hot) <= _FEW_HOT
        while hot and left > 0 and time.monotonic() < until:
            most = _ALONE_BYTES if len(hot) == 1 else _PIPE_BYTES
            still: list[Pipe] = []
            idle = _MOST_IDLE
            for number, pipe in enumerate(hot):
                if left <= 0:
                    still = hot[number:] + still
                    break
                count = self.take(pipe, most)
                left -= count
                if count >= _HOT_BYTES:
                    pipe.idle = 0
                    pipe.hot += 1
                    if few and pipe.hot == _ENLARGE_AFTER:
                        kernel.enlarge(pipe.fd, _ALONE_BYTES)
                    if count >= _PIPE_BYTES:
                        idle = -1
                else:
                    pipe.idle += 1
                    if pipe.idle > _MOST_IDLE:
                        pipe.idle = 0
                        continue
                still.append(pipe)
                idle = min(idle, pipe.idle)
            hot = still
            if hot and idle >= 0:
                time.sleep(_PAUSE_S * (1 << idle))
        self._hot = hot

    # ---- one pipe

    def take(self, pipe: Pipe, most: int) -> int:
        """Move up to `most` bytes; 0 where there were none. Ends the pipe where it is at its end."""
        count = self._take_once(pipe, most)
        taken = count
        while count and taken < most and pipe.stream.room <= 0:  # it stopped at the border of a segment
            count = self._take_once(pipe, most - taken)
            taken += count
        return taken

    def _take_once(self, pipe: Pipe, most: int) -> int:
        """Move what goes to one segment."""
        stream = pipe.stream
        room = stream.room
        if pipe.fd < 0:
            return 0
        try:
            if room > 0 and stream.fd >= 0 and self._has_splice and not stream.trouble:
                count = os.splice(pipe.fd, stream.fd, most if most < room else room, None, None, _FLAGS)
            else:
                count = self._take_with_care(pipe, most)
        except BlockingIOError:
            return 0
        except OSError as error:
            count = self._failed(pipe, most, error)
        if count > 0:
            self._count(stream, count)
            return count
        if count == 0:
            self._at_end(pipe)
        return 0

    def _count(self, stream: Stream, count: int) -> None:
        stream.offset += count
        stream.room -= count
        self._index.note(stream.number, count)
        self._shelf.active_bytes += count
        self._moved = True
        recent = stream.instance.recent
        if recent is not None:
            recent.append(count * stream.sign)
            if len(recent) > _RECENT:
                del recent[: _RECENT // 2]

    def _take_with_care(self, pipe: Pipe, most: int) -> int:
        """The same where it is not plain; -1 where nothing was moved though the pipe is not at its end."""
        stream = pipe.stream
        if stream.trouble:
            return self._full.take(pipe, most)
        if stream.fd < 0:
            if not pipe.left and not kernel.bytes_in(pipe.fd):
                return 0 if kernel.at_end(pipe.fd) else -1  # no file is made for a pipe that has nothing
            self._open(stream)
        if stream.room <= 0 and self._border.is_reached(stream):
            self.rotate(stream)
            self._open(stream)
        if not self._has_splice:
            return self._border.read_and_write(pipe, most)
        if stream.room <= 0:
            return self._border.finish_line(pipe)
        return os.splice(pipe.fd, stream.fd, min(most, stream.room), None, None, _FLAGS)

    def _failed(self, pipe: Pipe, most: int, error: OSError) -> int:
        """What to do when bytes could not be moved: as `_take_with_care` says."""
        stream = pipe.stream
        if error.errno == errno.EINVAL and self._has_splice:
            log.say(f"cannot splice to {stream.path}: reading and writing from here on")
            self._has_splice = False
            return -1
        if error.errno in (errno.ENFILE, errno.EMFILE):
            self.close_files()
            return -1
        return self._full.begin(pipe, error)

    def _at_end(self, pipe: Pipe) -> None:
        self.end(pipe)
        self.ended.append(pipe)

    def _open(self, stream: Stream) -> None:
        """Open the segment of a stream; all others are closed where there is no room for it."""
        stream.open(time.time())
        if stream.fd >= self._first_spared:
            self.close_files()
            stream.open(time.time())

    def came(self, fd: int) -> None:
        """A pipe has come as this descriptor: the next ones would be lost on their way without room."""
        if fd >= self._first_spared:
            self.close_files()

    def close_files(self) -> None:
        """Close all segments: descriptors have run out. Those that are written to are opened again."""
        for stream in self._shelf.streams.values():
            stream.close()

    def rotate(self, stream: Stream) -> bool:
        """Be done with the segment of a stream; False where there was nothing in it."""
        now = time.time()
        segment = stream.begin_segment(now)
        if segment is None:
            return False
        self._shelf.done(segment, now)
        return True

    def drain(self, pipe: Pipe) -> None:
        """Take what is in a pipe now, and not what comes meanwhile."""
        left = kernel.bytes_in(pipe.fd) + len(pipe.left)
        while left > 0 and pipe.fd >= 0 and not pipe.is_away:
            count = self.take(pipe, min(left, _PIPE_BYTES))
            if not count and not pipe.stream.trouble:
                return
            left -= count or _PIPE_BYTES

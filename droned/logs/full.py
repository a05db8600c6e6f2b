"""When the disk is full, or fails: what a stream does until there is room again.

`drop`: what is done with goes, the oldest of who takes most first; once there is
none, what the program writes is thrown away, counted, and told in its place.
`block`: the pipe is left alone, so that its program waits. Either way it is
looked at again every second.
"""

import errno
import os
import time
from collections.abc import Callable

from droned.logs import kernel, log
from droned.logs.index import Index
from droned.logs.loop import Loop
from droned.logs.shelf import Shelf
from droned.logs.streams import Pipe, Stream

_LOOK_EVERY_S = 1.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Full:
    """The streams that cannot be written. `put_away` leaves a pipe alone, `take_back` does not."""

    __slots__ = ("_index", "_loop", "_put_away", "_shelf", "_streams", "_take_back")

    def __init__(
        self,
        loop: Loop,
        index: Index,
        shelf: Shelf,
        put_away: Callable[[Pipe], None],
        take_back: Callable[[Stream], None],
    ) -> None:
        self._loop = loop
        self._index = index
        self._shelf = shelf
        self._put_away = put_away
        self._take_back = take_back
        self._streams: list[Stream] = []

    def begin(self, pipe: Pipe, error: OSError) -> int:
        """Bytes of this pipe could not be written; -1, as nothing was moved."""
        stream = pipe.stream
        is_full = error.errno in _FULL
        if is_full and stream.policy.when_full == "drop" and self._shelf.make_room():
            return -1
        reason = "disk full" if is_full else (error.strerror or str(error))
        if not self._streams:
            log.say(f"cannot write {stream.path}: {error.strerror}")
        stream.trouble = reason
        stream.close()
        self._streams.append(stream)
        self._loop.alarm("full", time.monotonic() + _LOOK_EVERY_S, self._look)
        if stream.policy.when_full == "block":
            self._put_away(pipe)
        return -1

    def take(self, pipe: Pipe, most: int) -> int:
        """What to do with a pipe of a stream that cannot be written: 0 at its end, else -1."""
        stream = pipe.stream
        if stream.policy.when_full == "block":
            self._put_away(pipe)
            return -1
        if pipe.left:
            stream.lose(len(pipe.left))
            pipe.left = b""
        if not kernel.bytes_in(pipe.fd):
            return 0 if kernel.at_end(pipe.fd) else -1
        count = len(os.read(pipe.fd, most))
        stream.lose(count)
        return -1 if count else 0

    def _look(self) -> None:
        """Try again."""
        streams, self._streams = self._streams, []
        for stream in streams:
            try:
                stream.open(time.time())
                if stream.lost:
                    self._tell(stream)
                stream.trouble = ""
            except OSError:
                stream.close()
                self._streams.append(stream)
                if stream.policy.when_full == "block":
                    continue
            self._take_back(stream)
        if self._streams:
            self._loop.alarm("full", time.monotonic() + _LOOK_EVERY_S, self._look)

    def _tell(self, stream: Stream) -> None:
        """Tell in the stream and in the index what was lost. Raises OSError while there is no room."""
        why = "was full" if stream.trouble == "disk full" else "failed"
        text = f"[droned: {stream.lost} bytes lost, the disk {why}]\n".encode("ascii")
        if not stream.ends_line():
            text = b"\n" + text
        size = stream.offset - stream.segment
        try:
            count = os.write(stream.fd, text)
        except OSError:
            count = 0
        if count != len(text):
            os.ftruncate(stream.fd, size)
            raise OSError(errno.ENOSPC, "No space left on device")
        self._index.fact(
            {
                "fact": "lost",
                "instance": stream.instance.name,
                "stream": stream.name,
                "offset": stream.offset,
                "bytes": stream.lost,
                "reason": stream.trouble,
            }
        )
        stream.lost = 0
        stream.offset += count
        stream.room -= count
        self._index.note(stream.number, count)
        self._shelf.active_bytes += count

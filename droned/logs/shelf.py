"""All segments of this host that are done with: counted, deleted in time, handed to the compressor.

Folders are read once, when we are started, and the sizes and times of what was
found there are looked at in slices afterwards: from then on all is in memory.
"""

import _thread
import os
import time
from collections.abc import Callable, Iterable

from droned.logs import copies, log, retention
from droned.logs.index import Index
from droned.logs.streams import Segment, Stream, delete_beside
from droned.logs.told import first_streams

_AGE_EVERY_S = 60.0
_SLICE = 200
_CUTS_A_LOOK = 20
_EASE_SHARE = 256
"""Above the cap this share of it goes as well, so that streams need not be sorted each tick."""
_SMALL_BYTES = 1024 * 1024
_MOST_ASIDE = 4
_STACK_BYTES = 256 * 1024
_aside: list[str] = []


class Shelf:
    """What lies here. `streams` are all of them, by number; `rotate` begins a segment of one anew."""

    __slots__ = (
        "_compress",
        "_index",
        "_is_shrinking",
        "_look_at",
        "_rotate",
        "_to_look_at",
        "_unseen",
        "active_bytes",
        "copies_bytes",
        "kept_bytes",
        "streams",
        "total_bytes",
    )

    def __init__(
        self,
        streams: dict[int, Stream],
        index: Index,
        rotate: Callable[[Stream], object],
        compress: Callable[[Segment], None],
    ) -> None:
        self.streams = streams
        self._index = index
        self._rotate = rotate
        self._compress = compress
        self.total_bytes: int | None = None
        self.kept_bytes = 0
        self.active_bytes = 0
        self.copies_bytes = 0
        self._to_look_at: list[Stream] = []
        self._unseen: list[Segment] = []
        self._look_at = 0.0
        self._is_shrinking = False

    @property
    def bytes(self) -> int:
        """All that lies here, the index and lines in other formats with it."""
        return self.kept_bytes + self.active_bytes + self.copies_bytes + self._index.size_bytes

    # ---- what was there before us

    def found(self, segments: Iterable[Segment]) -> None:
        """Segments of before, whose size and time nobody has looked at."""
        self._unseen += segments

    def found_stream(self, stream: Stream) -> None:
        """A stream of before, beside which there may be its lines in other formats."""
        self._to_look_at.append(stream)

    def look(self) -> bool:
        """Look at some of them; True when there are more."""
        self._look_at_some()
        for _ in range(min(_SLICE, len(self._unseen))):
            segment = self._unseen.pop()
            if segment.is_gone:
                continue
            try:
                status = os.stat(segment.path)
            except OSError:
                segment.stream.kept.remove(segment)
                segment.is_gone = True
                continue
            segment.bytes = status.st_size
            segment.done_at = status.st_mtime
            self.kept_bytes += segment.bytes
            segment.stream.kept_bytes += segment.bytes
            self._take_in(segment)
        return bool(self._unseen or self._to_look_at)

    # ---- lines in other formats

    def look_at_copies(self, stream: Stream) -> None:
        """See how much the lines of a stream in other formats take."""
        size = copies.size_of(stream)
        self.copies_bytes += size - stream.copies_bytes
        stream.copies_bytes = size

    def look_at_all_copies(self) -> None:
        """The same for all streams that have them: a slice at once, the others when something grows."""
        if not self._to_look_at:
            self._to_look_at = [stream for stream in self.streams.values() if stream.has_copies]
        self._look_at_some()

    def _look_at_some(self) -> None:
        for _ in range(min(_SLICE, len(self._to_look_at))):
            self.look_at_copies(self._to_look_at.pop())

    # ---- what happens

    def done(self, segment: Segment, now: float) -> None:
        """A segment was rotated away."""
        self.active_bytes -= segment.bytes
        self.kept_bytes += segment.bytes
        self._take_in(segment)
        for old in retention.surplus(segment.stream, now):
            self.delete(old)
        if self.total_bytes is not None and self.bytes > self.total_bytes:
            self._shrink(self.total_bytes)

    def _take_in(self, segment: Segment) -> None:
        if segment.stream.policy.compress and not segment.is_compressed:
            self._compress(segment)

    def check(self, now: float) -> None:
        """After something grew: the cap at once, ages and what others have written every minute."""
        if self._to_look_at:
            self._look_at_some()
        if self.total_bytes is not None and self.bytes > self.total_bytes:
            self._shrink(self.total_bytes)
        mono = time.monotonic()
        if mono >= self._look_at:
            self._look_at = mono + _AGE_EVERY_S
            self.look_at_all_copies()
            self.check_ages(now)
            self.check_index()

    def _shrink(self, most: int) -> None:
        if self._is_shrinking:
            return  # what is rotated here comes back by `done`
        self._is_shrinking = True
        try:
            while self._unseen:
                self.look()
            payers, cuts = retention.Payers(self.streams.values()), 0
            ease = most // _EASE_SHARE
            while self.bytes > most - ease and (stream := payers.first()) is not None:
                if self.delete_oldest_of(stream):
                    payers.paid()
                elif self.bytes <= most:
                    return
                elif payers.may_cut(stream, most):
                    if cuts == _CUTS_A_LOOK:
                        return
                    cuts += 1
                    self._rotate(stream)
                    payers.paid()
                else:
                    payers.spare()
        finally:
            self._is_shrinking = False

    def check_ages(self, now: float) -> None:
        """Delete what is too old, and begin anew what was begun so long ago, or was deleted by others."""
        for stream in list(self.streams.values()):
            if stream.is_deleted() and self._rotate(stream) and stream.kept:
                self.delete(stream.kept[-1])
            if stream.kept:
                for segment in retention.surplus(stream, now):
                    self.delete(segment)
            age = stream.policy.max_age_s
            is_old = age is not None and 0.0 < stream.segment_at < now - age
            if stream.segment < stream.offset and (is_old or (stream.is_forgotten and not stream.pipes)):
                self._rotate(stream)

    def check_index(self) -> None:
        """Delete files of the index that tell of nothing that is still there, or that are too many."""
        index = self._index
        most = retention.index_limit(self.total_bytes)
        streams = list(self.streams.values())
        while len(index.files) > 1:
            if most is None or index.size_bytes <= most:
                try:
                    bounds = first_streams(index.folder, index.files[1][0])
                except (OSError, ValueError) as error:
                    log.say(f"cannot look for what the index need not tell: {error}")
                    return
                if retention.needs(bounds, streams):
                    return
            index.drop_oldest()

    def make_room(self) -> bool:
        """The disk is full: delete something of who takes most; False when nothing may go."""
        while self._unseen:
            self.look()
        payers = retention.Payers(self.streams.values())
        while (stream := payers.first()) is not None:
            if self.delete_oldest_of(stream, at_once=True):
                return True
            payers.spare()
        return False

    def delete_oldest_of(self, stream: Stream, *, at_once: bool = False) -> bool:
        """Delete its oldest file in another format, where these take more, or segment; False: it has none."""
        is_copy = stream.copies_bytes > stream.kept_bytes + stream.active_bytes or not stream.kept
        if is_copy and stream.has_copies and self._delete_copy(stream):
            return True
        if not stream.kept:
            return False
        self.delete(stream.kept[0], at_once=at_once)
        return True

    def _delete_copy(self, stream: Stream) -> bool:
        copy = copies.oldest_of(stream)
        if copy is None or not _unlink(copy[1]):
            return False
        size = min(copy[0], stream.copies_bytes)
        stream.copies_bytes -= size
        self.copies_bytes -= size
        return True

    def delete(self, segment: Segment, *, at_once: bool = False) -> int:
        """Delete a segment; the bytes that gave on disk. A large one goes a little later, or `at_once`."""
        stream = segment.stream
        stream.kept.remove(segment)
        segment.is_gone = True
        size = max(segment.bytes, 0)
        if size < _SMALL_BYTES or at_once or not _unlink_aside(segment.path):
            _unlink(segment.path)
        self.kept_bytes -= size
        stream.kept_bytes -= size
        if stream.is_forgotten and not stream.kept and stream.segment == stream.offset and not stream.pipes:
            self._leave(stream)
        return size

    def _leave(self, stream: Stream) -> None:
        """Nothing of a stream that was forgotten is there any more: its names go as well."""
        instance = stream.instance
        delete_beside(stream)
        self.look_at_copies(stream)
        for folder in (instance.folder, os.path.dirname(instance.folder)):
            try:
                os.rmdir(folder)
            except OSError:
                return

    def compressed(self, segment: Segment, size: int) -> None:
        """A segment was compressed to so many bytes."""
        self.kept_bytes += size - segment.bytes
        segment.stream.kept_bytes += size - segment.bytes
        segment.bytes = size
        segment.is_compressed = True


def _unlink(path: str) -> bool:
    """Delete a file; False where it cannot be."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.say(f"cannot delete {path}: {error.strerror}")
        return False
    return True


def _unlink_aside(path: str) -> bool:
    """Delete a large file in a thread: that takes tens of milliseconds, all of them in the kernel."""
    if len(_aside) >= _MOST_ASIDE:
        return False
    _aside.append(path)
    try:
        _thread.stack_size(_STACK_BYTES)
        _thread.start_new_thread(_unlink_and_leave, (path,))
    except (RuntimeError, ValueError):
        _aside.remove(path)
        return False
    return True


def _unlink_and_leave(path: str) -> None:
    _unlink(path)
    _aside.remove(path)

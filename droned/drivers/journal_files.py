"""The journal's files: opened, appended to, snapshotted, thinned out and closed.

Rules of this module:

* Plain blocking functions, called from a pool of one thread, so that nothing
  here is ever done twice at once. They get and give values.
* A file gets its name when all of it is on the disk: written under another
  name, synced, renamed, and the folder synced. So a segment always stands in
  the folder with its first batch whole.
* After a failed write or sync a segment is given up, never synced again: the
  kernel has dropped what it could not write and would say that all is well.
  The batch goes into a new segment, from memory. If that fails too, nothing
  was acknowledged and the caller keeps the batch.
* Space is preallocated ahead, and a reserve is given up when a new segment
  finds the disk full: the next records fit. It is made with the first segment:
  a journal that is opened and never written to takes no room.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from droned.drivers.journal_folder import FilesLost, IFolder
from droned.errors import CannotRun, JournalDamaged
from droned.journal.format import HEADER_BYTES, KIND_END, frame_at, pack, used_bytes
from droned.journal.reading import hole
from droned.journal.recovery import Opened, Recovery, Repair
from droned.journal.segments import (
    LARGEST_SEGMENT,
    RESERVE,
    RESERVE_BYTES,
    SEGMENT_BYTES,
    UNFINISHED,
    Kept,
    SegmentHead,
    allocation,
    aside_name,
    pack_head,
    read_head,
    segment_name,
    segments_in,
    segments_to_delete,
    snapshot_name,
    snapshots_in,
    snapshots_to_delete,
)

LARGEST_SNAPSHOT = 1 << 30
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_LINES_AT_ONCE = 200
_PAUSE_S = 0.001


class Batch(Struct, frozen=True, kw_only=True):
    """Records to be brought to disk together."""

    first: int
    last: int
    previous: bytes
    """The digest of the record before the first."""
    content: bytes
    """Their frames."""
    at: float
    """Wall seconds."""


class _Segment(Struct, kw_only=True):
    """The segment that is written just now."""

    name: str
    descriptor: int
    used: int
    allocated: int


class JournalFiles:
    """The files of one journal, in one folder."""

    def __init__(self, folder: IFolder, release: str) -> None:
        """`release` is this droned's version, written into every file."""
        self._folder = folder
        self._release = release
        self._segment: _Segment | None = None
        self._to_trim: tuple[str, int] | None = None
        self._heads: dict[int, float] = {}

    def open(
        self, *, now: float, remembered: tuple[int, str] | None, progress: Callable[[str], None]
    ) -> Opened:
        """Read the journal, set aside what is damaged, and say what holds.

        `remembered` is the head that was last acknowledged, if anybody knows;
        `progress` is called with a few words for each file. Raises CannotRun
        when the folder cannot be used or another release wrote what is in it.
        """
        try:
            self._folder.make()
            names = self._folder.names()
        except OSError as error:
            raise CannotRun(f"cannot use the journal's folder: {error}") from error
        for name in names:
            if name.endswith(UNFINISHED):
                self._remove(name)
        recovery = Recovery(release=self._release, now=now, remembered=remembered)
        for version in reversed(snapshots_in(names)):
            progress(f"reading the snapshot of version {version}")
            if recovery.take_snapshot(version, self._content(snapshot_name(version), LARGEST_SNAPSHOT)):
                break
        firsts: list[int | None] = [*recovery.segments_needed(segments_in(names)), None]
        for first, following in pairwise(firsts):
            assert first is not None
            progress(f"reading the journal from version {first} on")
            content = self._content(segment_name(first), LARGEST_SEGMENT)
            recovery.take_segment(first, content, following)
            self._to_trim = (segment_name(first), used_bytes(content or b""))
        opened = recovery.finish()
        try:
            for repair in opened.repairs:
                self._repair(repair, repair.name in names, now)
            if opened.repairs:
                self._to_trim = None
                self._folder.sync_names()
        except OSError as error:
            said = f"what is damaged could not be set aside: {error}"
            opened = replace(opened, damage=(*opened.damage, said))
        return opened

    def write(self, batch: Batch) -> None:
        """Bring a batch to the disk; when this returns, it is there.

        Raises OSError when neither the segment of now nor a new one took it,
        and FilesLost when files or folder are gone: then `begin_again`.
        """
        segment = self._segment
        if segment is not None and segment.used < SEGMENT_BYTES:
            try:
                self._append(segment, batch)
            except FilesLost:
                self._give_up()
                raise
            except OSError:
                self._give_up()
                self._begin(batch)
        elif segment is not None:
            try:
                self._begin(batch)
            except OSError:
                # No room for a new one: this one is full, but may have room ahead.
                try:
                    self._append(segment, batch)
                except OSError:
                    self._give_up()
                    raise
        else:
            self._begin(batch)

    def write_snapshot(self, version: int, lines: Iterable[bytes]) -> None:
        """Put the snapshot at `version` into the folder; pauses between its lines for other threads.

        Raises OSError.
        """
        parts: list[bytes] = []
        for line in lines:
            parts.append(line)
            if len(parts) % _LINES_AT_ONCE == 0:
                time.sleep(_PAUSE_S)
        self._put(snapshot_name(version), b"".join(parts))

    def begin_again(self, version: int, lines: Iterable[bytes], missing: int, now: float) -> None:
        """Go on from a snapshot at `version`, without the records from `missing` on.

        For when records were given up or files were lost: the snapshot holds
        what they did. Raises OSError.
        """
        self._give_up()
        self._folder.make()
        self.write_snapshot(version, lines)
        if missing <= version:
            self._put(segment_name(missing), hole(missing, bytes(16), self._release, now))
        self._make_reserve()

    def thin_out(self, keep_s: float, now: float) -> None:
        """Delete the segments and snapshots that retention lets go. Raises OSError."""
        names = self._folder.names()
        firsts, snapshots = segments_in(names), snapshots_in(names)
        kept = [Kept(first=first, began=self._began(first, now)) for first in firsts]
        gone = segments_to_delete(kept, snapshots, keep_s, now)
        for first in gone:
            self._remove(segment_name(first))
            self._heads.pop(first, None)
        for version in snapshots_to_delete(firsts[len(gone) :], snapshots):
            self._remove(snapshot_name(version))
        self._folder.sync_names()

    def close(self, last: int, digest: bytes) -> None:
        """Close the segment of now in order: its end frame says that `last` is the last record.

        Raises OSError.
        """
        segment = self._segment
        if segment is None:
            return
        self._segment = None
        try:
            self._folder.write(segment.descriptor, pack(KIND_END, last, digest, b""), segment.used)
            self._folder.sync(segment.descriptor)
            self._folder.truncate(segment.descriptor, segment.used + HEADER_BYTES)
            self._folder.sync(segment.descriptor)
        finally:
            self._folder.close(segment.descriptor)

    def _append(self, segment: _Segment, batch: Batch) -> None:
        end = segment.used + len(batch.content)
        wanted = allocation(end)
        if wanted > segment.allocated:
            try:
                self._folder.allocate(segment.descriptor, wanted)
                segment.allocated = wanted
            except OSError as error:
                if error.errno not in _DISK_FULL or end > segment.allocated:
                    raise
        self._folder.write(segment.descriptor, batch.content, segment.used)
        self._folder.sync(segment.descriptor)
        self._folder.check(segment.descriptor)
        segment.used = end

    def _begin(self, batch: Batch) -> None:
        self._folder.check(None)
        try:
            segment = self._new_segment(batch)
        except OSError as error:
            if error.errno not in _DISK_FULL or RESERVE not in self._folder.names():
                raise
            self._folder.remove(RESERVE)
            segment = self._new_segment(batch)
        before, self._segment = self._segment, segment
        self._heads[batch.first] = batch.at
        if before is not None:
            self._to_trim = (before.name, before.used)
            self._folder.close(before.descriptor)
        self._trim()
        self._make_reserve()

    def _new_segment(self, batch: Batch) -> _Segment:
        name = segment_name(batch.first)
        head = SegmentHead(first=batch.first, previous=batch.previous, release=self._release, began=batch.at)
        content = pack_head(head) + batch.content
        allocated = allocation(len(content))
        descriptor = self._put_open(name, content, allocated)
        try:
            self._folder.check(descriptor)
        except OSError:
            self._folder.close(descriptor)
            raise
        return _Segment(name=name, descriptor=descriptor, used=len(content), allocated=allocated)

    def _put(self, name: str, content: bytes) -> None:
        self._folder.close(self._put_open(name, content, 0))

    def _put_open(self, name: str, content: bytes, allocated: int) -> int:
        """Put a whole file into the folder and leave it open; all of it is on disk, or nothing."""
        unfinished = name + UNFINISHED
        descriptor = self._folder.create(unfinished)
        try:
            if allocated:
                self._folder.allocate(descriptor, allocated)
            self._folder.write(descriptor, content, 0)
            self._folder.sync(descriptor)
            self._folder.rename(unfinished, name)
            self._folder.sync_names()
        except OSError:
            self._folder.close(descriptor)
            self._remove(unfinished)
            raise
        return descriptor

    def _give_up(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            try:
                self._folder.close(segment.descriptor)
            except OSError:
                pass  # close tells of a failed write once more; we know

    def _trim(self) -> None:
        """Give back the space ahead of the segment before, whose end the new one vouches for."""
        if self._to_trim is not None:
            name, used = self._to_trim
            self._to_trim = None
            try:
                self._folder.trim(name, used)
            except OSError:
                pass  # a megabyte of zeros stays

    def _make_reserve(self) -> None:
        try:
            if RESERVE not in self._folder.names():
                descriptor = self._folder.create(RESERVE + UNFINISHED)
                try:
                    self._folder.allocate(descriptor, RESERVE_BYTES)
                finally:
                    self._folder.close(descriptor)
                self._folder.rename(RESERVE + UNFINISHED, RESERVE)
        except OSError:
            self._remove(RESERVE + UNFINISHED)

    def _repair(self, repair: Repair, is_there: bool, now: float) -> None:
        if is_there:
            self._folder.keep_as(repair.name, aside_name(repair.name, "damaged", now))
        if repair.content is not None:
            self._put(repair.name, repair.content)
        elif is_there:
            self._remove(repair.name)

    def _content(self, name: str, limit: int) -> bytes | None:
        try:
            return self._folder.read(name, limit)
        except OSError:
            return None

    def _began(self, first: int, now: float) -> float:
        """When a segment was begun; now, and so never too old, if it does not say."""
        if first not in self._heads:
            frame = frame_at(self._content(segment_name(first), LARGEST_SEGMENT) or b"", 0)
            try:
                self._heads[first] = read_head(frame)[0].began if frame else now
            except JournalDamaged:
                self._heads[first] = now
        return self._heads[first]

    def _remove(self, name: str) -> None:
        try:
            self._folder.remove(name)
        except OSError:
            pass  # it is gone, or it will be there the next time

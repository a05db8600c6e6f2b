"""What one segment holds: its records in order, and what is wrong with it.

Rules of this module:

* A segment that is not the last one owes every version up to the next one's
  first; bytes behind those no longer count, whatever they are.
* In the last segment, bad bytes are a *cut* when they look like a write that
  a crash cut short, nothing readable after them begins a batch (a batch begins
  only after the one before it was synced), and the caller does not remember
  more. Then nothing behind them was ever acknowledged. Anything else that is
  not as it was written is damage.
* The last segment ends in its end frame or in zeros up to a whole step; a
  crash leaves no other size, a shortened file does.
"""

from __future__ import annotations

from msgspec import Struct

from droned.errors import JournalDamaged
from droned.journal.format import (
    GENESIS,
    KIND_BATCH,
    KIND_END,
    KIND_HEAD,
    KIND_RECORD,
    STEP_BYTES,
    Frame,
    Readable,
    digest_of,
    is_torn,
    pack,
    read_frames,
)
from droned.journal.segments import FORMAT, SegmentHead, pack_head, read_head


class Reading(Struct, frozen=True, kw_only=True):
    """One segment, read."""

    first: int
    """As the file's name says it."""
    head: SegmentHead | None
    """None when it cannot be read."""
    format: int
    frames: tuple[Frame, ...]
    """The records that count, versions ascending."""
    digests: tuple[bytes, ...]
    """Of each of `frames`."""
    faults: tuple[str, ...]
    """What is damaged, in words."""
    cut: str | None
    """What was cut off as unfinished, in words."""
    is_sealed: bool
    """Whether it was closed in order."""

    @property
    def last(self) -> int | None:
        """The version of the last record that counts."""
        return self.frames[-1].version if self.frames else None

    def is_known_format(self) -> bool:
        """Whether this release can read it."""
        return self.head is None or self.format == FORMAT

    def unsynced(self) -> tuple[Frame, ...]:
        """The records that may never have been synced.

        Those are the last batch of a segment that was not closed; the first
        batch was synced before the segment got its name.
        """
        if not self.is_sealed:
            for index in range(len(self.frames) - 1, 0, -1):
                if self.frames[index].kind == KIND_BATCH:
                    return self.frames[index:]
        return ()


def read_segment(first: int, content: bytes, following: int | None, remembered: int | None = None) -> Reading:
    """Read the segment named for `first`; `following` is the next one's first version, None for the last.

    `remembered` is a version that is known to have been on disk. Never raises,
    whatever the bytes.
    """
    readable = read_frames(content)
    faults: list[str] = []
    head, number = _head(first, readable)
    frames, bad = _counting(readable, following)
    if head is None and not (bad and bad[0][0] == 0):
        faults.append("its head cannot be read")
    cut = None
    if following is None and bad:
        start, stop = bad[0]
        kept = _before_cut(content, readable, start, stop, remembered)
        if kept is not None:
            cut = f"what was being written behind version {kept[-1].version} was never finished"
            frames, bad = kept, []
    for start, stop in bad:
        faults.append(f"bytes {start} to {stop} are not as they were written")
    frames, digests, broken = _chain(frames, head)
    if head is None or not head.has_holes:
        faults.extend(broken)
    end = readable.frames[-1] if readable.frames and readable.frames[-1].kind == KIND_END else None
    is_sealed = end is not None and cut is None
    if following is None or (head is not None and head.has_holes):
        faults.extend(_ending(content, end, frames, digests, head))
    return Reading(
        first=first,
        head=head,
        format=number,
        frames=tuple(frames),
        digests=tuple(digests),
        faults=tuple(faults),
        cut=cut,
        is_sealed=is_sealed,
    )


def repaired(reading: Reading, content: bytes, release: str, now: float) -> bytes:
    """The bytes of a segment that holds every record of the damaged one that could be read."""
    head = reading.head
    frames = reading.frames
    parts = [
        pack_head(
            SegmentHead(
                first=reading.first,
                previous=head.previous if head else frames[0].previous if frames else GENESIS,
                release=head.release if head else release,
                began=head.began if head else now,
                has_holes=True,
            )
        )
    ]
    parts.extend(content[frame.start : frame.end] for frame in frames)
    digest = reading.digests[-1] if frames else GENESIS
    parts.append(pack(KIND_END, reading.last or reading.first, digest, b""))
    return b"".join(parts)


def hole(first: int, previous: bytes, release: str, now: float) -> bytes:
    """The bytes of a segment without records: it says that versions from `first` on are missing."""
    head = SegmentHead(first=first, previous=previous, release=release, began=now, has_holes=True)
    return pack_head(head) + pack(KIND_END, first, previous, b"")


def _head(first: int, readable: Readable) -> tuple[SegmentHead | None, int]:
    frame = readable.frames[0] if readable.frames else None
    if frame is None or frame.kind != KIND_HEAD or frame.start != 0 or frame.version != first:
        return None, FORMAT
    try:
        return read_head(frame)
    except JournalDamaged:
        return None, FORMAT


def _counting(readable: Readable, following: int | None) -> tuple[list[Frame], list[tuple[int, int]]]:
    """The record frames that count, and the bad ranges that stand before the last that was owed."""
    frames = [frame for frame in readable.frames if frame.is_record]
    if following is None:
        return frames, list(readable.bad)
    frames = [frame for frame in frames if frame.version < following]
    if frames and frames[-1].version == following - 1:
        return frames, [span for span in readable.bad if span[0] < frames[-1].start]
    return frames, list(readable.bad)


def _before_cut(
    content: bytes, readable: Readable, start: int, stop: int, remembered: int | None
) -> list[Frame] | None:
    """The records before the first bad bytes, if all behind them was one unfinished batch; else None."""
    kept = [frame for frame in readable.frames if frame.is_record and frame.start < start]
    behind = [frame for frame in readable.frames if frame.start > start]
    if (
        not kept  # a segment comes into its folder with its first batch whole
        or any(frame.kind != KIND_RECORD for frame in behind)
        or len(content) % STEP_BYTES
        or (remembered is not None and remembered > kept[-1].version)
        or not is_torn(content, start, stop)
    ):
        return None
    return kept


def _chain(frames: list[Frame], head: SegmentHead | None) -> tuple[list[Frame], list[bytes], list[str]]:
    """The frames in ascending order with their digests, and where one does not follow the other."""
    kept: list[Frame] = []
    digests: list[bytes] = []
    broken: list[str] = []
    version, digest = (head.first - 1, head.previous) if head else (None, None)
    for frame in frames:
        if version is not None:
            if frame.version <= version:
                broken.append(f"version {frame.version} stands behind version {version}")
                continue
            if frame.version != version + 1:
                broken.append(f"versions {version + 1} to {frame.version - 1} are missing")
            elif frame.previous != digest:
                broken.append(f"version {frame.version} does not follow the version {version} before it")
        version, digest = frame.version, digest_of(frame.previous, frame.version, frame.payload)
        kept.append(frame)
        digests.append(digest)
    return kept, digests, broken


def _ending(
    content: bytes,
    end: Frame | None,
    frames: list[Frame],
    digests: list[bytes],
    head: SegmentHead | None,
) -> list[str]:
    """What is wrong with the way in which the segment ends."""
    has_holes = head is not None and head.has_holes
    if end is None:
        return ["its end is missing"] if has_holes or len(content) % STEP_BYTES or not content else []
    if has_holes or head is None or not frames:
        return []
    if end.version != frames[-1].version or end.previous != digests[-1]:
        return ["its end does not belong to its last record"]
    return []

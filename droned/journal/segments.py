"""Names and sizes: which files there are, when a new one begins, which may go.

    journal-00000000000000000001.seg      records from version 1 on
    snapshot-00000000000000088214.json    the state at version 88214
    reserve                               space that is given up when the disk is full
    *.damaged-<time>, *.cut-<time>        set aside for a person; never deleted by us
    *.new                                 unfinished; deleted when the journal is opened

Where two segments hold the same version, the later one's word counts: it was
written because the earlier one could no longer be trusted to hold it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from msgspec import Struct

from droned.errors import JournalDamaged
from droned.journal.codec import decode, encode
from droned.journal.format import KIND_HEAD, STEP_BYTES, Frame, pack

FORMAT = 1

SEGMENT_BYTES = 16 << 20
"""A segment that reached this size is followed by a new one."""
AHEAD_BYTES = 1 << 20
"""So much space is preallocated behind the last record, while the disk has it."""
RESERVE_BYTES = 3 << 20
"""Given up when a new segment finds the disk full; enough for it and its first MiB of records."""
LARGEST_SEGMENT = 256 << 20
"""A larger file is none of ours: a segment is 16 MiB and one batch at most."""

SNAPSHOT_RECORDS = 5_000
"""Records after which a snapshot is due; they replay in 0.1 s."""
SNAPSHOT_BYTES = 8 << 20
"""Bytes of records after which a snapshot is due, for records that are large."""

RESERVE = "reserve"
UNFINISHED = ".new"
LARGEST_VERSION = (1 << 63) - 1
_SEGMENT = re.compile(r"journal-(\d{20})\.seg", re.ASCII)
_SNAPSHOT = re.compile(r"snapshot-(\d{20})\.json", re.ASCII)


class SegmentHead(Struct, frozen=True, kw_only=True):
    """What a segment's first frame says."""

    first: int
    """The first version that the segment may hold."""
    previous: bytes
    """The digest of the record before it."""
    release: str
    """The droned that wrote it."""
    began: float
    """When it was begun: everything in the segment before it is older."""
    has_holes: bool = False
    """Versions may be missing before, inside and right after it; they were told when it was written."""


class Kept(Struct, frozen=True, kw_only=True):
    """A segment as retention sees it."""

    first: int
    began: float


def segment_name(first: int) -> str:
    """The file name of the segment whose first version is `first`."""
    return f"journal-{first:020d}.seg"


def snapshot_name(version: int) -> str:
    """The file name of the snapshot at `version`."""
    return f"snapshot-{version:020d}.json"


def aside_name(name: str, why: str, at: float) -> str:
    """The name under which a file is set aside; `why` is `damaged` or `cut`, `at` is wall seconds."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{name}.{why}-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z"


def segments_in(names: Iterable[str]) -> list[int]:
    """The first versions of all segments among the file names, ascending."""
    return _numbers(names, _SEGMENT)


def snapshots_in(names: Iterable[str]) -> list[int]:
    """The versions of all snapshots among the file names, ascending."""
    return _numbers(names, _SNAPSHOT)


def pack_head(head: SegmentHead) -> bytes:
    """The bytes that a segment begins with."""
    said = {"format": FORMAT, "release": head.release, "began": head.began, "has_holes": head.has_holes}
    return pack(KIND_HEAD, head.first, head.previous, encode(said))


def read_head(frame: Frame) -> tuple[SegmentHead, int]:
    """What a head frame says, and the number of its format.

    Raises JournalDamaged when it does not have the shape of a head.
    """
    said: Any = decode(frame.payload)
    try:
        head = SegmentHead(
            first=frame.version,
            previous=frame.previous,
            release=str(said["release"]),
            began=float(said["began"]),
            has_holes=bool(said["has_holes"]),
        )
        return head, int(said["format"])
    except (KeyError, TypeError, ValueError) as error:
        raise JournalDamaged(f"cannot read the head of a segment: {error}") from error


def allocation(used: int) -> int:
    """The size that an open segment with `used` bytes of frames is to have: whole steps, enough ahead."""
    return -(-(used + AHEAD_BYTES) // STEP_BYTES) * STEP_BYTES


def is_snapshot_due(records: int, size_bytes: int) -> bool:
    """Whether so much was written since the last snapshot that the next one is due."""
    return records >= SNAPSHOT_RECORDS or size_bytes >= SNAPSHOT_BYTES


def segments_to_delete(
    segments: Sequence[Kept], snapshots: Sequence[int], keep_s: float, now: float
) -> list[int]:
    """First versions of the segments that may go, oldest first.

    A segment goes when all that it holds is older than `keep_s` and the second
    newest of the `snapshots` (versions) already has it; so the newest two each
    find every record after them. Both sequences ascend.
    """
    if len(snapshots) < 2:
        return []
    covered = sorted(snapshots)[-2]
    gone = []
    for segment, following in pairwise(segments):
        # Everything in `segment` is older than the moment at which the next one was begun.
        if following.began >= now - keep_s or following.first - 1 > covered:
            break
        gone.append(segment.first)
    return gone


def snapshots_to_delete(segments: Sequence[int], snapshots: Sequence[int]) -> list[int]:
    """Versions of the snapshots that may go, given the first versions of the segments that stay.

    The newest two stay. Of the others those stay that shorten the way to a past
    version: for each segment the last snapshot before its first record.
    """
    ordered = sorted(snapshots)
    stay = set(ordered[-2:])
    for first in segments:
        before = [version for version in ordered if version < first]
        if before:
            stay.add(before[-1])
    return [version for version in ordered if version not in stay]


def _numbers(names: Iterable[str], pattern: re.Pattern[str]) -> list[int]:
    found = []
    for name in names:
        match = pattern.fullmatch(name)
        if match is not None and int(match[1]) <= LARGEST_VERSION:
            found.append(int(match[1]))
    return sorted(found)

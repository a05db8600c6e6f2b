"""Reading the journal's past: records of a range, the latest ones, and the check of all that is old.

Everything here is a generator that does a few milliseconds of work at a time:
it shares one thread with the writing, which comes in between. It never
changes a file. A file that is deleted or unreadable meanwhile is passed over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from droned.drivers.journal_folder import IFolder
from droned.errors import JournalDamaged
from droned.journal.codec import decode_commit
from droned.journal.format import Frame, digest_of, each_frame
from droned.journal.segments import LARGEST_SEGMENT, SegmentHead, read_head, segment_name, segments_in

Slice = list[dict[str, Any]]
"""Some decoded records, versions ascending; possibly none."""

_SLICE_BYTES = 128 << 10


class JournalHistory:
    """The past of the journal in one folder."""

    def __init__(self, folder: IFolder) -> None:
        self._folder = folder

    def between(self, since: int, until: int | None, containing: bytes = b"") -> Iterator[Slice]:
        """The records with `since` < version <= `until`, oldest first.

        With `containing` only those whose JSON has these bytes, such as
        `"web/0"` with its quotes: that is looked for before anything is decoded.
        """
        for first, following in self._segments():
            if (following is not None and following - 1 <= since) or (until is not None and first > until):
                continue
            for frames in self._frames(first, following):
                yield _decoded(
                    frame
                    for frame in frames
                    if frame.version > since
                    and (until is None or frame.version <= until)
                    and containing in frame.payload
                )
                if until is not None and frames and frames[-1].version >= until:
                    break

    def latest(self, count: int, containing: bytes = b"") -> Iterator[Slice]:
        """The newest `count` records that contain these bytes: newest slice first, each slice ascending."""
        for first, following in reversed(self._segments()):
            found: deque[Frame] = deque(maxlen=count)
            for frames in self._frames(first, following):
                found.extend(frame for frame in frames if frame.is_record and containing in frame.payload)
                yield []
            count -= len(found)
            yield _decoded(iter(found))
            if count <= 0:
                return

    def verify(self, until: int | None = None) -> Iterator[str | None]:
        """Check the chain up to version `until`: None for each sound slice, a sentence for each damage."""
        version: int | None = None
        digest = b""
        for first, following in self._segments():
            if until is not None and first > until:
                return
            name = segment_name(first)
            head: SegmentHead | None = None
            for frames in self._frames(first, following):
                for frame in frames:
                    if frame.start == 0:
                        head = _head(frame, first)
                        if version is None and head is not None and not head.has_holes:
                            version, digest = first - 1, frame.previous
                    if not frame.is_record:
                        continue
                    if until is not None and frame.version > until:
                        return
                    if version is not None and not (head is not None and head.has_holes):
                        if frame.version != version + 1:
                            yield f"{name}: version {frame.version} follows version {version}"
                        elif frame.previous != digest:
                            yield f"{name}: version {frame.version} does not belong to the one before it"
                    version = frame.version
                    digest = digest_of(frame.previous, version, frame.payload)
                yield None
            if head is None:
                yield f"{name}: its head cannot be read"
            if head is None or head.has_holes:
                version = None
            elif following is not None and version != following - 1:
                yield f"{name}: it ends at version {version}, the next one begins at {following}"
                version = None

    def _segments(self) -> list[tuple[int, int | None]]:
        """(first version, first version of the next one or None) of each segment, oldest first."""
        try:
            firsts: list[int | None] = [*segments_in(self._folder.names()), None]
        except OSError:
            return []
        return [(first, following) for first, following in pairwise(firsts) if first is not None]

    def _frames(self, first: int, following: int | None) -> Iterator[list[Frame]]:
        """The frames that count in one segment, some at a time."""
        try:
            content = self._folder.read(segment_name(first), LARGEST_SEGMENT)
        except OSError:
            return
        frames: list[Frame] = []
        size = 0
        for frame in each_frame(content):
            if following is not None and frame.is_record and frame.version >= following:
                break
            frames.append(frame)
            size += len(frame.payload)
            if size >= _SLICE_BYTES:
                yield frames
                frames, size = [], 0
        yield frames


def _head(frame: Frame, first: int) -> SegmentHead | None:
    try:
        return read_head(frame)[0] if frame.version == first else None
    except JournalDamaged:
        return None


def _decoded(frames: Iterator[Frame]) -> Slice:
    found = []
    for frame in frames:
        if frame.is_record:
            try:
                found.append(decode_commit(frame.payload))
            except JournalDamaged:
                continue
    return found

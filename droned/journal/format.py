"""Frames: how a record becomes bytes, and how bytes of any kind are read back.

A segment is one head frame, record frames, and, once it was closed in order,
one end frame. Behind the last frame of an open segment stand only zeros, up to
a multiple of `STEP_BYTES`. A frame is 36 bytes and its payload:

    magic 3 | kind 1 | length 4 | version 8 | previous 16 | crc 4 | payload

All numbers are little-endian. `previous` is the digest of the record before,
so that records form a chain: digest = first 16 bytes of SHA-256 over
`previous`, version and payload. `crc` is CRC-32 over everything before it and
the payload. Kinds:

    S  head: version is the first that the segment may hold, payload is JSON
    B  a record that begins a batch: everything before it was synced
    R  any other record
    E  end: version and `previous` are those of the last record

CRC-32 of zlib and not CRC-32C: both find every error of up to 32 bits in a
row, and only the first is fast (2.7 GB/s) without a further dependency; what
is beyond it (bytes moved, records dropped) is the chain's to find.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = b"\xd7\x4a\x4e"
KIND_HEAD, KIND_BATCH, KIND_RECORD, KIND_END = b"S", b"B", b"R", b"E"

STEP_BYTES = 1 << 20
"""An open segment's size is a multiple of this; it is preallocated at least so far ahead."""
LONGEST_PAYLOAD = 64 << 20
"""A longer length is damage, not a length; a commit that needs more is covered by a snapshot."""
SECTOR_BYTES = 512
"""The unit that a power cut leaves whole or not written at all."""

GENESIS = bytes(16)
"""The digest before the first record."""

_HEADER = struct.Struct("<3scIQ16sI")
HEADER_BYTES = _HEADER.size
_COVERED = struct.Struct("<3scIQ16s")
_CRC = struct.Struct("<I")
_VERSION = struct.Struct("<Q")
_START = re.compile(re.escape(MAGIC) + b"[SBRE]", re.DOTALL)
_ZEROS = bytes(1 << 16)
_SHORT_BYTES = 2
"""So many zeros at a frame's end are a write cut short; one may be a changed byte."""

_RESYNC_BUDGET = 256 << 20
"""Bytes that may be checksummed in search of the next good frame: any file opens in bounded time."""
_CANDIDATE_COST = 1024
"""What a place that looks like a frame costs of that budget beyond its bytes."""


class Frame(NamedTuple):
    """A frame whose checksum holds; a named tuple because a replay makes one for each record."""

    kind: bytes
    version: int
    previous: bytes
    payload: bytes
    start: int
    """Where in the file its first byte stands."""

    @property
    def end(self) -> int:
        """Where in the file the next frame starts."""
        return self.start + HEADER_BYTES + len(self.payload)

    @property
    def is_record(self) -> bool:
        """Whether it carries a record, rather than a segment's head or end."""
        return self.kind in (KIND_BATCH, KIND_RECORD)


class Readable(NamedTuple):
    """All frames of a segment whose checksum holds, and where bytes stand that belong to none."""

    frames: tuple[Frame, ...]
    bad: tuple[tuple[int, int], ...]
    """Ranges of bytes, first and one past the last, that are no frame; zeros at the end are not bad."""


def digest_of(previous: bytes, version: int, payload: bytes) -> bytes:
    """The digest that the next record carries as `previous`, 16 bytes."""
    return hashlib.sha256(previous + _VERSION.pack(version) + payload).digest()[:16]


def pack(kind: bytes, version: int, previous: bytes, payload: bytes) -> bytes:
    """One frame as bytes."""
    covered = _COVERED.pack(MAGIC, kind, len(payload), version, previous)
    return b"".join((covered, _CRC.pack(zlib.crc32(payload, zlib.crc32(covered))), payload))


def frame_at(content: bytes, start: int) -> Frame | None:
    """The frame that starts at `start`, or None when no frame stands there whole."""
    header_end = start + HEADER_BYTES
    if start < 0 or header_end > len(content):
        return None
    magic, kind, length, version, previous, crc = _HEADER.unpack_from(content, start)
    if magic != MAGIC or length > LONGEST_PAYLOAD or header_end + length > len(content):
        return None
    payload = content[header_end : header_end + length]
    if zlib.crc32(payload, zlib.crc32(content[start : header_end - 4])) != crc:
        return None
    return Frame(kind, version, previous, payload, start)


def each_frame(content: bytes) -> Iterator[Frame]:
    """Every frame that can be read in a segment's whole content, whatever that is, in its order.

    Where a frame is bad, the next good one is searched for. Never raises.
    """
    used = used_bytes(content)
    budget = _RESYNC_BUDGET
    at = 0
    while at < used:
        frame = frame_at(content, at)
        if frame is None:
            frame, budget = _next_frame(content, at + 1, budget)
            if frame is None:
                return
        yield frame
        at = frame.end


def read_frames(content: bytes) -> Readable:
    """All of `each_frame`, and what stands between them. Never raises."""
    frames = tuple(each_frame(content))
    bad = []
    end = 0
    for frame in frames:
        if frame.start > end:
            bad.append((end, frame.start))
        end = frame.end
    used = used_bytes(content)
    if used > end:
        bad.append((end, used))
    return Readable(frames, tuple(bad))


def used_bytes(content: bytes) -> int:
    """One past the last byte that is not zero."""
    end = len(content)
    # Most of a tail is zeros, and blocks are compared far faster than bytes are stripped.
    while end >= len(_ZEROS) and content.startswith(_ZEROS, end - len(_ZEROS)):
        end -= len(_ZEROS)
    return len(content[:end].rstrip(b"\0"))


def is_torn(content: bytes, start: int, stop: int) -> bool:
    """Whether the bad bytes from `start` to `stop` look like a write that was cut short.

    Space is preallocated as zeros. A crash leaves at least one sector of them,
    from the frame's beginning or the sector's, to that sector's end; a write
    that failed half-way leaves them from there to the frame's end. A byte that
    changed later leaves neither (no payload ends in a zero), and is damage.
    """
    if _has_wrong_length_only(content, start, stop):
        return False
    reach = max(stop, start + HEADER_BYTES)
    if start + HEADER_BYTES <= len(content):
        magic, _kind, length, *_rest = _HEADER.unpack_from(content, start)
        if magic == MAGIC and length <= LONGEST_PAYLOAD:
            reach = max(reach, start + HEADER_BYTES + length)
    if reach - stop >= _SHORT_BYTES and reach <= len(content) and not content[stop:reach].strip(b"\0"):
        return True
    at = start
    while at < min(reach, len(content)):
        sector_end = (at // SECTOR_BYTES + 1) * SECTOR_BYTES
        part = content[at:sector_end]
        if len(part) == sector_end - at and not part.strip(b"\0"):
            return True
        at = sector_end
    return False


def _has_wrong_length_only(content: bytes, start: int, stop: int) -> bool:
    """Whether the frame at `start` is good once its length is the one that its bytes show."""
    length = stop - start - HEADER_BYTES
    if length < 0 or start + HEADER_BYTES > len(content):
        return False
    _magic, kind, _length, version, previous, _crc = _HEADER.unpack_from(content, start)
    return pack(kind, version, previous, content[start + HEADER_BYTES : stop]) == (
        content[start : start + 4] + struct.pack("<I", length) + content[start + 8 : stop]
    )


def _next_frame(content: bytes, start: int, budget: int) -> tuple[Frame | None, int]:
    """The first good frame at or after `start` within `budget` bytes of checksums, and what is left of it."""
    for found in _START.finditer(content, start):
        frame = frame_at(content, found.start())
        if frame is not None:
            return frame, budget
        if found.start() + 8 <= len(content):
            (length,) = struct.unpack_from("<I", content, found.start() + 4)
            if length <= LONGEST_PAYLOAD and found.start() + HEADER_BYTES + length <= len(content):
                budget -= length
        budget -= _CANDIDATE_COST
        if budget <= 0:
            break
    return None, budget

"""How captured output lies on disk, and what is said over the socket of `droned-logs`.

Under the folder `logs` of the state folder::

    .lock                                     held (flock) by the one process that captures
    .socket                                   its SOCK_SEQPACKET socket: for daemon, readers, a new guardian
    .settings                                 the last ones it was given, for the next one
    .index/00000000000000000000.idx           what was captured when; named by its first position
    web/0/stdout-0000000000000000.log         a segment: named by the offset of its first byte in the stream
    web/0/stdout-0000000052428800.log.gz      the same, compressed once it is done with (see `gzip_member`)
    web/0/stdout.log                          link to the newest segment, for `tail -F`
    web/0/stdout.jsonl, stdout.stamped.log    the same lines in another format, if asked for (older: .1, .2)
    web/0/last-3.json                         the last lines of run 3, which failed

A *stream* is what one instance writes to one descriptor, over all of its runs:
`stdout`, `stderr`, or `output` where both are one. An *offset* counts the bytes
of a stream since it exists, a *position* the bytes of all streams of this host
in the order in which they were captured. So a position tells how far a reader
has come in every stream at once; that of a line is where the line ends.

The index is a row of blocks: a header, its payload, the next header. Bytes are
in their segment before the index tells of them; what a killed process has not
told of is found by the size of the last segment, and told by the next one.
"""

import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

STREAMS = ("stdout", "stderr", "output")

# ---- names

LOCK = ".lock"
SOCKET = ".socket"
SETTINGS = ".settings"
INDEX = ".index"
_SEGMENT = re.compile(r"(stdout|stderr|output)-([0-9]{16,20})\.log(\.gz)?")
_INDEX = re.compile(r"([0-9]{20})\.idx")
_LAST = re.compile(r"last-([0-9]{1,18})\.json")


class SegmentName(NamedTuple):
    """What the name of a segment says."""

    stream: str
    start: int
    """Offset of its first byte."""
    is_compressed: bool


def segment_name(stream: str, start: int, *, is_compressed: bool = False) -> str:
    """The file of the segment of a stream that begins at this offset."""
    return f"{stream}-{start:016d}.log{'.gz' if is_compressed else ''}"


def segment_named(name: str) -> SegmentName | None:
    """What a file's name says; None for one that is no segment."""
    found = _SEGMENT.fullmatch(name)
    return SegmentName(found[1], int(found[2]), found[3] is not None) if found else None


def link_name(stream: str) -> str:
    """The link to the newest segment of a stream."""
    return f"{stream}.log"


def index_name(position: int) -> str:
    """The file of the index that begins at this position."""
    return f"{position:020d}.idx"


def index_named(name: str) -> int | None:
    """The first position of a file of the index; None for another file."""
    found = _INDEX.fullmatch(name)
    return int(found[1]) if found else None


def last_name(run: int) -> str:
    """The file with the last lines of a run that failed: `{"lines": [{"stream": "stderr", "line": "…"}, …]}`.

    At most 256 KiB of JSON in ASCII, in the order of capture; a line without its newline, and what is no
    UTF-8 in it as lone surrogates, as the reader prints them.
    """
    return f"last-{run}.json"


def last_named(name: str) -> int | None:
    """The run that such a file is of; None for another file."""
    found = _LAST.fullmatch(name)
    return int(found[1]) if found else None


# ---- compressed segments: gzip as any tool reads it, in members that each can be found and read alone

MEMBER_TEXT_BYTES = 1024 * 1024
"""So much text has each member of a compressed segment, but for the last."""
_MEMBER = struct.Struct("<4sIBBH2sHII")
"""A gzip header with an extra field `dL`: bytes of the whole member, bytes of its text."""
MEMBER_HEADER_BYTES = _MEMBER.size
_MEMBER_MAGIC = b"\x1f\x8b\x08\x04"
_MEMBER_END = struct.Struct("<II")


def gzip_member(content: bytes, level: int) -> bytes:
    """One member of a compressed segment; the file is one after the other."""
    squeeze = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = squeeze.compress(content) + squeeze.flush()
    size = MEMBER_HEADER_BYTES + len(body) + _MEMBER_END.size
    header = _MEMBER.pack(_MEMBER_MAGIC, 0, 0, 255, 12, b"dL", 8, size, len(content))
    return header + body + _MEMBER_END.pack(zlib.crc32(content), len(content))


def gzip_member_sizes(header: bytes) -> tuple[int, int] | None:
    """Bytes of a member and of its text, by its header; None for gzip that others have written."""
    if len(header) < MEMBER_HEADER_BYTES:
        return None
    magic, _time, _flags, _system, length, name, field, size, text = _MEMBER.unpack_from(header)
    is_ours = (magic, length, name, field) == (_MEMBER_MAGIC, 12, b"dL", 8)
    return (size, text) if is_ours and size > MEMBER_HEADER_BYTES else None


# ---- the index

TICK = 1
"""Payload: pairs of u32, stream and length; the bytes were captured in this order."""
FACT = 2
"""Payload: a JSON object. One of:

    {"fact": "streams", "streams": [[NUMBER, "web/0", "stdout", OFFSET], …], "runs": {"web/0": 3}}
        numbers of streams, and how far each had come. The first block of every file has all streams; one
        that is new comes with a fact of its own before its first bytes. "runs", where known, are the last
        runs that had begun: of the first block of a file, so that a run outlives the file of its beginning.
    {"fact": "began", "instance": "web/0", "run": 3, "at": WALL_S, "offsets": {"stdout": 0, "stderr": 0}}
    {"fact": "ended", "instance": "web/0", "run": 3, "at": WALL_S, "status": WAIT_STATUS | null,
     "offsets": {…}}
        what a run wrote lies between the two; what its descendants still write comes after it.
    {"fact": "lost", "instance": "web/0", "stream": "stdout", "offset": 77, "bytes": 1234,
     "reason": "disk full"}
        so many bytes were dropped before the one at this offset.
    {"fact": "cleared", "instance": "web/0"}
"""

_HEADER = struct.Struct("<2sBxIQQI4x")
"""Mark, kind, length of the payload, time in us since the epoch, position before it, CRC-32 of all that."""
HEADER_BYTES = _HEADER.size
_MARK = b"dL"
_PAIR = struct.Struct("<II")
PAIR_BYTES = _PAIR.size
MOST_PAYLOAD = 16 * 1024 * 1024
INDEX_FILE_BYTES = 4 * 1024 * 1024
"""About so large a file of the index becomes before the next one begins."""


class Block(NamedTuple):
    """One block of the index."""

    kind: int
    time_us: int
    position: int
    """Bytes that were captured on this host before it."""
    payload: bytes
    end: int
    """Where in the file the next block begins."""

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Stream and length, of a tick."""
        return _PAIR.iter_unpack(self.payload)

    def fact(self) -> dict[str, Any]:
        """The object of a fact."""
        told: dict[str, Any] = json.loads(self.payload)
        return told


def tick_block(time_us: int, position: int, pairs: Iterable[tuple[int, int]]) -> bytes:
    """A tick: `pairs` of a stream's number and how many bytes of it were captured, each below 4 GiB."""
    return _block(TICK, time_us, position, b"".join(_PAIR.pack(*pair) for pair in pairs))


def fact_block(time_us: int, position: int, fact: dict[str, Any]) -> bytes:
    """A fact."""
    return _block(FACT, time_us, position, json.dumps(fact, separators=(",", ":")).encode("ascii"))


def _block(kind: int, time_us: int, position: int, payload: bytes) -> bytes:
    check = zlib.crc32(payload, zlib.crc32(b"%d,%d,%d" % (kind, time_us, position)))
    return _HEADER.pack(_MARK, kind, len(payload), time_us, position, check) + payload


def blocks(content: bytes, at: int = 0) -> Iterator[Block]:
    """The whole blocks in `content` from `at` on; ends before one that is torn or damaged.

    Who wants to know where it ended looks at the `end` of the last block.
    """
    while at + HEADER_BYTES <= len(content):
        mark, kind, length, time_us, position, check = _HEADER.unpack_from(content, at)
        end = at + HEADER_BYTES + length
        if mark != _MARK or length > MOST_PAYLOAD or end > len(content):
            return
        payload = content[at + HEADER_BYTES : end]
        if zlib.crc32(payload, zlib.crc32(b"%d,%d,%d" % (kind, time_us, position))) != check:
            return
        yield Block(kind, time_us, position, payload, end)
        at = end


# ---- the socket: each packet is one JSON object in ASCII; an answer has the "id" of its question
#
# {"do": "watch"}
#     {"position": N} follows whenever something was captured; some are left out where the reader is slow
# {"do": "attach"}
#     by a new guardian: packets of its own protocol (`droned.guardian.wire.captures`) from here on
# {"do": "settings", "total_bytes": N | null, "policies": {"web/0": {…}}}
#     from now on; the policies of instances that it does not name stay
# {"do": "rotate", "id": 1, "instances": ["web/0"]}  ->  {"id": 1, "rotated": 2}
# {"do": "clear", "id": 1, "instances": ["web/0"]}   ->  {"id": 1, "bytes": 123}
#     all that was captured of them is deleted
# {"do": "usage", "id": 1}
#     ->  {"id": 1, "instances": {"web/0": {"bytes": 1, "segments": 2, "lost_bytes": 0}}, "index_bytes": 9,
#          "total_bytes": 9, "last": true}, in several packets where need be; bytes are lost since it started,
#     "lost_ago_s" with them is how long ago the last were, and "trouble" why something cannot be written now
# {"do": "own", "instance": "droned/log", "policy": {…}} with one descriptor
#     the read end of a pipe of the daemon's own, captured as `output` of that instance
# What cannot be done is answered by {"id": 1, "error": "…"}.

PACKET_BYTES = 65_536

DEFAULT_POLICY: dict[str, Any] = {
    "format": "raw",  # raw | stamped | json
    "max_size": 50 * 1024 * 1024,
    "keep": 5,
    "max_age_s": 30 * 86400.0,  # None: no limit
    "compress": True,
    "when_full": "drop",  # drop | block
}
"""What a stream without a policy of its own is treated by; a policy is such an object as JSON."""

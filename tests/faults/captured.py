"""What was captured, by the files alone: nobody of droned's is asked.

Shapes and names are those of `droned.logs.format`; how they are read is
written here a second time, so that reader and harness are not wrong together.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from droned.logs import format as form

_MARK = re.compile(rb"\n?\[droned: ([0-9]+) bytes lost, [a-z ]+\]\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One file of a stream."""

    start: int
    """Offset of its first byte."""
    path: Path
    is_compressed: bool

    def content(self) -> bytes:
        """All of it, as it was printed."""
        content = self.path.read_bytes()
        return gzip.decompress(content) if self.is_compressed else content

    def size(self) -> int:
        """Bytes of it, as they were printed."""
        return len(self.content()) if self.is_compressed else self.path.stat().st_size


def segments(logs: Path, instance: str, stream: str) -> list[Segment]:
    """The segments of one stream, oldest first; of one that is just being compressed the plain file."""
    found: dict[int, Segment] = {}
    try:
        paths = sorted((logs / instance).iterdir())
    except FileNotFoundError:
        return []
    for path in paths:
        name = form.segment_named(path.name)
        # Sorted by name: the plain file comes before the compressed one.
        if name is not None and name.stream == stream and name.start not in found:
            found[name.start] = Segment(start=name.start, path=path, is_compressed=name.is_compressed)
    return [found[start] for start in sorted(found)]


def captured_bytes(logs: Path, instance: str, stream: str) -> int:
    """How far the stream has come: bytes since it exists, whether they are still there or not."""
    while True:
        latest = segments(logs, instance, stream)[-1:]
        try:
            return sum(segment.start + segment.size() for segment in latest)
        except FileNotFoundError:
            # It has just been compressed.
            continue


def wrong(logs: Path, mark: str, size: int, printed: int, gaps: Sequence[tuple[int, int]] = ()) -> list[str]:
    """What is wrong with a stream of lines of `size` bytes, as tests/programs/writer.c prints them in bursts.

    `mark` is the name that the program was given: its instance, `@` and the
    tag; `printed` is how many bytes it printed; each of `gaps` is an offset and
    how many bytes were dropped before it, in the order of the offsets. A mark
    with that number has to stand there, on a line of its own.
    """
    instance = mark.rpartition("@")[0]
    tail = f" {mark} ".encode().ljust(size - 13, b".") + b"\n"
    content = b""
    for segment in segments(logs, instance, "stdout"):
        if segment.start != len(content):
            return [
                f"{instance}: {segment.path.name} does not begin at {len(content)}, where the last one ends"
            ]
        content += segment.content()
    begin = dropped = marks = 0
    for offset, count in (*gaps, (len(content), 0)):
        part = content[begin:offset]
        wanted = _printed(tail, size, begin - marks + dropped, len(part))
        if part != wanted:
            place = next(place for place in range(len(part)) if part[place] != wanted[place])
            line = (begin - marks + dropped + place) // size
            found = part[max(0, place - 20) : place + 60]
            return [f"{instance}: wrong at offset {begin + place}, where line {line} belongs: {found!r}"]
        begin, dropped = offset, dropped + count
        if count:
            told = _MARK.match(content, offset)
            if told is None or int(told[1]) != count:
                return [f"{instance}: {count} bytes are lost before offset {offset}, and not marked there"]
            begin, marks = told.end(), marks + len(told[0])
    if len(content) - marks + dropped != printed:
        told_bytes = f"{len(content) - marks} are in the files, {dropped} are told as lost"
        return [f"{instance}: {printed} bytes were printed, {told_bytes}"]
    return []


def _printed(tail: bytes, size: int, begin: int, count: int) -> bytes:
    """So many bytes of what was printed, from the one at `begin` on."""
    first = begin // size
    lines = range(first, (begin + count) // size + 1)
    skipped = begin - first * size
    return b"".join([b"%012d%b" % (number, tail) for number in lines])[skipped : skipped + count]


@dataclass(slots=True)
class Index:
    """What the index tells, read from its beginning to its end."""

    offsets: dict[tuple[str, str], int] = field(default_factory=dict)
    """How far each stream has come, by instance and stream."""
    gaps: dict[tuple[str, str], list[tuple[int, int]]] = field(default_factory=dict)
    """Offsets, and how many bytes were dropped before each."""
    faults: list[str] = field(default_factory=list)
    blocks: int = 0


def index(logs: Path) -> Index:
    """Read the index; whatever in it contradicts itself is a fault."""
    told = Index()
    position: int | None = None
    for path in sorted((logs / form.INDEX).glob("*.idx")):
        content = path.read_bytes()
        numbers: dict[int, tuple[str, str]] = {}
        end = 0
        if position is not None and form.index_named(path.name) != position:
            told.faults.append(f"{path.name} does not begin at position {position}")
        for block in form.blocks(content):
            if position is not None and block.position != position:
                told.faults.append(f"{path.name}: position {block.position} follows {position}")
            position, end = block.position, block.end
            told.blocks += 1
            if block.kind == form.TICK:
                for number, length in block.pairs():
                    told.offsets[numbers[number]] += length
                    position += length
            else:
                _take(told, numbers, block, path.name)
        if end != len(content):
            told.faults.append(f"{path.name}: nothing whole in its last {len(content) - end} bytes")
    return told


def _take(told: Index, numbers: dict[int, tuple[str, str]], block: form.Block, name: str) -> None:
    """Take in a fact."""
    fact = block.fact()
    if fact["fact"] == "streams":
        for number, instance, stream, offset in fact["streams"]:
            numbers[number] = (instance, stream)
            known = told.offsets.setdefault((instance, stream), offset)
            if known != offset:
                told.faults.append(f"{name}: {instance} {stream} is at {offset}, was told to be at {known}")
    elif fact["fact"] == "lost":
        key = (fact["instance"], fact["stream"])
        told.gaps.setdefault(key, []).append((fact["offset"], fact["bytes"]))

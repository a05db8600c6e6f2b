"""What was captured, by the files alone: nobody of droned's is asked.

Shapes and names are those of `droned.logs.format`; how they are read is
written here a second time, so that reader and harness are not wrong together.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from droned.logs import format as form


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


def whole(logs: Path, instance: str, stream: str) -> Iterator[bytes | str]:
    """The content of the segments, oldest first, and a fault in words where one does not follow another."""
    end: int | None = None
    for segment in segments(logs, instance, stream):
        if end is not None and segment.start != end:
            yield f"{segment.path.name} begins at {segment.start}, the one before it ends at {end}"
        content = segment.content()
        yield content
        end = segment.start + len(content)


def misnumbered(logs: Path, mark: str, size: int, count: int) -> list[str]:
    """Faults in a stream of `count` lines of `size` bytes, as tests/programs/writer.c prints them in bursts.

    `mark` is the name that the program was given: its instance, `@` and the tag.
    """
    instance = mark.rpartition("@")[0]
    tail = f" {mark} ".encode().ljust(size - 13, b".") + b"\n"
    number, rest = 0, b""
    faults = []
    for part in whole(logs, instance, "stdout"):
        if isinstance(part, str):
            faults.append(f"{instance}: {part}")
            continue
        text = rest + part
        lines, left = divmod(len(text), size)
        wanted = b"".join([b"%012d%b" % (each, tail) for each in range(number, number + lines)])
        if not text.startswith(wanted):
            place = _first_difference(text, wanted, size)
            found = text[place * size : (place + 1) * size]
            return [*faults, f"{instance}: where line {number + place} belongs stands {found[:60]!r}"]
        rest = text[len(text) - left :]
        number += lines
    if rest:
        faults.append(f"{instance}: ends within a line: {rest[:60]!r}")
    if number != count:
        faults.append(f"{instance}: {number} of {count} lines")
    return faults


def _first_difference(text: bytes, wanted: bytes, size: int) -> int:
    return next(
        at // size for at in range(0, len(wanted), size) if text[at : at + size] != wanted[at : at + size]
    )


@dataclass(slots=True)
class Index:
    """What the index tells, read from its beginning to its end."""

    offsets: dict[tuple[str, str], int] = field(default_factory=dict)
    """How far each stream has come, by instance and stream."""
    lost: dict[tuple[str, str], int] = field(default_factory=dict)
    """Bytes that were dropped."""
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
        told.lost[key] = told.lost.get(key, 0) + int(fact["bytes"])

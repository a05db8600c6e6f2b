"""The index as a folder of files: which one has a position or a time, what each begins with."""

import os
from collections import OrderedDict
from typing import Any

from droned.logs.format import FACT, INDEX, blocks, index_name, index_named
from droned.logs.reader.blocks import Blocks, Fact, facts_in

_HEAD_BYTES = 64 * 1024
_MOST_LOADED = 2


class Index:
    """The files of the index as they are now. Files that are deleted meanwhile are read as empty ones."""

    def __init__(self, folder: str) -> None:
        self._folder = f"{folder}/{INDEX}"
        self._loaded: OrderedDict[int, Blocks] = OrderedDict()
        self._facts: dict[int, dict[str, list[Fact]]] = {}
        self._heads: dict[int, Fact | None] = {}
        self.starts: list[int] = []
        self.look()

    def look(self) -> list[int]:
        """The first positions of all files, ascending, looked up anew."""
        try:
            found = [index_named(name) for name in os.listdir(self._folder)]
        except (FileNotFoundError, NotADirectoryError):
            found = []
        self.starts = sorted(start for start in found if start is not None)
        return self.starts

    def path(self, start: int) -> str:
        """The file that begins at this position."""
        return f"{self._folder}/{index_name(start)}"

    def content(self, start: int, at: int = 0) -> bytes:
        """The bytes of a file from `at` on; none when it is gone."""
        try:
            with open(self.path(start), "rb", buffering=0) as file:
                file.seek(at)
                return file.read()
        except FileNotFoundError:
            return b""

    def size(self, start: int) -> int:
        """Bytes of a file; 0 when it is gone."""
        try:
            return os.stat(self.path(start)).st_size
        except FileNotFoundError:
            return 0

    def state(self) -> tuple[int, int]:
        """The newest file and its bytes: another one when more has been told."""
        return (self.starts[-1], self.size(self.starts[-1])) if self.starts else (0, 0)

    def blocks(self, start: int) -> Blocks:
        """The blocks of a file, as they were when it was first asked for."""
        found = self._loaded.get(start)
        if found is None:
            found = self._loaded[start] = Blocks(self.content(start), start)
            if len(self._loaded) > _MOST_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(start)
        return found

    def head(self, start: int) -> Fact | None:
        """The first block of a file, with all streams; None where it is damaged or gone."""
        if start not in self._heads:
            self._heads[start] = self._read_head(start)
        return self._heads[start]

    def _read_head(self, start: int) -> Fact | None:
        try:
            with open(self.path(start), "rb", buffering=0) as file:
                content = file.read(_HEAD_BYTES)
                first = next(blocks(content), None)
                if first is None and len(content) == _HEAD_BYTES:
                    first = next(blocks(content + file.read()), None)
        except FileNotFoundError:
            return None
        if first is None or first.kind != FACT:
            return None
        try:
            return Fact(first.position, first.time_us, first.fact())
        except ValueError:
            return None

    def facts_of(self, start: int) -> dict[str, list[Fact]]:
        """For each instance its facts in a file, in their order, as they were when first asked for."""
        found = self._facts.get(start)
        if found is None:
            found = self._facts[start] = {}
            loaded = self._loaded.get(start)
            for fact in facts_in(loaded.content[: loaded.end] if loaded else self.content(start)):
                found.setdefault(str(fact.told.get("instance")), []).append(fact)
        return found

    def position_at(self, time_us: int) -> int | None:
        """Where the first block begins that is not older than this; None when all are older.

        Clocks step: the first place that fits is meant, and who reads on looks at the time of each line.
        """
        for number, start in enumerate(self.starts):
            following = self.head(self.starts[number + 1]) if number + 1 < len(self.starts) else None
            if following is not None and following.time_us < time_us:
                continue
            found = self.blocks(start)
            if (first := found.first_at(time_us)) is not None:
                return found.positions[first]
        return None

    def end_at(self, time_us: int) -> int | None:
        """Where the last block ends that is not newer than this; None when there is no index."""
        for start in reversed(self.starts):
            head = self.head(start)
            if head is not None and (head.time_us <= time_us or start == self.starts[0]):
                found = self.blocks(start)
                return found.end_of(time_us) if len(found) else start
        return None

    def streams(self, start: int) -> list[tuple[int, str, str, int]]:
        """Number, instance, stream and offset of all streams, as the file begins."""
        head = self.head(start)
        return streams_told(head.told) if head else []


def streams_told(told: dict[str, Any]) -> list[tuple[int, str, str, int]]:
    """Number, instance, stream and offset of all streams in this fact."""
    if told.get("fact") != "streams":
        return []
    return [(number, instance, stream, offset) for number, instance, stream, offset in told["streams"]]

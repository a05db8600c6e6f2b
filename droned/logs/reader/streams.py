"""The streams that a question is about: where each is read, and the line that is not yet whole."""

import os

from droned.logs.format import segment_named
from droned.logs.reader.segments import AllSegments, Segments


class Stream:
    """One stream along one walk.

    `offset` is how far the walk has told of it. From `carry_start` to `carry_start + len(carry)` is the line
    that has begun and not yet ended, once `is_begun`.
    """

    __slots__ = ("carry", "carry_start", "instance", "is_begun", "name", "offset", "segments")

    def __init__(self, instance: str, name: str, segments: Segments) -> None:
        self.instance = instance
        self.name = name
        self.segments = segments
        self.offset = 0
        self.is_begun = False
        self.carry = b""
        self.carry_start = 0

    @property
    def carry_end(self) -> int:
        """The offset behind what has been read."""
        return self.carry_start + len(self.carry)


class Streams:
    """All streams of one walk. `segments` may be shared between walks that do not run at once."""

    def __init__(self, folder: str, segments: AllSegments) -> None:
        self._folder = folder
        self._segments = segments
        self._streams: dict[tuple[str, str], Stream] = {}
        self._instances: dict[str, list[Stream]] = {}

    def get(self, instance: str, name: str) -> Stream | None:
        """The stream, if it is known."""
        return self._streams.get((instance, name))

    def new(self, instance: str, name: str) -> Stream:
        """A stream that was not known."""
        key = (instance, name)
        stream = self._streams[key] = Stream(instance, name, self._segments.of(instance, name))
        self._instances.setdefault(instance, []).append(stream)
        return stream

    def of(self, instance: str) -> list[Stream]:
        """The known streams of an instance."""
        return self._instances.get(instance, [])

    def all(self) -> list[Stream]:
        """The known streams."""
        return list(self._streams.values())

    def on_disk(self) -> list[tuple[str, str]]:
        """Instance and name of all streams of which there is a segment, in order."""
        found = set()
        for app in _folders(self._folder):
            for label in _folders(f"{self._folder}/{app}"):
                for file in os.listdir(f"{self._folder}/{app}/{label}"):
                    if named := segment_named(file):
                        found.add((f"{app}/{label}", named.stream))
        return sorted(found)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []

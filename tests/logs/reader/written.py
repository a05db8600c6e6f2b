"""Captured logs, written as `droned-logs` does, and beside them what a reader has to find in them.

`Written` writes segments and index by `droned.logs.format`; what a reader has to print is made up on the way,
byte by byte and without any arithmetic on offsets.
"""

import gzip
import json
import os
from pathlib import Path
from typing import Any

from droned.logs import format as text
from droned.logs.reader.answer import answer
from droned.logs.reader.output import Output

START_US = 1_780_000_000_000_000
Key = tuple[str, str]


class Written:
    """A folder of logs and all that was done to it."""

    def __init__(self, folder: Path, piece_bytes: int = 64 * 1024) -> None:
        self.folder = folder
        self.position = 0
        self.time_us = START_US
        self.offsets: dict[Key, int] = {}
        self.numbers: dict[Key, int] = {}
        self.segments: dict[Key, list[int]] = {}
        self.runs: dict[str, int] = {}
        self._piece_bytes = piece_bytes
        self._carries: dict[Key, bytes] = {}
        self._ends: dict[Key, tuple[int, int]] = {}
        self._carried_runs: dict[Key, int | None] = {}
        self.objects: list[dict[str, Any]] = []
        """What a reader that follows from the beginning has to print."""
        (folder / text.INDEX).mkdir(parents=True)
        self.new_index()

    @property
    def index(self) -> Path:
        """The newest file of the index."""
        return max((self.folder / text.INDEX).iterdir())

    def new_index(self) -> None:
        """Begin a file of the index."""
        streams = [[number, *key, self.offsets[key]] for key, number in self.numbers.items()]
        path = self.folder / text.INDEX / text.index_name(self.position)
        if not path.exists():
            fact = {"fact": "streams", "streams": streams, "runs": self.runs}
            path.write_bytes(text.fact_block(self.time_us, self.position, fact))

    def tick(self, *pairs: tuple[str, str, bytes], is_told: bool = True) -> None:
        """Capture these bytes: of instance and stream."""
        for instance, stream, _data in pairs:
            self._know((instance, stream))
        told = []
        before = self.position
        for instance, stream, data in pairs:
            key = (instance, stream)
            with self.segment(key).open("ab") as file:
                file.write(data)
            self.offsets[key] += len(data)
            told.append((self.numbers[key], len(data)))
            for byte in data:
                self.position += 1
                self._byte(key, bytes([byte]))
        if is_told:
            self._append(text.tick_block(self.time_us, before, told))

    def began(self, instance: str, run: int, *streams: str) -> None:
        """A run begins."""
        offsets = {stream: self.offsets.get((instance, stream), 0) for stream in streams}
        told = {"fact": "began", "instance": instance, "run": run, "at": self.time_us / 1e6}
        self.fact(told | {"offsets": offsets})
        self._end_lines(instance)
        self.runs[instance] = run
        self._run_event(instance, run, {"what": "began"})

    def ended(self, instance: str, status: int | None = 0) -> None:
        """The run that is in force ends."""
        run = self.runs[instance]
        offsets = {stream: offset for (who, stream), offset in self.offsets.items() if who == instance}
        told = {"fact": "ended", "instance": instance, "run": run, "at": self.time_us / 1e6}
        self.fact(told | {"status": status, "offsets": offsets})
        self._end_lines(instance)
        self._run_event(instance, run, {"what": "ended", "status": status})

    def fact(self, told: dict[str, Any]) -> None:
        """Any fact."""
        self._append(text.fact_block(self.time_us, self.position, told))

    def rotate(self, key: Key) -> None:
        """Begin a segment."""
        if key in self.segments and self.segments[key][-1] != self.offsets[key]:
            self.segments[key].append(self.offsets[key])
            self.segment(key).touch()

    def compress(self, key: Key, *, keeps_raw: bool = False, as_others: bool = False) -> None:
        """Compress all segments but the newest, in short members or as any gzip does."""
        for start in self.segments.get(key, [])[:-1]:
            path = self.segment(key, start)
            if path.exists():
                raw = path.read_bytes()
                members = [text.gzip_member(raw[at : at + 7], 1) for at in range(0, len(raw), 7)]
                compressed = gzip.compress(raw) if as_others else b"".join(members)
                self.segment(key, start, is_compressed=True).write_bytes(compressed)
                if not keeps_raw:
                    path.unlink()

    def delete_oldest(self, key: Key) -> None:
        """Delete a segment that is not the newest."""
        if len(self.segments[key]) > 1:
            start = self.segments[key].pop(0)
            for is_compressed in (False, True):
                self.segment(key, start, is_compressed=is_compressed).unlink(missing_ok=True)

    def segment(self, key: Key, start: int | None = None, *, is_compressed: bool = False) -> Path:
        """The file of a segment, the newest unless told."""
        begin = self.segments[key][-1] if start is None else start
        return self.folder / key[0] / text.segment_name(key[1], begin, is_compressed=is_compressed)

    def history(self) -> list[dict[str, Any]]:
        """What a reader that does not follow has to print: with the last lines that are not whole."""
        begun = [
            self._object(key, carry, self._ends[key]) | {"partial": True}
            for key, carry in self._carries.items()
            if carry
        ]
        return sorted(begun + self.objects, key=lambda one: int(one["position"]))

    def _know(self, key: Key) -> None:
        if key not in self.numbers:
            self.numbers[key] = len(self.numbers) * 7 + 1
            self.offsets[key] = 0
            self.segments[key] = [0]
            self._carries[key] = b""
            (self.folder / key[0]).mkdir(parents=True, exist_ok=True)
            self.segment(key).touch()
            self.fact({"fact": "streams", "streams": [[self.numbers[key], *key, 0]]})

    def _append(self, block: bytes) -> None:
        with self.index.open("ab") as file:
            file.write(block)

    def _byte(self, key: Key, byte: bytes) -> None:
        if not self._carries[key]:
            self._carried_runs[key] = self.runs.get(key[0])
        if byte == b"\n":
            self._line(key, {})
            return
        self._carries[key] += byte
        self._ends[key] = (self.position, self.time_us)
        if len(self._carries[key]) == self._piece_bytes:
            self._line(key, {"more": True})

    def _end_lines(self, instance: str) -> None:
        for key in self.offsets:
            if key[0] == instance and self._carries[key]:
                self._line(key, {"partial": True})

    def _line(self, key: Key, more: dict[str, Any]) -> None:
        self.objects.append(self._object(key, self._carries[key], (self.position, self.time_us)) | more)
        self._carries[key] = b""

    def _object(self, key: Key, line: bytes, end: tuple[int, int]) -> dict[str, Any]:
        return {
            "position": end[0],
            "at": stamp(end[1]),
            "instance": key[0],
            "run": self._carried_runs[key],
            "stream": key[1],
            "line": line.decode("utf-8", "surrogateescape"),
        }

    def _run_event(self, instance: str, run: int, what: dict[str, Any]) -> None:
        told = {"event": "run", "position": self.position, "at": stamp(self.time_us)}
        self.objects.append(told | {"instance": instance, "run": run} | what)


def stamp(time_us: int) -> str:
    """RFC 3339 with microseconds, of any moment of the minutes in which the tests play."""
    seconds, us = divmod(time_us - START_US + 40_000_000, 1_000_000)
    return f"2026-05-28T20:{26 + seconds // 60:02d}:{seconds % 60:02d}.{us:06d}Z"


def asked(folder: Path, **question: Any) -> list[dict[str, Any]]:
    """All that a reader prints, which does not follow, but for the last word; in this process."""
    path = folder / "answer"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        output = Output(fd)
        answer(json.dumps({"folder": str(folder)} | question).encode(), None, output)
    finally:
        os.close(fd)
    told = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert told[-1]["event"] == "end"
    return told[:-1]


def lines(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Only the lines."""
    return [one for one in told if "line" in one]

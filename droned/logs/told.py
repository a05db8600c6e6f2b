"""What the index tells after a start: how far every stream had come, and which runs began and ended last."""

import os
from array import array
from typing import Any

from droned.logs.format import FACT, HEADER_BYTES, TICK, Block, blocks, index_name, index_named
from droned.logs.index import StreamRow

_FIRST = b'{"fact":"streams"'


class Told:
    """What the last file of the index tells, and which files there are (first position and size)."""

    __slots__ = ("began", "ended", "files", "next_number", "position", "runs", "streams")

    def __init__(self) -> None:
        self.files: list[tuple[int, int]] = []
        self.position = 0
        self.streams: dict[int, StreamRow] = {}
        self.next_number = 1
        self.runs: dict[str, int] = {}
        self.began: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, dict[str, Any]] = {}


def read_index(folder: str) -> Told:
    """Read the last file of the index that begins as it has to; those after it are deleted.

    A torn end of it is left out of its size.
    """
    told = Told()
    starts = sorted(start for name in os.listdir(folder) if (start := index_named(name)) is not None)
    while starts:
        path = f"{folder}/{index_name(starts[-1])}"
        with open(path, "rb", buffering=0) as file:
            content = file.readall()
        size = take_in(content, told)
        if size:
            told.files = [(start, _size(folder, start)) for start in starts[:-1]] + [(starts[-1], size)]
            break
        os.unlink(path)
        starts.pop()
    return told


def _size(folder: str, start: int) -> int:
    return os.stat(f"{folder}/{index_name(start)}").st_size


def take_in(content: bytes, told: Told) -> int:
    """Take in a file; where its last whole block ends, 0 where it does not begin with all streams."""
    if not content.startswith(_FIRST, HEADER_BYTES):
        return 0
    ticks: list[bytes] = []
    last: Block | None = None
    for last in blocks(content):
        if last.kind == TICK:
            ticks.append(last.payload)
        elif last.kind == FACT:
            fact = last.fact()
            if fact["fact"] == "streams":
                _add(ticks, told)
            _take_fact(fact, told)
    if last is None:
        return 0
    _add(ticks, told)
    told.position = last.position + (sum(count for _, count in last.pairs()) if last.kind == TICK else 0)
    return last.end


def _add(ticks: list[bytes], told: Told) -> None:
    """Have the streams as far as these ticks tell."""
    pairs = array("I", b"".join(ticks))
    ticks.clear()
    sums: dict[int, int] = {}
    for number, count in zip(pairs[::2], pairs[1::2], strict=True):
        sums[number] = sums.get(number, 0) + count
    for number, count in sums.items():
        if number in told.streams:
            told.streams[number][3] += count


def _take_fact(fact: dict[str, Any], told: Told) -> None:
    match fact["fact"]:
        case "streams":
            for row in fact["streams"]:
                told.streams[row[0]] = row
                told.next_number = max(told.next_number, row[0] + 1)
            told.runs |= fact.get("runs", {})
        case "began":
            told.began[fact["instance"]] = fact
            ended = told.ended.get(fact["instance"])
            if ended is not None and ended["run"] >= fact["run"]:
                del told.ended[fact["instance"]]  # of an instance of this name that was removed
        case "ended":
            told.ended[fact["instance"]] = fact


def first_streams(folder: str, start: int) -> dict[tuple[str, str], int]:
    """How far each stream had come at the beginning of a file. Raises OSError, ValueError."""
    with open(f"{folder}/{index_name(start)}", "rb", buffering=0) as file:
        content = file.read(256 * 1024)
        first = next(blocks(content), None)
        if first is None:
            content += file.read()
            first = next(blocks(content), None)
    if first is None or first.kind != FACT:
        raise ValueError(f"cannot find the streams in {index_name(start)}")
    return {(row[1], row[2]): row[3] for row in first.fact()["streams"]}

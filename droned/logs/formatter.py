"""`python -I -S -E …/droned/logs/formatter.py PARENT_PID FOLDER`: writes lines in other formats.

Standard input is a socket: which streams it is about, and a packet whenever
there is something new; the end of it is ours. It tells there of which stream it
has begun another file. A line has the time of the tick
in which its end was captured.

Exactly once: after each batch a side file says how far the stream was read and
how long the output is. What a killed one wrote beyond that is cut off, and
written again.
"""

import json
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from droned.logs import kernel, log
from droned.logs.format import FACT, INDEX, PACKET_BYTES, TICK, blocks, index_name, index_named
from droned.logs.output import Output, RawBytes
from droned.logs.told import first_streams

_BATCH_BYTES = 1024 * 1024
_REST_S = 0.1
_PRIORITY = 5
_KILL = 9


class Formatter:
    """All streams that have a format of their own, and how far the index was read for them.

    `tell` gets instance and stream whenever another file was begun.
    """

    def __init__(self, folder: str, tell: Callable[[str, str], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._outputs: dict[tuple[str, str], Output] = {}
        self._rows: dict[tuple[str, str], list[Any]] = {}
        self._numbers: dict[int, Output | None] = {}
        self._cursors: dict[int, int] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._runs: dict[str, int | None] = {}
        self._file = -1
        self._at = 0

    def settle(self, rows: list[list[Any]]) -> None:
        """Write these streams so from now on."""
        for row in rows:
            instance, stream, kind, max_size, keep, start = row
            self._rows[instance, stream] = row
            known = self._outputs.pop((instance, stream), None)
            if known is not None:
                known.close()
            if kind == "raw":
                continue
            raw = RawBytes(f"{self._folder}/{instance}", stream)
            self._outputs[instance, stream] = Output(
                raw, instance, stream, kind, max_size, keep, start, self._tell
            )
        self._rewind()

    def begin_again(self) -> None:
        """Go on from what the side files say, after something could not be written."""
        self.settle(list(self._rows.values()))

    def _rewind(self) -> None:
        """Read the index again from the newest file that begins before all that is to be written."""
        self._numbers.clear()
        self._cursors.clear()
        self._runs.clear()
        starts = self._starts()
        self._file = starts[0] if starts else -1
        for start in reversed(starts):
            try:
                bounds = first_streams(f"{self._folder}/{INDEX}", start)
            except (OSError, ValueError):
                continue
            if all(bounds.get(key, 0) <= output.done for key, output in self._outputs.items()):
                self._file = start
                break
        self._at = 0

    def _starts(self) -> list[int]:
        names = os.listdir(f"{self._folder}/{INDEX}")
        return sorted(start for name in names if (start := index_named(name)) is not None)

    def step(self) -> bool:
        """Write what a batch of the index tells of; True when there is more."""
        if not self._outputs:
            return False
        content = self._content()
        end = 0
        for block in blocks(content):
            end = block.end
            if block.kind == TICK:
                for number, count in block.pairs():
                    self._tick(number, count, block.time_us)
            elif block.kind == FACT:
                self._fact(block.fact(), block.time_us)
        self._at += end
        for output in self._outputs.values():
            output.save()
        if end:
            return True
        later = [start for start in self._starts() if start > self._file]
        if not later:
            return False
        if self._content() == content:  # it is whole: the next one was begun after it
            self._file, self._at = later[0], 0
        return True

    def _content(self) -> bytes:
        try:
            fd = os.open(f"{self._folder}/{INDEX}/{index_name(self._file)}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return b""
        try:
            content = os.pread(fd, _BATCH_BYTES, self._at)
            if len(content) == _BATCH_BYTES and next(blocks(content), None) is None:
                content = os.pread(fd, 17 * _BATCH_BYTES, self._at)
            return content
        finally:
            os.close(fd)

    def _tick(self, number: int, count: int, time_us: int) -> None:
        begin = self._cursors.get(number, 0)
        self._cursors[number] = begin + count
        output = self._numbers.get(number)
        if output is not None:
            output.take(begin + count, time_us, self._runs.get(output.instance))

    def _fact(self, fact: dict[str, Any], time_us: int) -> None:
        match fact.get("fact"):
            case "streams":
                for number, instance, stream, offset in fact["streams"]:
                    self._numbers[number] = self._outputs.get((instance, stream))
                    self._cursors[number] = offset
            case "began":
                self._runs[fact["instance"]] = fact["run"]
            case "ended":
                for stream, offset in fact["offsets"].items():
                    output = self._outputs.get((fact["instance"], stream))
                    if output is not None:
                        output.finish_line(offset, time_us, self._runs.get(fact["instance"]))
                self._runs[fact["instance"]] = None


def _tell(instance: str, stream: str) -> None:
    """Tell that another file was begun. Waits where many have not been heard; raises OSError."""
    os.write(0, json.dumps([instance, stream]).encode("ascii"))


def main() -> None:
    """The program."""
    os.nice(_PRIORITY)
    kernel.die_with_parent(int(sys.argv[1]), _KILL)  # two of them would write to the same files
    formatter = Formatter(sys.argv[2], _tell)
    poll = select.poll()
    poll.register(0, select.POLLIN)
    more, has_failed = False, False
    while True:
        if more or poll.poll():
            while poll.poll(0):
                packet = os.read(0, PACKET_BYTES)
                if not packet:
                    return
                if rows := json.loads(packet).get("streams"):
                    formatter.settle(rows)
        try:
            if has_failed:
                formatter.begin_again()
            more, has_failed = formatter.step(), False
        except OSError as error:
            log.say(f"cannot write another format: {error}")
            time.sleep(1.0)
            more = has_failed = True
        if not more:
            time.sleep(_REST_S)


if __name__ == "__main__":
    main()

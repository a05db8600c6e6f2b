"""What a reader prints: one JSON object a line, in ASCII, in few writes."""

import json
import os
import select
import time
from json.encoder import encode_basestring_ascii as quoted
from typing import Any

from droned.logs.reader.reading import Item, Line

_FULL_BYTES = 256 * 1024
_WAIT_S = 0.05
"""So long something to be shown may wait for more."""


class Output:
    """Standard output. Raises BrokenPipeError when nobody reads it any more; waits while it is full."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._waiting: list[str] = []
        self._bytes = 0
        self._written_at = 0.0
        self._second = -1
        self._second_text = ""
        self.position: int | None = None
        """That of the last object."""

    def add(self, items: list[Item]) -> None:
        """Show these."""
        for item in items:
            text = self._line(item) if isinstance(item, Line) else self._event(item.what, item)
            self._waiting.append(text)
            self._bytes += len(text)
            if self._bytes >= _FULL_BYTES:
                self.flush()
        if items:
            self.position = max(0, items[-1].position)
            if time.monotonic() - self._written_at > _WAIT_S:
                self.flush()

    def tell(self, told: dict[str, Any]) -> None:
        """Show an object, and all before it, now."""
        self._waiting.append(json.dumps(told) + "\n")
        self.flush()

    def flush(self) -> None:
        """Write all that waits."""
        data = memoryview("".join(self._waiting).encode("ascii"))
        self._waiting, self._bytes = [], 0
        while data:
            try:
                data = data[os.write(self.fd, data) :]
            except BlockingIOError:
                waiting = select.poll()
                waiting.register(self.fd, select.POLLOUT)
                waiting.poll()
        self._written_at = time.monotonic()

    def _line(self, line: Line) -> str:
        run = "null" if line.run is None else line.run
        flags = ', "more": true' if line.has_more else ', "partial": true' if line.is_partial else ""
        return (
            f'{{"position": {max(0, line.position)}, "at": "{self._at(line.time_us)}", '
            f'"instance": {quoted(line.instance)}, "run": {run}, "stream": "{line.stream}", '
            f'"line": {quoted(line.text.decode("utf-8", "surrogateescape"))}{flags}}}\n'
        )

    def _event(self, what: dict[str, Any], item: Item) -> str:
        told = {"event": what["event"], "position": max(0, item.position)}
        if item.time_us is not None:
            told["at"] = self._at(item.time_us)
        return json.dumps(told | what) + "\n"

    def _at(self, time_us: int) -> str:
        second, us = divmod(time_us, 1_000_000)
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._second_text}.{us:06d}Z"

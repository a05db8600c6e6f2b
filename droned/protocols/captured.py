"""What a reader of captured logs prints, one JSON object a line (docs/design/logs.rst), as values.

A line's text may hold lone surrogates: each stands for one byte that is no
UTF-8. `text_bytes` gives the bytes back, `clean_text` a text that anybody
can take.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import NamedTuple

import msgspec
from msgspec import Struct

LONGEST_TOLD = 1024 * 1024
"""More than any line of a reader takes: its texts come in pieces of 64 KiB."""


class CapturedLine(NamedTuple):
    """One line that an instance wrote."""

    position: int
    """Where it ends: what follows is read from there."""
    at: str
    """When it was captured, RFC 3339 in UTC, to the microsecond."""
    instance: str
    run: int | None
    """None where nobody knows it."""
    stream: str
    text: str
    has_more: bool = False
    """Whether the next line is the rest of this one."""

    @property
    def app(self) -> str:
        """The app of its instance."""
        return self.instance.partition("/")[0]

    @property
    def text_bytes(self) -> bytes:
        """Its text as it was written."""
        return self.text.encode("utf-8", "surrogateescape")

    @property
    def size_bytes(self) -> int:
        """Of its text, as far as it is ASCII."""
        return len(self.text)


class Told(NamedTuple):
    """Something else that a reader says: `run`, `lost`, `gap`, `caught_up`, `end` or `error`."""

    event: str
    position: int | None
    text: str = ""


class Pieces:
    """Bytes in any pieces, whole lines out."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> list[bytes]:
        """The lines that end in this piece, without their newlines. ValueError for one that never ends."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LONGEST_TOLD:
            raise ValueError(f"cannot read a line of more than {LONGEST_TOLD} bytes")
        return lines


def told(line: bytes) -> CapturedLine | Told:
    """What one line says. ValueError for one that is no such object."""
    try:
        try:
            said = _DECODER.decode(line)
        except ValueError:
            # Lone surrogates, which only this codec reads.
            said = msgspec.convert(json.loads(line), _Said)
        if said.line is not None and said.position is not None:
            return CapturedLine(
                said.position,
                intern(said.at),
                intern(said.instance),
                said.run,
                intern(said.stream),
                said.line,
                said.more,
            )
        if said.error is None and not said.event:
            raise ValueError("nothing is said")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot understand what the reader says: {line[:80]!r}") from error
    if said.error is not None:
        return Told("error", None, said.error)
    return Told(said.event, said.position)


class _Said(Struct):
    """Everything that one object can have and that is of use here."""

    position: int | None = None
    at: str = ""
    instance: str = ""
    run: int | None = None
    stream: str = ""
    line: str | None = None
    more: bool = False
    event: str = ""
    error: str | None = None


_DECODER = msgspec.json.Decoder(_Said)


def clean_text(text: str) -> str:
    """The text with U+FFFD for what is no UTF-8."""
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def nanoseconds(at: str) -> int:
    """Nanoseconds since the epoch of a time as `CapturedLine` has it. ValueError for another text."""
    whole, dot, fraction = at.removesuffix("Z").partition(".")
    if dot and not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"cannot read the time {at!r}")
    return _seconds(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, "0") or "0")


@lru_cache(maxsize=16)
def _seconds(whole: str) -> int:
    return int(datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp())

"""Captured lines as they are printed: text for people and pipes, the raw bytes, or the API's objects.

Rules of this module: on a terminal nothing is printed as an app wrote it, but
tabs, and its colours are left out; in a pipe or a file a line keeps its bytes,
and nothing stands between lines: what is missing is a warning on standard error,
and runs are not told at all, as a pager would have them all over its page. A line
that came in pieces is put together again.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from datetime import UTC, datetime

from droned.ctl.console import Console
from droned.ctl.log_stream import Record, Told
from droned.ctl.text import clock_time, counted, escaped, escaped_line

COLOURS = ("cyan", "green", "yellow", "magenta", "blue")
"""Of the names of instances, in the order in which they appear."""
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m", re.ASCII)
"""A control sequence that sets how characters look (SGR, ECMA-48 §8.3.117)."""
OUTPUT_MARK, ERROR_MARK = "|", "E"

DIRECT_SHOWN = 3
"""Instances whose output is not captured that are told by name."""

Source = tuple[str, str]
"""Instance and stream."""


def ending(status: object) -> str:
    """`exited 1`, `killed by TERM`: how a run ended, of its wait status."""
    if not isinstance(status, int):
        return "nobody knows how"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"killed by {signal.Signals(number).name.removeprefix('SIG')}"
        except ValueError:
            return f"killed by signal {number}"
    return f"exited {os.WEXITSTATUS(status)}"


class Stamps:
    """Moments of capture, in this machine's zone or in UTC."""

    def __init__(self, *, utc: bool, is_short: bool) -> None:
        """`is_short`: to the millisecond and without the zone if it is this machine's, for a terminal."""
        self._utc = utc
        self._is_short = is_short
        self._minutes: dict[str, tuple[str, str]] = {}
        """The minute and the zone as printed, by the minute in UTC."""

    def of(self, at: str) -> str:
        """The moment, of the `at` of a record."""
        minute = at[:16]
        known = self._minutes.get(minute)
        if known is None:
            known = self._minute(minute)
            if known is None:
                return escaped(at)
            self._minutes[minute] = known
        return known[0] + (at[16:23] if self._is_short else at[16:26]) + known[1]

    def _minute(self, minute: str) -> tuple[str, str] | None:
        try:
            there = datetime.fromisoformat(minute).replace(tzinfo=UTC)
        except ValueError:
            return None
        there = there if self._utc else there.astimezone()
        text = there.isoformat(" " if self._is_short else "T", "minutes")
        if self._utc:
            return text[:16], "Z"
        return text[:16], "" if self._is_short else text[16:]


class TextLines:
    """Lines with what stands before them: the moment, the instance, the stream."""

    def __init__(
        self, console: Console, *, has_names: bool, has_marks: bool, stamps: Stamps | None, utc: bool = False
    ) -> None:
        """`has_marks`: stderr is told from the rest by a letter; `utc` is for what is told between lines."""
        self._console = console
        self._has_names = has_names
        self._has_marks = has_marks
        self._stamps = stamps
        self._utc = utc
        self._widest = 0
        self._names: dict[str, str] = {}
        """The painted names, by instance."""
        self._unended: Source | None = None
        """Whose line has no end yet."""
        self._parts: list[str] = []

    def take(self, batch: Sequence[Told]) -> None:
        """Print all of these, at once."""
        if self._has_names:
            self._learn(batch)
        for told in batch:
            if told.event is None:
                self._line(told.record)
            else:
                self._tell(told.record)
        self._write()
        self._console.flush()

    def _learn(self, batch: Sequence[Told]) -> None:
        for told in batch:
            instance = told.record.get("instance")
            if isinstance(instance, str) and instance not in self._names:
                text = escaped(instance)
                colour = COLOURS[len(self._names) % len(COLOURS)]
                self._names[instance] = self._console.painted(text, colour)
                self._widest = max(self._widest, len(text))

    def _line(self, record: Record) -> None:
        source = (record["instance"], record["stream"])
        text = record["line"]
        parts = self._parts
        if self._unended != source:
            if self._unended is not None:
                parts.append("\n")
            parts.append(self._before(record, source))
        parts.append(_for_terminal(text, record) if self._console.is_terminal else text)
        if record.get("more"):
            self._unended = source
        else:
            parts.append("\n")
            self._unended = None

    def _before(self, record: Record, source: Source) -> str:
        before = []
        if self._stamps is not None:
            before.append(self._stamps.of(record["at"]))
        instance, stream = source
        if self._has_names:
            name = self._names[instance]
            before.append(name + " " * (self._widest - len(escaped(instance))))
        if self._has_marks:
            is_error = stream == "stderr"
            before.append(self._console.painted(ERROR_MARK, "red") if is_error else OUTPUT_MARK)
        return " ".join([*before, ""]) if before else ""

    def _tell(self, record: Record) -> None:
        """What is no line: in a line of its own on a terminal, else only what is missing, and elsewhere."""
        if self._console.is_terminal:
            text = words_of(record, self._utc)
            if text is None or (self._console.quiet and record.get("event") == "run"):
                return
            if self._unended is not None:
                self._parts.append("\n")
                self._unended = None
            self._parts.append(self._console.painted(f"--- {text} ---", "dim") + "\n")
        else:
            self._write()
            warn(self._console, record)

    def _write(self) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        if self._console.is_terminal:
            self._console.write(text)
        else:
            self._console.exact(_bytes_of(text))


class RawLines:
    """The bytes that were written and nothing else, on a terminal too."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._unended: Source | None = None

    def take(self, batch: Sequence[Told]) -> None:
        """Print all of these, at once; a line without newline gets one when another stream's follows."""
        parts: list[bytes] = []
        for told in batch:
            record = told.record
            if told.event is not None:
                self._console.exact(b"".join(parts))
                parts.clear()
                warn(self._console, record)
                continue
            source = (record["instance"], record["stream"])
            if self._unended is not None and self._unended != source:
                parts.append(b"\n")
            parts.append(_bytes_of(record["line"]))
            if record.get("more") or record.get("partial"):
                self._unended = source
            else:
                parts.append(b"\n")
                self._unended = None
        self._console.exact(b"".join(parts))


class JsonLines:
    """The API's objects, one a line, as they came."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def take(self, batch: Sequence[Told]) -> None:
        """Print all of these but those about the answer itself."""
        kept = [told.text for told in batch if told.event not in ("caught_up", "end")]
        if kept:
            self._console.piece(b"\n".join([*kept, b""]))


def words_of(record: Record, utc: bool) -> str | None:
    """What an event says, on one line; None for one that is about the answer itself."""
    instance = escaped(str(record.get("instance")))
    at = str(record.get("at") or "")
    when = f" {escaped(at[:19].replace('T', ' '))}Z" if utc else f" {clock_time(at)}"
    if not at:
        when = ""
    match record.get("event"):
        case "run" if record.get("what") == "began":
            return f"{instance} run {record.get('run')} began{when}"
        case "run":
            return f"{instance} run {record.get('run')} ended{when}: {ending(record.get('status'))}"
        case "lost":
            lost = counted(int(record.get("bytes") or 0), "byte")
            reason = escaped(str(record.get("reason") or "nobody knows why"))
            return f"{instance} {escaped(str(record.get('stream')))}: {lost} lost{when}: {reason}"
        case "gap" if record.get("reason") == "ahead":
            return "nothing has that position yet; it begins with the oldest that is kept"
        case "gap":
            return "what came next is not kept any more; it goes on with the oldest that is"
        case _:
            return None


def warn(console: Console, record: Record) -> None:
    """Say on standard error what is missing; other events are not told there."""
    if record.get("event") in ("lost", "gap"):
        console.warning(words_of(record, utc=False) or "")


def warn_of_direct(console: Console, records: Sequence[Record]) -> None:
    """Say on standard error whose output is not captured, and where it is."""
    for record in records[:DIRECT_SHOWN]:
        files = record.get("files")
        places = dict.fromkeys(map(str, files.values())) if isinstance(files, dict) else {}
        console.warning(
            f"{record.get('instance')}: its output is not captured (logs.direct): {' and '.join(places)}"
        )
    more = len(records) - DIRECT_SHOWN
    if more > 0:
        console.warning(f"the output of {counted(more, 'more instance')} is not captured either")


def _for_terminal(text: str, record: Record) -> str:
    """The line without its app's colours and a carriage return before its end; all else is escaped."""
    plain = _COLOUR.sub("", text)
    return escaped_line(plain if record.get("more") else plain.removesuffix("\r"))


def _bytes_of(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "surrogatepass")

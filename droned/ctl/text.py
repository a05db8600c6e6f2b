"""Values as a person reads them: escaped texts, lengths of time, moments, and back.

Rules of this module: nothing that came from an app, a configuration or a peer
reaches a terminal before `escaped` has seen it; times are relative on a
terminal and RFC 3339 elsewhere, which is the caller's choice.
"""

from __future__ import annotations

from droned.errors import BadRequest

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def escaped(text: str) -> str:
    """`text` on one line with nothing in it that could move a cursor, hide or reverse what follows.

    Control characters, bidirectional marks, zero-width and unassigned ones and
    lone surrogates are written as `\\x1b`, `\\u202e` and the like.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escape(each) for each in text)


def escaped_line(line: str) -> str:
    """What an app wrote, `escaped` but for tabs; bytes that are no text (lone surrogates) as `\\xff`."""
    if line.isprintable():
        return line
    text = line.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "\t".join(map(escaped, text.split("\t")))


def escaped_json(text: str) -> str:
    """The same JSON, with what `escaped` would hide written as JSON's own escapes; line ends stay."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\r\t" else _json_escape(each) for each in text)


def _escape(character: str) -> str:
    code = ord(character)
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    if known:
        return known
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _json_escape(character: str) -> str:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{encoded[at]:02x}{encoded[at + 1]:02x}" for at in range(0, len(encoded), 2))


def width_of(text: str) -> int:
    """Columns that `text`, already escaped, takes on a terminal."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(
        0 if unicodedata.combining(each) else 2 if unicodedata.east_asian_width(each) in "WF" else 1
        for each in text
    )


def cut(text: str, width: int) -> str:
    """`text` in at most `width` columns, an ellipsis in place of what does not fit."""
    if width_of(text) <= width:
        return text
    if width < 1:
        return ""
    return _beginning(text, width - 1) + "…"


def folded(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces where there are any; nothing is lost."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        if line and width_of(line) + 1 + width_of(word) > width:
            lines.append(line.rstrip(" "))
            line = word
        else:
            line = f"{line} {word}" if line else word
        while width_of(line) > width:
            kept = _beginning(line, max(width, 2))
            lines.append(kept)
            line = line[len(kept) :]
    return [*lines, line] if line or not lines else lines


def _beginning(text: str, width: int) -> str:
    """As much of `text` as fits into `width` columns."""
    used = 0
    for place, each in enumerate(text):
        used += width_of(each)
        if used > width:
            return text[:place]
    return text


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `0.4s`, `12s`, `3m20s`, `3d4h`; a negative one is `0s`."""
    if seconds <= 0:
        return "0s"
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds:.1f}s"
    left = int(seconds)
    for place, (unit, size) in enumerate(_UNITS):
        if left >= size:
            more_unit, more_size = _UNITS[place + 1] if place + 1 < len(_UNITS) else ("", 1)
            more = left % size // more_size if more_unit else 0
            return f"{left // size}{unit}" + (f"{more}{more_unit}" if more else "")
    return "0s"


def seconds_of(text: str, what: str) -> float:
    """Seconds in `90`, `500ms`, `10s`, `5m`, `2h`, `30d` or a chain (`1h30m`); BadRequest names `what`."""
    import math
    import re

    sizes = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
    if re.fullmatch(r"(\d{1,9}(\.\d{1,6})?(ms|[smhd]))+", text, re.ASCII):
        parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text, re.ASCII)
        return math.fsum(float(number) * sizes[unit] for number, unit in parts)
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", text, re.ASCII):
        return float(text)
    raise BadRequest(f'cannot take "{escaped(text)}" as {what}: give a time such as 500ms, 10s, 5m or 2h')


def moment_of(text: str) -> float | None:
    """Wall seconds since the epoch of an RFC 3339 time with its zone; None for anything else."""
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.tzinfo is not None else None


def clock_time(text: str) -> str:
    """The local time of day of an RFC 3339 time, with the day unless that is today; else the text itself."""
    from datetime import datetime

    seconds = moment_of(text)
    if seconds is None:
        return escaped(text)
    there = datetime.fromtimestamp(seconds).astimezone()
    today = datetime.now(there.tzinfo).date()
    return there.strftime("%H:%M:%S" if there.date() == today else "%Y-%m-%d %H:%M:%S")


def utc_of_local(text: str) -> str | None:
    """The RFC 3339 time, in UTC, of a time of this machine's zone: `2026-11-27 14:00`, a day, a time of day.

    A time of day is the last one of it that there was. None for a time with a zone and for anything else.
    """
    import re
    from datetime import UTC, datetime, timedelta

    now = datetime.now().astimezone().replace(tzinfo=None)
    try:
        if re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d{1,6})?)?", text, re.ASCII):
            moment = datetime.fromisoformat(f"{now.date()}T{text}")
            if moment > now:
                moment -= timedelta(days=1)
        elif re.match(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            moment = datetime.fromisoformat(text)
        else:
            return None
    except ValueError:
        return None
    if moment.tzinfo is not None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def size(number: int) -> str:
    """Bytes as a person reads them: `512B`, `12.3K`, `180M`, in units of 1024."""
    if number < 1024:
        return f"{number}B"
    amount = float(number)
    for unit in "KMGT":
        amount /= 1024
        if amount < 999.5 or unit == "T":
            return f"{amount:.1f}{unit}" if amount < 99.95 else f"{amount:.0f}{unit}"
    raise AssertionError("the last unit takes all")


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 instance`, `3 instances`."""
    return f"{number} {one if number == 1 else many or one + 's'}"

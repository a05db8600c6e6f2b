"""Captured lines as a push to Loki, and what its answers mean.

    POST /loki/api/v1/push
    {"streams": [{"stream": {LABELS}, "values": [["NANOSECONDS", "TEXT"], …]}, …]}

Loki takes two lines of a stream with the same time and text for one: lines of
the same microsecond get nanoseconds one after the other.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from droned.protocols.captured import CapturedLine, clean_text, nanoseconds

LONGEST_WAIT_S = 300.0
"""So long a server can ask us to wait at most."""
MOST_SHOWN = 200


class Verdict(enum.Enum):
    """What the answer to a push means."""

    TAKEN = "taken"
    AGAIN = "again"
    """It could not be taken now: the same is sent once more."""
    REFUSED = "refused"
    """It will never be taken: it is dropped."""


def push(lines: Sequence[CapturedLine], server: str, labels: Mapping[str, str]) -> bytes:
    """The body of a push of these lines. ValueError for a line whose time is none."""
    streams: dict[tuple[str, str], list[tuple[str, str]]] = {}
    last: dict[tuple[str, str], int] = {}
    for line in lines:
        key = (line.instance, line.stream)
        at = max(nanoseconds(line.at), last.get(key, -1) + 1)
        last[key] = at
        streams.setdefault(key, []).append((str(at), clean_text(line.text)))
    told = [
        {"stream": _labels(instance, stream, server, labels), "values": values}
        for (instance, stream), values in streams.items()
    ]
    return msgspec.json.encode({"streams": told})


def _labels(instance: str, stream: str, server: str, labels: Mapping[str, str]) -> dict[str, str]:
    own = {"server": server, "app": instance.partition("/")[0], "instance": instance, "stream": stream}
    return {**labels, **own}


_REFUSED = (400, 413, 415, 422)
"""The push itself is at fault, and would be again. Any other answer can change: keys, addresses, load."""


def verdict(status: int) -> Verdict:
    """What an answer with this HTTP status means."""
    if 200 <= status < 300:
        return Verdict.TAKEN
    if status in _REFUSED:
        return Verdict.REFUSED
    return Verdict.AGAIN


def retry_after_s(value: bytes | None, now: float) -> float | None:
    """The seconds that a `Retry-After` asks for: a number, or a date; None for none that can be read."""
    text = (value or b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        wait_s = float(text[:9])
    else:
        try:
            at = parsedate_to_datetime(text)
        except ValueError:
            return None
        wait_s = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)


def reason(status: int, body: bytes) -> str:
    """An answer in words, for people: `429: ingestion rate limit exceeded`."""
    text = body[: 4 * MOST_SHOWN].decode("utf-8", "replace")
    shown = "".join(each if each.isprintable() else " " for each in text).strip()[:MOST_SHOWN]
    return f"{status}: {shown}" if shown else f"{status}"

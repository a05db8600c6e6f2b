"""The lines of droned's own log: of an event of the registry, and of what a logger was told.

As text, a line for people::

    2026-11-27T04:31:02.123Z web/0: crashed: killed by SIGSEGV [alice]
    2026-11-27T04:31:02.124Z warn: the reactor stood still for 130 ms, in …

As JSON, an object a line, valid whatever an app, a request or a plugin brought:

    {"at", "level", "service", "text", "version", "type", "subject", "actor", "cause", "data"}
        an event of the registry, in the words and with the facts that the API has for it
    {"at", "level", "service" or "namespace", "text", the facts by their names, "traceback"}
        what a logger was told; a fact whose name is taken has a `_` behind it

`service` is one of `droned.models.daemon_log.SERVICES`; what is of none of
them has its logger's namespace.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, cast

from msgspec import Struct
from twisted.logger import LogLevel, formatEvent
from twisted.python.reflect import safe_repr

from droned.journal.codec import encode
from droned.models.daemon_log import SERVICES
from droned.models.events import NO_FACTS, Event, EventType
from droned.services.supervision import SELF

GRAVITY: Mapping[EventType, str] = {
    EventType.INSTANCE_CRASHED: "warn",
    EventType.INSTANCE_FAILED: "error",
    EventType.INSTANCE_LOST: "warn",
    EventType.CONFIGURATION_REFUSED: "error",
    EventType.ISSUE_OPENED: "warn",
    EventType.SERVICE_FAILED: "error",
    EventType.GUARDIAN_REPLACED: "warn",
    EventType.JOURNAL_ERROR: "error",
}
"""The level of events that are more than `info`."""
LONGEST_FACT = 16_384
"""Characters of a fact that is no plain value, and of a text."""
NOT_FACTS = ("log_", "_")
"""What the names of an event's own members begin with."""

_SERVICE_OF = {namespace: name for name, spaces in SERVICES.items() for namespace in spaces}


class ILines(Protocol):
    """One way to write the log; every result is whole lines in UTF-8."""

    def events(self, events: Iterable[Event], at: float) -> bytes:
        """The events of a commit that was made at `at`."""
        ...

    def logged(self, event: Mapping[str, Any]) -> bytes:
        """What a logger was told."""
        ...

    def lost(self, count: int) -> bytes:
        """So many pieces could not be written."""
        ...


class TextLines:
    """A line for people; tracebacks are indented below it."""

    def events(self, events: Iterable[Event], at: float) -> bytes:
        """See `ILines`."""
        stamped = stamp(at)
        return _utf8("".join(f"{stamped} {line_of(event)}\n" for event in events))

    def logged(self, event: Mapping[str, Any]) -> bytes:
        """See `ILines`."""
        text = printable(formatEvent(cast(Any, event)) or "")
        failure = event.get("log_failure")
        if failure is not None:
            text += "\n  " + failure.getTraceback().rstrip().replace("\n", "\n  ")
        level = event.get("log_level") or LogLevel.info
        mark = "" if level is LogLevel.info else f"{level.name}: "
        return _utf8(f"{stamp(event['log_time'])} {mark}{text}\n")

    def lost(self, count: int) -> bytes:
        """See `ILines`."""
        return b"(droned: %d pieces of this log were lost, nobody took them)\n" % count


class JsonLines:
    """An object a line."""

    def events(self, events: Iterable[Event], at: float) -> bytes:
        """See `ILines`."""
        stamped = fine_stamp(at)
        told = [
            encode(
                _Told(
                    at=stamped,
                    level=GRAVITY.get(event.type, "info"),
                    service=service_of(event),
                    text=event.text,
                    version=event.version,
                    type=event.type,
                    subject=event.subject,
                    actor=event.actor,
                    cause=event.cause,
                    data=event.data,
                )
            )
            for event in events
        ]
        told.append(b"")
        return b"\n".join(told)

    def logged(self, event: Mapping[str, Any]) -> bytes:
        """See `ILines`."""
        namespace = str(event.get("log_namespace", ""))
        service = service_of_namespace(namespace)
        level = event.get("log_level") or LogLevel.info
        line: dict[str, object] = {
            "at": fine_stamp(event["log_time"]),
            "level": level.name,
            "service" if service else "namespace": service or namespace,
            "text": (formatEvent(cast(Any, event)) or "")[:LONGEST_FACT],
        }
        failure = event.get("log_failure")
        if failure is not None:
            line["traceback"] = failure.getTraceback().rstrip()
        if namespace != "log_legacy":  # its facts are its text in other shapes
            for name, value in event.items():
                if not name.startswith(NOT_FACTS):
                    line[f"{name}_" if name in _TAKEN else name] = plain(value)
        return encode(line) + b"\n"

    def lost(self, count: int) -> bytes:
        """See `ILines`."""
        text = f"{count} pieces of this log were lost, nobody took them"
        line = {"at": fine_stamp(time.time()), "level": "warn", "namespace": "droned", "text": text}
        return encode({**line, "lost": count}) + b"\n"


class _Told(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The line of an event of the registry; the order is that of the members."""

    at: str
    level: str
    service: str
    text: str
    version: int
    type: str
    subject: str
    actor: str
    cause: int
    data: Mapping[str, object] = NO_FACTS


_TAKEN = frozenset(("at", "level", "service", "namespace", "text", "traceback"))


def plain(value: object) -> object:
    """A fact as JSON has it: as it is where that can be, else as text, never longer than it may be."""
    match value:
        case None | bool():
            return value
        case str():
            return str(value)[:LONGEST_FACT]
        case int() if -(2**63) <= value < 2**63:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
    return safe_repr(value)[:LONGEST_FACT]


def service_of(event: Event) -> str:
    """The service that an event of the registry is of: the one that it is about, else supervision."""
    return event.subject if event.subject in SERVICES else "supervision"


def service_of_namespace(namespace: str) -> str:
    """The service whose logger has this namespace, or one above it; empty for none."""
    while namespace:
        found = _SERVICE_OF.get(namespace)
        if found is not None:
            return found
        namespace = namespace.rpartition(".")[0]
    return ""


def printable(text: str) -> str:
    """`text` with control characters escaped, so that no app can forge a line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def stamp(at: float) -> str:
    """A time of the log, UTC to the millisecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z"


def fine_stamp(at: float) -> str:
    """The same to the microsecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1_000_000):06d}Z"


def is_said_again(event: Event, events: Sequence[Event]) -> bool:
    """Whether it opens an issue in words that the other events of its commit have for the same subject."""
    if event.type is not EventType.ISSUE_OPENED:
        return False
    said = [
        each.text
        for each in events
        if each.type is not EventType.ISSUE_OPENED and each.subject == event.subject
    ]
    return all(any(line in text for text in said) for line in event.text.splitlines())


def line_of(event: Event) -> str:
    """One event of the registry as a line, with its actor unless that is droned itself."""
    who = "" if event.actor == SELF else f" [{event.actor}]"
    return printable(f"{event.subject}: {event.text}{who}")


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")

"""droned's own log: one line of text an event on standard output, through twisted.logger.

What happens to instances is told by the registry's events; this log says the
same in the same words, with what only concerns the daemon. A traceback goes
here and nowhere else. A log that cannot be written never stops the daemon.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Sequence
from typing import Any, cast

from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
from zope.interface import implementer

from droned.models.events import Event, EventType
from droned.models.registry import Commit
from droned.services.supervision import SELF


@implementer(ILogObserver)
class TextLog:
    """Writes what is of level info and above, one line each, tracebacks indented below."""

    def __init__(self, descriptor: int) -> None:
        """Over an open descriptor, which may be a file, a pipe or a terminal."""
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def __call__(self, event: dict[str, Any]) -> None:
        """Write one event; what cannot be written is dropped."""
        level = event.get("log_level") or LogLevel.info
        is_quiet = event.get("log_namespace", "").startswith(QUIET)
        if level < (LogLevel.warn if is_quiet else LogLevel.info):
            return
        text = printable(formatEvent(cast(Any, event)) or "")
        failure = event.get("log_failure")
        if failure is not None:
            text += "\n  " + failure.getTraceback().rstrip().replace("\n", "\n  ")
        mark = "" if level is LogLevel.info else f"{level.name}: "
        self._write(f"{stamp(event['log_time'])} {mark}{text}\n")

    def tell(self, commit: Commit) -> None:
        """Write a commit's events: one line each, all of them at once.

        Not by way of the logger, which takes longer for an event than the
        decision that it tells of.
        """
        if commit.events:
            at = stamp(commit.moment.wall)
            told = (event for event in commit.events if not is_said_again(event, commit.events))
            self._write("".join(f"{at} {line_of(event)}\n" for event in told))

    def _write(self, text: str) -> None:
        """Write what goes without waiting: a reader that does not read costs lines, not the daemon."""
        if self._lost:
            text = f"(droned: {self._lost} pieces of this log were lost, nobody took them)\n{text}"
        content = text.encode("utf-8", "backslashreplace")
        try:
            for at in range(0, len(content), PIECE_BYTES):
                if not self._poll.poll(0):
                    self._lost += 1
                    return
                os.write(self._descriptor, content[at : at + PIECE_BYTES])
        except (OSError, ValueError):
            return  # its reader is gone; the daemon's life does not hang on it
        self._lost = 0


PIECE_BYTES = 4096
"""PIPE_BUF: a pipe that takes anything takes so much without waiting."""
QUIET = ("twisted.", "log_legacy")
"""Namespaces of which only warnings and errors are of use here."""


def printable(text: str) -> str:
    """`text` with control characters escaped, so that no app can forge a line."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def stamp(at: float) -> str:
    """A time of the log, UTC to the millisecond."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03d}Z"


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


def begin_log(descriptor: int = 1) -> TextLog:
    """Send everything that is logged to `descriptor` (standard output) from now on."""
    log = TextLog(descriptor)
    globalLogBeginner.beginLoggingTo([log], redirectStandardIO=False, discardBuffer=True)
    return log

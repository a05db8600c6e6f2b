"""Captured output as the API gives it: read as it comes, resumed exactly where it broke off.

A daemon that is replaced ends the answer; its successor goes on behind the last
position seen, in history as in following. What the reader of this module gets
has nothing twice, and no hole that it is not told of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from droned.ctl.api import BASE, problem_of, query_of
from droned.ctl.failures import ConnectionLost, Incomprehensible, Unreachable
from droned.ctl.following import QUIET_S, Absence, notices
from droned.ctl.session import REPLACED_S, Session
from droned.errors import BadRequest, Busy, DronedError, ShuttingDown

SEARCH_S = 3600.0
"""Seconds that a search of history may take until its next line; heartbeats come only behind it."""
MOST_BROKEN = 20
"""Answers in a row that broke off within `SOON_S` and without anything new, after which it is no use."""
SOON_S = 2.0

Record = dict[str, Any]
Query = Sequence[tuple[str, object]]


class Told(NamedTuple):
    """One line of an answer."""

    text: bytes
    """As it came."""
    record: Record

    @property
    def event(self) -> str | None:
        """Which event it is; None for captured output."""
        return self.record.get("event")


def told_of(session: Session, query: Query, *, follow: bool = False) -> Generator[list[Told], None, None]:
    """What answers `query` (the parameters of `GET /logs` but `follow`), in batches as it comes.

    Heartbeats are left out; `caught_up` is given once and `end` last, which `follow` has none of. Raises
    BadRequest for a question that cannot be answered, Busy when too many ask already, Unreachable when the
    daemon stays away, TimedOut at the session's deadline.
    """
    connection = session.connection()
    absence = Absence(session, notices(session, "the output"), REPLACED_S)
    progress = _Progress()
    while True:
        asked = progress.resumed(query)
        try:
            answer, batches = connection.batches(
                f"{BASE}/logs{query_of([*asked, ('follow', 'true' if follow else None)])}",
                headers={"Accept": "application/x-ndjson"},
                quiet_s=SEARCH_S,
                tick_s=QUIET_S,
                deadline=session.deadline,
            )
            if answer.status != 200:
                raise problem_of(answer)
            absence.end()
            progress.begin_answer()
            with closing(batches):
                for batch in batches:
                    if not batch and progress.has_caught_up:
                        raise ConnectionLost(f"cannot follow: nothing came for {QUIET_S:g} s")
                    told = progress.taken(batch)
                    if told:
                        yield told
                    if progress.has_ended:
                        return
            raise ConnectionLost("cannot go on: the answer ended in its middle")
        except (Unreachable, ShuttingDown, Busy) as gone:
            absence.bear(gone)
        connection.close()
        absence.pause()


class _Progress:
    """How far the answers have been read."""

    def __init__(self) -> None:
        self.position: int | None = None
        self.has_caught_up = False
        self.has_ended = False
        self._broken = 0
        self._began = 0.0
        self._told_caught_up = False
        self._direct: list[Record] = []
        """Events about instances that are not captured: every answer begins with them."""
        self._events_here: list[Record] = []
        """Events and cut off lines at `position`: an answer that goes on behind it may tell them again."""

    def begin_answer(self) -> None:
        """Another answer begins."""
        self.has_caught_up = False
        now = time.monotonic()
        self._broken = self._broken + 1 if now - self._began < SOON_S else 0
        self._began = now
        if self._broken > MOST_BROKEN:
            raise DronedError("cannot read the output: every answer breaks off at once")

    def resumed(self, query: Query) -> Query:
        """The same question for what is still to come."""
        if self.position is None:
            return query
        kept = [(name, value) for name, value in query if name not in ("after", "since", "last")]
        return [*kept, ("after", self.position)]

    def taken(self, batch: Sequence[bytes]) -> list[Told]:
        """What is new in these lines."""
        found: list[Told] = []
        for line, record in zip(batch, _records_of(batch), strict=True):
            position = record.get("position")
            if "line" in record and "partial" not in record:
                self.position = position
                found.append(Told(line, record))
                continue
            if "error" in record:
                raise BadRequest(str(record["error"]))
            if position is not None and position != self.position:
                self.position = int(position)
                self._events_here.clear()
            match record.get("event"):
                case "caught_up":
                    self.has_caught_up = True
                    if not self._told_caught_up:
                        self._told_caught_up = True
                        found.append(Told(line, record))
                case "end":
                    self.has_ended = True
                    found.append(Told(line, record))
                case event:
                    known = self._direct if event == "direct" else self._events_here
                    if record not in known:
                        known.append(record)
                        found.append(Told(line, record))
        if found:
            self._broken = 0
        return found


def _records_of(batch: Sequence[bytes]) -> list[Record]:
    """What the lines say, checked."""
    try:
        # All at once: half the time of one by one.
        records: list[Record] = json.loads(b"[" + b",".join(batch) + b"]")
    except ValueError:
        records = []
    if len(records) != len(batch):
        raise Incomprehensible("cannot understand the output: a line of the answer is not a JSON object")
    for record in records:
        if not isinstance(record, dict):
            raise Incomprehensible("cannot understand the output: a line of the answer is not a JSON object")
        if "line" not in record:
            is_right = isinstance(record.get("position", 0), int)
        else:
            is_right = (
                isinstance(record.get("position"), int)
                and isinstance(record["line"], str)
                and isinstance(record.get("instance"), str)
                and isinstance(record.get("stream"), str)
                and isinstance(record.get("at"), str)
            )
        if not is_right:
            raise Incomprehensible(
                "cannot understand the output: a line of the answer lacks what it must have"
            )
    return records

"""The stream of events: read as it comes, resumed exactly where it broke off.

A daemon that is replaced ends the stream; its successor continues it from the
last event seen, out of its journal. What the reader of this module gets has
nothing twice, and no hole that it is not told of.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from droned.ctl.api import BASE, problem_of, query_of
from droned.ctl.failures import Incomprehensible, TimedOut, Unreachable
from droned.ctl.session import Session
from droned.errors import DronedError, ShuttingDown

QUIET_S = 40.0
"""Seconds without even a heartbeat (every 15 s) after which a daemon counts as gone."""
PATIENCE_S = 30.0
"""Seconds for which a daemon that went away is asked again."""
PAUSE_S = 0.1

Event = dict[str, Any]


def events_of(
    session: Session,
    *,
    since: str | None = None,
    types: Sequence[str] = (),
    targets: Sequence[str] = (),
    tick_s: float | None = None,
    on_away: Callable[[bool], None] | None = None,
) -> Generator[Event | None, None, None]:
    """The events after `since` (a position; None: from now on), and on and on as they happen.

    None stands for "nothing happened for `tick_s`" and for "the stream stands":
    one comes as soon as nothing that happens from then on can be missed. `on_away`
    is called with True when the daemon went away and with False when it is back;
    without it that is said as a notice. Raises Unreachable when it stays away, and
    TimedOut at the session's deadline.
    """
    connection = session.connection()
    position = since
    absence = Absence(session, on_away or notices(session, "the stream"))
    while True:
        query = [
            ("since", position),
            ("follow", 1),
            *(("type", each) for each in types),
            *(("target", each) for each in targets),
        ]
        try:
            answer, lines = connection.lines(
                f"{BASE}/events{query_of(query)}",
                headers={"Accept": "application/x-ndjson"},
                quiet_s=QUIET_S,
                tick_s=tick_s,
                deadline=session.deadline,
            )
            if answer.status != 200:
                raise problem_of(answer)
            absence.end()
            with closing(lines):
                for line in lines:
                    event = _event_of(line) if line else None
                    if event is None:
                        yield None
                    elif event.get("type") == "sync":
                        if position is None and event.get("version") is not None:
                            position = str(event["version"])
                        yield None
                    elif event.get("type") == "gap":
                        position = _behind_gap(session, event, position)
                        yield None
                    elif event.get("type") != "heartbeat":
                        position = str(event.get("id") or position)
                        yield event
        except (Unreachable, ShuttingDown) as gone:
            absence.bear(gone)
        connection.close()
        absence.pause()
        yield None


class Absence:
    """A daemon that went away in the middle of a stream: told once, and borne for `PATIENCE_S`."""

    def __init__(self, session: Session, tell: Callable[[bool], None], patience_s: float = 0.0) -> None:
        """`tell` is called with True when the daemon went away and with False when it is back.

        A socket on which nobody listens is asked again for `patience_s` seconds before there was any answer.
        """
        self._session = session
        self._tell = tell
        self._first_until = time.monotonic() + patience_s
        self._since: float | None = None
        self._has_been_there = False

    def end(self) -> None:
        """It answers."""
        self._has_been_there = True
        if self._since is not None:
            self._since = None
            self._tell(False)

    def bear(self, gone: DronedError) -> None:
        """Take that it is away; raises when it was never there, or stays away for too long."""
        now = time.monotonic()
        if not self._has_been_there:
            if not gone.facts.get("refused") or now >= self._first_until:
                raise gone
        elif self._since is None:
            self._since = now
            self._tell(True)
        elif now - self._since > PATIENCE_S:
            raise Unreachable(f"{gone}; it stayed away for {PATIENCE_S:g} s") from gone

    def pause(self) -> None:
        """Wait a little before it is asked again; TimedOut at the session's deadline."""
        if self._session.deadline is not None and time.monotonic() > self._session.deadline:
            raise TimedOut("cannot wait any longer: the time is over")
        time.sleep(PAUSE_S)


def _behind_gap(session: Session, gap: Event, position: str | None) -> str | None:
    """Where the stream goes on behind a gap.

    One without an end means that we read too slowly: the stream ends, and the next
    one misses nothing. One with an end is a hole that nobody can fill any more.
    """
    until = gap.get("until")
    if until is None:
        return position
    session.console.warning(
        f"what happened after version {gap.get('after')} until {until} is not kept any more"
    )
    return str(until)


def _event_of(line: bytes) -> Event:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise Incomprehensible("cannot understand the stream of events: a line is not a JSON object")
    return event


def notices(session: Session, what: str) -> Callable[[bool], None]:
    """What is said of a daemon that goes and comes back while `what` is read."""

    def tell(is_away: bool) -> None:
        session.console.notice(
            f"the daemon is away; {what} goes on when it is back" if is_away else "the daemon answers again"
        )

    return tell

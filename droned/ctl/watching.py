"""`dronectl status --watch`: the table drawn again whenever something happens, and never stale in silence."""

from __future__ import annotations

import os
import time
from typing import Any

from droned.ctl.failures import Unreachable
from droned.ctl.following import events_of
from droned.ctl.session import ANSWER_S, Session
from droned.ctl.status import Choice, open_issues, rows_of, screen
from droned.ctl.text import duration

TICK_S = 1.0
"""Relative times move on, and a lost daemon's age grows, even when nothing happens."""
AT_LEAST_S = 0.2
"""A storm of events is drawn at most so often."""
BEGIN = "\x1b[?1049h\x1b[?25l"
END = "\x1b[?25h\x1b[?1049l"
HOME = "\x1b[H"
CLEAR_LINE = "\x1b[K"
CLEAR_BELOW = "\x1b[J"


def watch_status(session: Session, choice: Choice) -> int:
    """Draw until interrupted (or `--timeout` is over, which is no failure here)."""
    watch = _Watch(session, choice)
    watch.fetch()  # an unknown target or no daemon is told before the screen is taken
    session.console.write(BEGIN)
    try:
        watch.draw()
        for event in events_of(session, targets=choice.targets, tick_s=TICK_S, on_away=watch.set_away):
            watch.turn(has_news=event is not None)
    finally:
        session.console.write(END)
        session.console.flush()
    return 0


class _Watch:
    """What is on the screen."""

    def __init__(self, session: Session, choice: Choice) -> None:
        self._session = session
        self._choice = choice
        self._api = session.asking()
        self._body: dict[str, Any] = {}
        self._issues: int | None = None
        self._fetched = 0.0
        self._is_old = False
        self._away_since: float | None = None

    def set_away(self, is_away: bool) -> None:
        """The daemon went away or came back; what is shown may be old then."""
        self._away_since = time.monotonic() if is_away else None
        self._is_old = True

    def fetch(self) -> None:
        """Ask for the instances as they are now."""
        self._api.deadline = time.monotonic() + ANSWER_S
        targets = [("target", target) for target in self._choice.targets]
        self._body = self._api.get("/instances", targets).document()
        self._issues = open_issues(self._api) if self._session.headers else None
        self._fetched = time.monotonic()
        self._is_old = False

    def turn(self, *, has_news: bool) -> None:
        """Something happened, or a tick went by."""
        self._is_old = self._is_old or has_news
        is_due = time.monotonic() - self._fetched >= AT_LEAST_S
        if has_news and not is_due:
            return
        if self._is_old and self._away_since is None:
            try:
                self.fetch()
            except Unreachable:
                self._is_old = True
        self.draw()

    def draw(self) -> None:
        """Put the table on the screen; rows that do not fit are counted, not dropped in silence."""
        console = self._session.console
        freshness = "live"
        if self._away_since is not None:
            age = duration(time.monotonic() - self._away_since)
            freshness = console.painted(f"stale: the daemon is away since {age}", "red")
        rows = self._choice.of(rows_of(self._body))
        *table, last = screen(self._session, self._choice, self._body, rows, self._issues, freshness) or [""]
        if not self._session.headers:
            table, last = [*table, last], ""
        height = os.get_terminal_size(console.out.fileno()).lines
        room = max(1, height - 2)
        if len(table) > room:
            table = [*table[: room - 1], f"… {len(table) - room + 1} more lines; make the terminal taller"]
        text = "".join(f"{line}{CLEAR_LINE}\r\n" for line in [*table, last] if line)
        console.write(f"{HOME}{text}{CLEAR_BELOW}")
        console.flush()

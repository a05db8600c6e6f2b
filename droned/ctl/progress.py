"""What is seen while a command waits: each instance's way through its states, on standard error.

On a terminal there is one line an instance, growing as it goes; more instances
than the terminal has lines for are told by one line of numbers. Elsewhere each
change of a state is a plain line of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from droned.ctl.console import Console
from droned.ctl.listing import counts
from droned.ctl.text import cut, duration, escaped

PASSING = ("starting", "stopping", "waiting", "backoff")
"""States that something follows; an ellipsis stands behind them."""
SPARE_LINES = 2
CLEAR_BELOW = "\x1b[J"


class Progress:
    """The trail of every instance that a command is about."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._trails: dict[str, list[str]] = {}
        self._states: dict[str, str] = {}
        self._drawn = 0
        """Lines of ours above the cursor."""
        console.before_saying = self._erase

    @property
    def is_drawn(self) -> bool:
        """Whether the reader of standard output has seen the trails, being the reader of the terminal."""
        return self._draws and self._console.is_terminal

    @property
    def _draws(self) -> bool:
        return self._console.can_redraw and not self._console.quiet

    def show(self, rows: Sequence[Mapping[str, Any]], elapsed_s: float) -> None:
        """Take the instances as they are now, and show what is new."""
        news = []
        for row in rows:
            key, state = str(row.get("instance")), str(row.get("state"))
            if self._states.get(key) == state:
                continue
            self._states[key] = state
            self._trails.setdefault(key, []).append(state)
            news.append(f"{key}: {state}{_pid(row)}")
        if self._draws:
            self._draw(rows, elapsed_s)
        else:
            for line in news:
                self._console.notice(line)

    def _draw(self, rows: Sequence[Mapping[str, Any]], elapsed_s: float) -> None:
        columns, height = self._console.err_size()
        if len(self._trails) > height - SPARE_LINES:
            lines = [cut(f"{counts(rows)} ({duration(elapsed_s)})", columns - 1)]
        else:
            widest = max((len(escaped(key)) for key in self._trails), default=0)
            lines = [self._line(key, widest, columns) for key in self._trails]
        self._erase()
        self._console.err.write("".join(f"{line}\n" for line in lines))
        self._console.err.flush()
        self._drawn = len(lines)

    def _erase(self) -> None:
        """Take the drawing away; what is written next stands in its place."""
        if self._drawn:
            self._console.flush()
            self._console.err.write(f"\x1b[{self._drawn}A\r{CLEAR_BELOW}")
            self._drawn = 0

    def _line(self, key: str, widest: int, columns: int) -> str:
        head = f"{escaped(key):{widest}}  "
        states = self._trails[key]
        # A trail that grew too long for its line forgets its beginning: it must never wrap.
        while len(states) > 1 and len(head) + len(_trail(states, str)) >= columns:
            states = states[1:]
        if len(head) + len(_trail(states, str)) >= columns:
            return cut(head + _trail(states, str), columns - 1)
        return head + _trail(states, lambda state: self._console.state(state, err=True))


def _trail(states: Sequence[str], painted: Any) -> str:
    return "".join(
        painted(escaped(state)) + (" … " if state in PASSING else "  ") for state in states
    ).rstrip()


def _pid(row: Mapping[str, Any]) -> str:
    return f" (pid {row['pid']})" if row.get("state") == "running" and row.get("pid") is not None else ""

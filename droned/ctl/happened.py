"""Events as lines: when, what, to whom, in which words, by whose order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from droned.ctl.console import Console
from droned.ctl.table import render
from droned.ctl.text import clock_time, escaped

NAMES = ("VERSION", "AT", "TYPE", "SUBJECT", "TEXT")
_BAD = ("crashed", "failed", "lost", "refused", "error")
FIRST_WIDTHS = (8, 8, 18, 12)
"""Widths that a stream starts with, since nobody knows yet what will come."""


def cells_of(event: Mapping[str, Any], console: Console) -> list[str]:
    """One event's cells, escaped; the actor stands behind the text unless it is droned itself."""
    at = str(event.get("at") or "")
    text = escaped(str(event.get("text") or ""))
    actor = escaped(str(event.get("actor") or ""))
    by = f" (by {actor})" if actor and actor != "droned" and f"by {actor}" not in text else ""
    return [
        str(event.get("version")),
        clock_time(at) if console.is_terminal else escaped(at),
        escaped(str(event.get("type"))),
        escaped(str(event.get("subject"))),
        text + by,
    ]


def painted_type(console: Console, name: str, text: str) -> str:
    """The painter of tables of events: what went wrong is red."""
    return console.painted(text, "red") if name == "TYPE" and text.endswith(_BAD) else text


def event_table(
    events: Sequence[Mapping[str, Any]],
    console: Console,
    *,
    with_names: bool,
    folds: bool = False,
    indent: int = 0,
    last_mark: str = "",
    below: Mapping[int, Sequence[str]] | None = None,
) -> list[str]:
    """All the events as one table; `last_mark` stands behind the text of the last.

    `folds` and `below` as in `render`; `indent` is how many columns the caller puts before each line.
    """
    cells = [cells_of(event, console) for event in events]
    if last_mark:
        cells[-1][-1] += last_mark
    width = console.width()
    return render(
        NAMES,
        cells,
        with_names=with_names,
        width=None if width is None else width - indent,
        paint=lambda name, text: painted_type(console, name, text),
        folds=folds,
        below=below,
    )


class EventLines:
    """Events one by one as they come, in columns that widen as they need to."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._widths = list(FIRST_WIDTHS)

    def line(self, event: Mapping[str, Any]) -> str:
        """The event's line."""
        *cells, last = cells_of(event, self._console)
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]
        padded = [cell.ljust(width) for cell, width in zip(cells, self._widths, strict=True)]
        padded[2] = painted_type(self._console, "TYPE", cells[2]) + padded[2][len(cells[2]) :]
        return "  ".join([*padded, last])

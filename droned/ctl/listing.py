"""The table of instances: what each column says, in which order, and the line below it.

A new column is a new row of `COLUMNS` and of the documentation's table. Every
text of a row is escaped here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from droned.ctl.console import Console
from droned.ctl.table import GAP, render
from droned.ctl.text import clock_time, counted, duration, escaped, moment_of, width_of
from droned.errors import BadRequest

Row = Mapping[str, Any]
"""An instance as the API gives it."""

FORMATS = ("table", "wide", "json", "jsonl", "name")
NARROW = ("INSTANCE", "STATE", "READY", "PID", "UP", "RESTARTS", "NOTE")
WIDE = (
    *("INSTANCE", "STATE", "READY", "PID", "UP", "RESTARTS"),
    *("WANTED", "ENABLED", "RUN", "REVISION", "EXIT", "SINCE", "NOTE"),
)
NEEDS_A_LOOK = ("backoff", "failed", "unknown")


class View:
    """How times are shown: relative to `now` (wall seconds), or, when that is None, as RFC 3339."""

    __slots__ = ("now",)

    def __init__(self, now: float | None) -> None:
        self.now = now

    def since(self, text: object) -> str:
        """How long ago a moment was, or the moment."""
        return self._shown(text, 1.0)

    def until(self, text: object) -> str:
        """`in 12s`, or `at` the moment; nothing for no moment."""
        shown = self._shown(text, -1.0)
        return shown and f"{'at' if self.now is None else 'in'} {shown}"

    def _shown(self, text: object, sign: float) -> str:
        if not isinstance(text, str):
            return ""
        if self.now is None:
            return escaped(text)
        moment = moment_of(text)
        return escaped(text) if moment is None else duration(sign * (self.now - moment))


def ready_word(row: Row) -> str:
    """`yes`, `no`, or nothing where the question makes no sense: not known, or no process."""
    if row.get("pid") is None or row.get("ready") is None:
        return ""
    return "yes" if row["ready"] else "no"


def note_of(row: Row, view: View) -> str:
    """What a person should know: the note, how it ended if that is why it does not run, the next start."""
    parts = [escaped(str(row.get("note") or ""))]
    ended = exit_reason(row)
    if ended and row.get("state") in (*NEEDS_A_LOOK, "exited") and ended not in parts[0]:
        parts.append(ended)
    if row.get("next_start_at") is not None:
        parts.append(f"retry {view.until(row['next_start_at'])}")
    return "; ".join(part for part in parts if part)


def exit_reason(row: Row) -> str:
    """How the last run ended, in words; nothing when none has."""
    ended = row.get("exit")
    return escaped(str(ended.get("reason") or "")) if isinstance(ended, dict) else ""


def _plain(name: str) -> Callable[[Row, View], str]:
    return lambda row, view: "" if row.get(name) is None else escaped(str(row[name]))


def _yes_no(name: str) -> Callable[[Row, View], str]:
    return lambda row, view: "" if row.get(name) is None else "yes" if row[name] else "no"


def _up(row: Row, view: View) -> str:
    return "" if row.get("pid") is None else view.since(row.get("started_at"))


COLUMNS: Mapping[str, Callable[[Row, View], str]] = {
    "INSTANCE": _plain("instance"),
    "APP": _plain("app"),
    "LABEL": _plain("label"),
    "SERVER": _plain("server"),
    "STATE": _plain("state"),
    "READY": lambda row, view: ready_word(row),
    "PID": _plain("pid"),
    "UP": _up,
    "RESTARTS": _plain("restarts"),
    "WANTED": _plain("wanted"),
    "ENABLED": _yes_no("enabled"),
    "RUN": _plain("run"),
    "REVISION": _plain("revision"),
    "EXIT": lambda row, view: exit_reason(row),
    "SINCE": lambda row, view: view.since(row.get("since")),
    "NEXT": lambda row, view: view.until(row.get("next_start_at")),
    "NOTE": note_of,
}

_SORTED_BY: Mapping[str, str] = {"UP": "started_at", "SINCE": "since", "NEXT": "next_start_at"}
"""Columns whose text does not sort as their value does: the row's member that does."""


def columns_of(text: str) -> tuple[str, ...]:
    """The columns that `--columns a,b` names, in any case; BadRequest for an unknown one."""
    names = tuple(name.strip().upper() for name in text.split(","))
    for name in names:
        if name not in COLUMNS:
            raise BadRequest(f'cannot show column "{escaped(name)}"; there are: {",".join(COLUMNS).lower()}')
    return names


def is_bad(row: Row) -> bool:
    """Whether `--failed` shows it: waiting for its next try, given up, lost, or ended with a failure."""
    if row.get("state") in NEEDS_A_LOOK:
        return True
    ended = row.get("exit")
    return row.get("state") == "exited" and isinstance(ended, dict) and ended.get("code") != 0


def ordered(rows: Sequence[Row], column: str) -> list[Row]:
    """The rows by a column's value, numbers as numbers; `-COLUMN` is the other way round; unknown last."""
    name = columns_of(column.removeprefix("-"))[0]
    member = _SORTED_BY.get(name)
    rfc = View(None)

    def key(row: Row) -> tuple[int, str]:
        text = str(row.get(member) or "") if member else COLUMNS[name](row, rfc)
        return (int(text), "") if text.isdecimal() else (0, text)

    def is_known(row: Row) -> bool:
        return bool(row.get(member) if member else COLUMNS[name](row, rfc))

    known = sorted(filter(is_known, rows), key=key, reverse=column.startswith("-"))
    return [*known, *(row for row in rows if not is_known(row))]


def table_of(
    rows: Sequence[Row],
    names: Sequence[str],
    console: Console,
    *,
    with_names: bool = True,
) -> list[str]:
    """The lines of the table, coloured and cut as the console can show them."""
    view = View(time.time() if console.is_terminal else None)
    show = [COLUMNS[name] for name in names]

    def paint(name: str, text: str) -> str:
        return console.state(text) if name == "STATE" else text

    return render(
        names,
        ([cell(row, view) for cell in show] for row in rows),
        with_names=with_names,
        width=console.width(),
        paint=paint if console.colours else None,
    )


def counts(rows: Sequence[Row]) -> str:
    """`3 instances: 1 running, 2 stopped`, the states by how many there are of each."""
    by_state: dict[str, int] = {}
    for row in rows:
        state = escaped(str(row.get("state")))
        by_state[state] = by_state.get(state, 0) + 1
    parts = [f"{number} {state}" for state, number in sorted(by_state.items(), key=lambda item: -item[1])]
    return counted(len(rows), "instance") + (": " + ", ".join(parts) if parts else "")


def footer(
    rows: Sequence[Row],
    body: Mapping[str, Any],
    issues: int | None,
    console: Console,
    freshness: str = "live",
) -> str:
    """Below the table: how many in which state, open issues, and how old what is shown is."""
    left = counts(rows)
    if issues:
        left += f"; {counted(issues, 'open issue')}: see dronectl issues"
    at = str(body.get("at") or "")
    if console.is_terminal:
        moment = moment_of(at)
        age = f" ({duration(time.time() - moment)} ago)" if moment is not None else ""
        right = f"version {body.get('version')} of {clock_time(at)}{age}, {freshness}"
    else:
        right = f"version {body.get('version')} of {escaped(at)}, {freshness}"
    width = console.width() or 0
    return left + " " * max(len(GAP), width - width_of(left) - width_of(right)) + right

"""`dronectl describe`: all that is known about an instance, on one page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from droned.ctl.console import Console
from droned.ctl.happened import event_table
from droned.ctl.listing import View, exit_reason, ready_word
from droned.ctl.naming import paths_of
from droned.ctl.options import targets_argument, verb
from droned.ctl.session import Session
from droned.ctl.table import render
from droned.ctl.tails import marked
from droned.ctl.text import escaped
from droned.ctl.verbs.issues import issue_lines

INDENT = "  "
LAST_LINES_OF = 2
"""Runs that failed whose last lines are shown."""


@verb("describe")
@targets_argument(required=True)
def command(session: Session, targets: tuple[str, ...]) -> int:
    """Show all that is known about instances: state, configuration, issues, last exits and events."""
    api = session.asking()
    # All of it is asked for before any of it is printed: a failure leaves standard output empty.
    for number, answer in enumerate([api.get(path) for path in paths_of(api, targets)]):
        if session.output == "json":
            session.console.raw(answer.body)
            continue
        if number:
            session.console.data([""])
        session.console.data(page(answer.document(), session.console))
    return 0


def page(body: Mapping[str, Any], console: Console) -> list[str]:
    """The lines of one instance's page."""
    view = View(time.time() if console.is_terminal else None)
    row: Mapping[str, Any] = body.get("instance") or {}
    lines = [
        console.painted(escaped(str(row.get("instance"))), "bold") + f" on {escaped(str(body.get('server')))}"
    ]
    lines += _members(_instance(row, view, console))
    app: Mapping[str, Any] = body.get("app") or {}
    lines += ["", f"app {escaped(str(row.get('app')))}, {escaped(str(app.get('origin') or 'no file'))}"]
    lines += _members([("revision", escaped(str(app.get("revision")))), *_spec(app.get("spec") or {})])
    logs = body.get("logs")
    if isinstance(logs, dict):
        lines += ["", "output", *_members((name, escaped(str(path))) for name, path in logs.items())]
    issues = body.get("issues") or []
    if issues:
        lines += ["", console.painted("issues", "red")]
        lines += [INDENT + line for issue in issues for line in issue_lines(issue, view)]
    exits = body.get("exits") or []
    if exits:
        cells = [
            [_text(each.get("run")), view.since(each.get("at")), _text(each.get("reason"))] for each in exits
        ]
        width = console.width()
        table = render(
            ("RUN", "AT", "REASON"),
            cells,
            width=None if width is None else width - len(INDENT),
            folds=True,
            below=_last_lines(exits),
        )
        lines += ["", "last exits", *_indented(table)]
    events = body.get("events") or []
    if events:
        table = event_table(events, console, with_names=True, folds=True, indent=len(INDENT))
        lines += ["", "last events", *_indented(table)]
    lines += ["", f"version {body.get('version')} of {view.since(body.get('at'))}" + _ago(view)]
    return lines


def _last_lines(exits: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """What the newest runs that failed wrote last, by the number of the exit."""
    kept = [number for number, each in enumerate(exits) if each.get("last_lines")]
    return {number: marked(exits[number]["last_lines"]) for number in kept[-LAST_LINES_OF:]}


def _instance(row: Mapping[str, Any], view: View, console: Console) -> Iterator[tuple[str, str]]:
    ready = {"yes": ", ready", "no": ", not ready"}.get(ready_word(row), "")
    since = view.since(row.get("since"))
    yield (
        "state",
        console.state(_text(row.get("state"))) + ready + (f", since {since}{_ago(view)}" if since else ""),
    )
    yield "wanted", _text(row.get("wanted")) + (", enabled" if row.get("enabled") else ", disabled")
    if row.get("pid") is not None:
        started = f"started {view.since(row.get('started_at'))}{_ago(view)}"
        yield "process", f"pid {row['pid']}, run {row.get('run')}, {started}"
    else:
        yield "process", f"none; {row.get('run')} runs so far"
    yield "restarts", _text(row.get("restarts"))
    if exit_reason(row):
        yield "last exit", f"{exit_reason(row)}, {view.since(row['exit'].get('at'))}{_ago(view)}"
    if row.get("next_start_at"):
        yield "next start", view.until(row["next_start_at"])
    if row.get("note"):
        yield "note", _text(row["note"])


def _spec(spec: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """What is configured, nested keys joined by dots, values as JSON; what is not set is left out."""
    for name, value in spec.items():
        if value is None or value in ({}, []):
            continue
        if isinstance(value, dict):
            yield from _spec(value, f"{prefix}{name}.")
        else:
            yield (
                escaped(prefix + name),
                escaped(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)),
            )


def _members(pairs: Any) -> list[str]:
    listed = list(pairs)
    widest = max((len(name) for name, _ in listed), default=0)
    return [f"{INDENT}{name:{widest}}  {value}" for name, value in listed]


def _indented(lines: list[str]) -> list[str]:
    return [INDENT + line for line in lines]


def _ago(view: View) -> str:
    return " ago" if view.now is not None else ""


def _text(value: object) -> str:
    return "-" if value is None else escaped(str(value))

"""`dronectl events`: what happened, and with -f what happens."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from droned.ctl.api import Api
from droned.ctl.connection import Answer
from droned.ctl.following import Event, events_of
from droned.ctl.happened import EventLines, event_table
from droned.ctl.options import targets_argument, verb
from droned.ctl.positions import position_of
from droned.ctl.session import Session

PAGE = 1_000
LAST = 100
"""Events that are shown when nobody says since when or how many."""


@verb("events", formats=("table", "jsonl", "json"))
@targets_argument()
@click.option("-f", "--follow", is_flag=True, help="Go on as they happen, also over a daemon's restart.")
@click.option(
    "--since", metavar="WHEN", help="Behind a version or event id, or from a time: 10m, 2h, RFC 3339."
)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; repeatable.")
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="At most so many, the last ones. [default: 100, with --since all]",
)
def command(
    session: Session,
    targets: tuple[str, ...],
    follow: bool,
    since: str | None,
    types: tuple[str, ...],
    limit: int | None,
) -> int:
    """Show what happened, oldest first; with -f what happens from now on, or since a place.

    -o json prints them as the API gives them, a page a line; -o jsonl prints
    an event a line, as does -f.
    """
    api = session.asking()
    position = position_of(api, since) if since else None
    if follow:
        api.connection.close()
        return _follow(session, targets, types, position)
    if session.output == "json":
        for page in list(_pages(api, targets, types, position, limit)):
            session.console.raw(page.body)
        return 0
    events: list[Event] = []
    for page in _pages(api, targets, types, position, limit):
        found: Any = page.document().get("events") or []
        events += found
    if limit is not None:
        events = events[-limit:]
    if session.output == "jsonl":
        for event in events:
            session.console.raw(json.dumps(event, separators=(",", ":")).encode())
    else:
        session.console.data(event_table(events, session.console, with_names=session.headers))
    return 0


def _pages(
    api: Api,
    targets: tuple[str, ...],
    types: tuple[str, ...],
    position: str | None,
    limit: int | None,
) -> Iterator[Answer]:
    """The answers with the last events, or with all behind `position` until now."""
    wanted = [*(("type", each) for each in types), *(("target", each) for each in targets)]
    if position is None:
        yield api.get("/events", [("limit", limit or LAST), *wanted])
        return
    while True:
        page = api.get("/events", [("since", position), ("limit", PAGE), *wanted])
        yield page
        body: dict[str, Any] = page.document()
        behind = body.get("next")
        if len(body.get("events") or []) < PAGE or not isinstance(behind, str) or behind == position:
            return
        position = behind


def _follow(session: Session, targets: tuple[str, ...], types: tuple[str, ...], position: str | None) -> int:
    """Print events as they come, until interrupted."""
    lines = EventLines(session.console)
    for event in events_of(session, since=position, types=types, targets=targets):
        if event is None:
            continue
        if session.output == "table":
            session.console.data([lines.line(event)])
        else:
            session.console.raw(json.dumps(event, separators=(",", ":")).encode())
        session.console.flush()
    return 0

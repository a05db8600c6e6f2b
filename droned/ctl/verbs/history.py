"""`dronectl history`: what happened to instances, from the journal."""

from __future__ import annotations

from typing import Any

import click

from droned.ctl.connection import Answer
from droned.ctl.happened import event_table
from droned.ctl.naming import paths_of
from droned.ctl.options import targets_argument, verb
from droned.ctl.positions import position_of
from droned.ctl.session import Session


@verb("history")
@targets_argument(required=True)
@click.option(
    "-n", "--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The last so many."
)
@click.option(
    "--since", metavar="WHEN", help="Behind a version or event id, or from a time: 10m, 2h, RFC 3339."
)
def command(session: Session, targets: tuple[str, ...], limit: int, since: str | None) -> int:
    """Show what happened to instances, oldest first, as far as the journal reaches back."""
    api = session.asking()
    position = position_of(api, since) if since else None
    answers: list[Answer] = []
    for path in paths_of(api, targets):
        answers.append(api.get(f"{path}/history", (("limit", limit), ("since", position))))
    if session.output == "json":
        for answer in answers:
            session.console.raw(answer.body)
        return 0
    events: list[dict[str, Any]] = []
    for answer in answers:
        found: Any = answer.document().get("events") or []
        events += found
    # Several instances have one history: by version, as it happened.
    events.sort(key=lambda event: (int(event.get("version") or 0), str(event.get("id"))))
    session.console.data(event_table(events, session.console, with_names=session.headers, folds=True))
    return 0

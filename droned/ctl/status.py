"""`dronectl status` itself, apart from its options: called by `quick` without click, or by its verb."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from droned.ctl.api import Api
from droned.ctl.failures import Incomprehensible
from droned.ctl.listing import NARROW, WIDE, Row, columns_of, footer, is_bad, ordered, table_of
from droned.ctl.session import Session


class Choice:
    """Which instances are shown, and how."""

    __slots__ = ("columns", "failed", "sort", "targets")

    def __init__(
        self,
        targets: Sequence[str] = (),
        *,
        failed: bool = False,
        columns: str | None = None,
        sort: str | None = None,
    ) -> None:
        """`columns` is `a,b`; `sort` a column, with a `-` before it for the other way round."""
        self.targets = tuple(targets)
        self.failed = failed
        self.columns = columns_of(columns) if columns else None
        self.sort = sort
        if sort:
            columns_of(sort.removeprefix("-"))

    def of(self, rows: Sequence[Row]) -> list[Row]:
        """The rows that are shown, in the order in which they are."""
        chosen = [row for row in rows if is_bad(row)] if self.failed else list(rows)
        return ordered(chosen, self.sort) if self.sort else chosen


def show_status(session: Session, choice: Choice) -> int:
    """Print the instances as they are now; 0 whenever the daemon answered."""
    api = session.asking()
    answer = api.get("/instances", [("target", target) for target in choice.targets])
    console = session.console
    is_whole = not choice.failed and not choice.sort
    if session.output == "json" and is_whole:
        console.raw(answer.body)
        return 0
    body = answer.document()
    rows = choice.of(rows_of(body))
    match session.output:
        case "json":
            console.raw(json.dumps({**body, "instances": rows}, separators=(",", ":")).encode())
        case "jsonl":
            for row in rows:
                console.raw(json.dumps(row, separators=(",", ":")).encode())
        case "name":
            from droned.ctl.text import escaped

            console.data(escaped(str(row.get("instance"))) for row in rows)
        case _:
            console.data(screen(session, choice, body, rows, open_issues(api) if session.headers else None))
    return 0


def screen(
    session: Session,
    choice: Choice,
    body: dict[str, Any],
    rows: Sequence[Row],
    issues: int | None,
    freshness: str = "live",
) -> list[str]:
    """The lines of the table with its footer, which goes where the headers go."""
    names = choice.columns or (WIDE if session.output == "wide" else NARROW)
    lines = table_of(rows, names, session.console, with_names=session.headers)
    if session.headers:
        lines.append(footer(rows, body, issues, session.console, freshness))
    return lines


def rows_of(body: dict[str, Any]) -> list[Row]:
    """The instances in a status answer; Incomprehensible when there is no such list."""
    rows = body.get("instances")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Incomprehensible("cannot understand the answer: it has no list of instances")
    return rows


def open_issues(api: Api) -> int | None:
    """How many issues are open; None when the daemon does not say."""
    issues = api.get("/daemon").document().get("issues")
    return issues if isinstance(issues, int) else None

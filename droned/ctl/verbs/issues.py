"""`dronectl issues`: what a person must look at."""

from __future__ import annotations

import time
from typing import Any

from droned.ctl.listing import View
from droned.ctl.options import verb
from droned.ctl.session import Session
from droned.ctl.text import escaped


@verb("issues", formats=("table", "json", "name"))
def command(session: Session) -> int:
    """Show what a person must look at, and what would help; an issue closes itself when its cause is gone."""
    answer = session.asking().get("/issues")
    console = session.console
    if session.output == "json":
        console.raw(answer.body)
        return 0
    body: dict[str, Any] = answer.document()
    issues = body.get("issues") or []
    if session.output == "name":
        console.data(escaped(str(issue.get("key"))) for issue in issues)
        return 0
    if not issues:
        console.notice("no open issues")
    for issue in issues:
        console.data(issue_lines(issue, View(time.time() if console.is_terminal else None)))
    return 0


def issue_lines(issue: dict[str, Any], view: View) -> list[str]:
    """An issue with what it is about, its words line by line and its remedy."""
    head = f"{escaped(str(issue.get('kind')))}  {escaped(str(issue.get('subject')))}"
    opened = view.since(issue.get("opened_at"))
    lines = [f"{head}  (opened {opened}{' ago' if view.now is not None else ''})"]
    first, *more = str(issue.get("text")).split("\n")
    lines.append(f"  {escaped(first)}")
    lines += [f"    {escaped(line)}" for line in more]
    if issue.get("remedy"):
        lines.append(f"  → {escaped(str(issue['remedy']))}")
    return lines

"""`dronectl logs rotate`, `clear` and `usage`: the files in which captured output is kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from droned.ctl.options import changing, require_targets, verb
from droned.ctl.session import Session
from droned.ctl.table import render
from droned.ctl.text import counted, escaped, size


@verb("rotate", formats=("table", "json"))
@changing
def rotate(session: Session, targets: tuple[str, ...], all_targets: bool, reason: str) -> int:
    """Begin new files for what instances write; what was captured stays, and so does who reads it."""
    require_targets(targets, all_targets)
    answer = session.asking().order("/logs/rotate", targets, all_targets=all_targets, reason=reason)
    if session.output == "json":
        session.console.raw(answer.body)
    else:
        rotated = int(str(answer.document().get("rotated") or 0))
        session.console.notice(f"began {counted(rotated, 'new file')}")
    return 0


@verb("clear", formats=("table", "json"))
@changing
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(session: Session, targets: tuple[str, ...], all_targets: bool, reason: str, yes: bool) -> int:
    """Delete all that was captured of instances, and say how many bytes that were."""
    require_targets(targets, all_targets)
    if not yes:
        if not (session.console.err_is_terminal and sys.stdin is not None and sys.stdin.isatty()):
            raise click.UsageError("cannot ask whether to delete captured output: give --yes")
        named = "every instance" if all_targets else " ".join(map(escaped, targets))
        try:
            is_meant = click.confirm(f"delete all captured output of {named}?", err=True)
        except click.Abort:
            raise KeyboardInterrupt from None
        if not is_meant:
            session.console.notice("nothing was deleted")
            return 1
    answer = session.asking().order("/logs/clear", targets, all_targets=all_targets, reason=reason)
    if session.output == "json":
        session.console.raw(answer.body)
    else:
        went = int(str(answer.document().get("bytes") or 0))
        session.console.notice(
            f"deleted {size(went)}" + (f" ({counted(went, 'byte')})" if went >= 1024 else "")
        )
    return 0


@verb("usage", formats=("table", "json"))
def usage(session: Session) -> int:
    """Show how much is kept of each instance, the largest first, and how much was lost."""
    answer = session.asking().get("/logs/usage")
    console = session.console
    if session.output == "json":
        console.raw(answer.body)
        return 0
    body: dict[str, Any] = answer.document()

    def bytes_(number: object) -> str:
        return size(int(str(number or 0))) if console.is_terminal else str(number or 0)

    kept: Mapping[str, Mapping[str, Any]] = body.get("instances") or {}
    rows = [
        [
            escaped(instance),
            bytes_(each.get("bytes")),
            str(each.get("segments")),
            bytes_(each["lost_bytes"]) if each.get("lost_bytes") else "",
        ]
        for instance, each in sorted(
            kept.items(), key=lambda item: (-int(item[1].get("bytes") or 0), item[0])
        )
    ]
    lines = render(("INSTANCE", "SIZE", "SEGMENTS", "LOST"), rows, with_names=session.headers)
    if session.headers:
        total, index = bytes_(body.get("total_bytes")), bytes_(body.get("index_bytes"))
        lines.append(f"{counted(len(rows), 'instance')}: {total} in all, {index} of it the index")
    console.data(lines)
    return 0

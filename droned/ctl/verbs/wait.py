"""`dronectl wait`: until instances run, are stopped or end."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click

from droned.ctl.connection import Answer
from droned.ctl.failures import TimedOut, WorkFailed
from droned.ctl.following import events_of
from droned.ctl.listing import Row, exit_reason
from droned.ctl.options import targets_argument, verb
from droned.ctl.progress import Progress
from droned.ctl.session import Session
from droned.ctl.status import rows_of
from droned.ctl.text import escaped
from droned.ctl.work import Interrupted

AT_REST = ("stopped", "exited", "failed")


@verb("wait", formats=("table", "json", "name"))
@targets_argument(required=True)
@click.option(
    "--for",
    "condition",
    type=click.Choice(["running", "stopped", "exit"]),
    default="running",
    show_default=True,
    help="What to wait for; exit: the end of the run that is on now.",
)
def command(session: Session, targets: tuple[str, ...], condition: str) -> int:
    """Wait until all the instances run, are stopped, or have ended their present run.

    An instance that fails for good ends a wait for `running` with 1. Without
    --timeout it waits for ever; changes nothing.
    """
    progress = Progress(session.console)
    try:
        first, answer = _awaited(session, targets, condition, progress)
    except KeyboardInterrupt:
        raise Interrupted("interrupted: nothing was changed by waiting") from None
    except TimedOut:
        raise TimedOut(
            f"cannot wait any longer for {condition} of {' '.join(targets)}: "
            f"{session.timeout_s or 0:g} s are over"
        ) from None
    rows = rows_of(answer.document())
    if session.output == "json":
        session.console.raw(answer.body)
    elif session.output == "name":
        session.console.data(escaped(str(row.get("instance"))) for row in rows)
    elif not progress.is_drawn and not session.console.quiet:
        session.console.data(_line(row, first.get(str(row.get("instance")), {}), condition) for row in rows)
    return 0


def _awaited(
    session: Session, targets: tuple[str, ...], condition: str, progress: Progress
) -> tuple[Mapping[str, Row], Answer]:
    """The rows at the beginning, by instance, and the status answer by which the condition is met for all."""
    first: Mapping[str, Row] | None = None
    began = time.monotonic()
    api = session.waiting()

    def ask() -> Answer:
        return api.get("/instances", [("target", target) for target in targets])

    # The stream tells when to look; it stands before the first look, so that nothing falls between.
    for _ in events_of(session, targets=targets, tick_s=1.0 if session.console.can_redraw else None):
        answer = api.persistently(ask)
        rows = rows_of(answer.document())
        if first is None:
            first = {str(row.get("instance")): row for row in rows}
        progress.show(rows, time.monotonic() - began)
        _refuse_failed(rows, condition)
        if all(_is_met(row, first.get(str(row.get("instance")), {}), condition) for row in rows):
            return first, answer
    raise AssertionError("the stream of events ends by an error only")


def _is_met(row: Row, first: Row, condition: str) -> bool:
    match condition:
        case "running":
            return row.get("state") == "running"
        case "stopped":
            return row.get("state") in AT_REST and row.get("pid") is None
        case _:
            return row.get("pid") is None or row.get("run") != first.get("run")


def _refuse_failed(rows: list[Row], condition: str) -> None:
    failed = [row for row in rows if row.get("state") == "failed"]
    if condition == "running" and failed:
        key = failed[0].get("instance")
        why = "; ".join(
            dict.fromkeys(filter(None, (str(failed[0].get("note") or ""), exit_reason(failed[0]))))
        )
        raise WorkFailed(
            f"cannot wait for {key} to run: it failed: {why or 'given up'}\nsee: dronectl why {key}"
        )


def _line(row: Row, first: Row, condition: str) -> str:
    """`web/0 running`; for `exit` how the run ended that was on when the wait began, if one was."""
    ended = row.get("exit")
    is_its_end = (
        condition == "exit"
        and first.get("pid") is not None
        and isinstance(ended, dict)
        and ended.get("run") == first.get("run")
    )
    said = exit_reason(row) if is_its_end else str(row.get("state"))
    return f"{escaped(str(row.get('instance')))} {escaped(said)}"

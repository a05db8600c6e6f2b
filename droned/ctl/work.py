"""Changing verbs from request to end: ask, wait with progress, and say why when it fails.

What a command set going is an action of the daemon, which ends by itself; the
wait here only watches it. An interruption, a timeout or the daemon's restart
never undoes anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from droned.ctl.api import LONGEST_WAIT_S, Api
from droned.ctl.connection import Answer
from droned.ctl.failures import INTERRUPTED, Incomprehensible, TimedOut, WorkFailed
from droned.ctl.listing import View, ready_word
from droned.ctl.progress import Progress
from droned.ctl.session import Session
from droned.ctl.tails import last_output
from droned.ctl.text import escaped
from droned.errors import DronedError

EXPLAINED = 5
"""Failed instances that are explained one by one; the others are named."""
TICK_S = 1.0
"""How often a drawn progress is brought up to date when nothing changes."""
TAIL_LINES = 20
_DONE = {"enable": "enabled", "disable": "disabled", "kill": "signalled"}


class Interrupted(DronedError):
    """The user pressed Ctrl-C during a wait."""

    code = "interrupted"
    exit_status = INTERRUPTED


def waiting_options(function: Any) -> Any:
    """The options of a verb that waits for what it asked for."""
    for decorate in (
        click.option("--wait/--no-wait", default=True, help="Wait for the end (the default)."),
        click.option(
            "--tail",
            type=click.IntRange(0, 10_000),
            default=TAIL_LINES,
            metavar="N",
            help="Lines of output to show when it fails.",
        ),
    ):
        function = decorate(function)
    return function


def carry_out(
    session: Session,
    command: str,
    targets: Sequence[str] = (),
    *,
    all_targets: bool = False,
    arguments: Mapping[str, object] | None = None,
    reason: str = "",
    wait: bool = True,
    tail: int = TAIL_LINES,
    told: Callable[[Mapping[str, Any]], list[str]] | None = None,
) -> int:
    """Have `command` done and show how it goes; 0, or WorkFailed, TimedOut or Interrupted.

    `told` gives the lines, escaped, for the result of a command that is done with its receipt.
    """
    api = session.waiting()
    see = f"dronectl status {' '.join(targets)}".rstrip()
    try:
        answer = api.change(command, targets, all_targets=all_targets, arguments=arguments, reason=reason)
        receipt: dict[str, Any] = answer.document()
        if receipt.get("durable") is False:
            session.console.warning(
                "done, but not on disk: the journal cannot write, and a crash would forget it; "
                "see dronectl issues"
            )
        action = receipt.get("action")
        if not wait or not isinstance(action, dict):
            _show_receipt(session, answer, receipt, told)
            return 0
        progress = Progress(session.console)
        answer = _followed(session, api, str(action.get("id")), progress)
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted: the work goes on; see {see}") from None
    except TimedOut:
        raise TimedOut(
            f"cannot wait any longer for {command}: {session.timeout_s or 0:g} s are over; "
            f"the work goes on; see {see}"
        ) from None
    return _show_end(session, api, command, answer, progress, tail)


def _followed(session: Session, api: Api, key: str, progress: Progress) -> Answer:
    """The action's last answer, its progress shown on the way."""
    tick = TICK_S if session.console.can_redraw else LONGEST_WAIT_S
    began = time.monotonic()
    answer = api.action(key)
    while True:
        body: dict[str, Any] = answer.document()
        progress.show(body.get("instances") or [], time.monotonic() - began)
        if action_in(body).get("state") != "running":
            return answer
        answer = api.action(key, int(body.get("version") or 0), tick)


def action_in(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The action in an answer; Incomprehensible when there is none."""
    action = body.get("action")
    if not isinstance(action, dict):
        raise Incomprehensible("cannot understand the answer: it has no action")
    return action


def _show_receipt(
    session: Session,
    answer: Answer,
    receipt: Mapping[str, Any],
    told: Callable[[Mapping[str, Any]], list[str]] | None,
) -> None:
    action = receipt.get("action")
    if session.output == "json":
        session.console.raw(answer.body)
    elif told is not None:
        if not session.console.quiet:
            session.console.data(told(receipt.get("result") or {}))
    elif not isinstance(action, dict):
        facts = receipt.get("result") or {}
        said = "; ".join(f"{name}: {_fact(value)}" for name, value in facts.items())
        session.console.notice(f"done as version {receipt.get('version')}" + (f"; {said}" if said else ""))
    elif not session.console.quiet:
        session.console.data(
            [f"accepted as version {receipt.get('version')}, action {escaped(str(action.get('id')))}"]
        )


def _fact(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _show_end(session: Session, api: Api, command: str, answer: Answer, progress: Progress, tail: int) -> int:
    body: dict[str, Any] = answer.document()
    action = action_in(body)
    rows = {str(row.get("instance")): row for row in body.get("instances") or []}
    items: list[Mapping[str, Any]] = list(action.get("items") or [])
    if action.get("state") != "succeeded":
        raise WorkFailed("\n".join(_why(session, api, command, items, rows, tail)))
    if session.output == "json":
        session.console.raw(answer.body)
    elif session.output == "name":
        session.console.data(escaped(str(item.get("instance"))) for item in items)
    elif not progress.is_drawn and not session.console.quiet:
        session.console.data(_result(command, item, rows) for item in items)
    return 0


def _result(command: str, item: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]) -> str:
    """`web/0 running (pid 4711)`: one instance as the command left it."""
    key = str(item.get("instance"))
    row = rows.get(key)
    if command in _DONE:
        return f"{escaped(key)} {_DONE[command]}"
    if row is None:
        return f"{escaped(key)} removed"
    pid = f" (pid {row['pid']})" if row.get("pid") is not None else ""
    unready = ", not ready" if ready_word(row) == "no" else ""
    return f"{escaped(key)} {escaped(str(row.get('state')))}{pid}{unready}"


def _why(
    session: Session,
    api: Api,
    command: str,
    items: Sequence[Mapping[str, Any]],
    rows: Mapping[str, Mapping[str, Any]],
    tail: int,
) -> list[str]:
    """The lines that say what failed and why: the first as an error's, the others below it."""
    failed = [item for item in items if item.get("state") == "failed"]
    if not failed:
        return [f"cannot {command}: the action failed"]
    lines = []
    if len(items) > 1:
        lines.append(f"cannot {command} {len(failed)} of {len(items)} instances")
    for item in failed[:EXPLAINED]:
        key = str(item.get("instance"))
        row = rows.get(key, {})
        # The item's text alone: the row may tell of a run before this command, or of one after what failed.
        text = str(item.get("text") or "it did not come about")
        lines.append(f"cannot {command} {key}: {text}")
        if tail:
            after_run, last_run = (int(each or 0) for each in (item.get("after_run"), row.get("run")))
            lines += last_output(session, api, key, after_run, last_run, tail)
        lines.append(_what_next(session, key, row, text))
    if rest := failed[EXPLAINED:]:
        lines.append("also: " + ", ".join(str(item.get("instance")) for item in rest))
    return lines


def _what_next(session: Session, key: str, row: Mapping[str, Any], told: str) -> str:
    view = View(time.time() if session.console.err_is_terminal else None)
    again = "" if "next start" in told else view.until(row.get("next_start_at"))
    return (f"next start {again}; " if again else "") + f"see: dronectl why {key}"

"""`dronectl why`: the chain of causes behind what an instance is now."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from droned.ctl.happened import event_table
from droned.ctl.listing import View, note_of
from droned.ctl.naming import paths_of
from droned.ctl.options import targets_argument, verb
from droned.ctl.session import Session
from droned.ctl.table import HARD_SPACE
from droned.ctl.tails import marked
from droned.ctl.text import escaped

ENDS = ("instance-crashed", "instance-failed", "instance-exited")
BEGAN = f"  <-{HARD_SPACE}began{HARD_SPACE}here"


@verb("why")
@targets_argument(required=True)
def command(session: Session, targets: tuple[str, ...]) -> int:
    """Show the causes that made an instance what it is, the latest first.

    Below the end of a run that failed are the last lines that it wrote.

    The chain ends where it began: at a command, a configuration, or the
    start of droned.
    """
    api = session.asking()
    console = session.console
    # All of it is asked for before any of it is printed: a failure leaves standard output empty.
    for number, answer in enumerate([api.get(f"{path}/why") for path in paths_of(api, targets)]):
        if session.output == "json":
            console.raw(answer.body)
            continue
        if number:
            console.data([""])
        body: dict[str, Any] = answer.document()
        row = body.get("instance") or {}
        note = note_of(row, View(time.time() if console.is_terminal else None))
        state = console.state(escaped(str(row.get("state"))))
        console.data([f"{escaped(str(row.get('instance')))} {state}" + (f" ({note})" if note else "")])
        chain = body.get("chain") or []
        mark = BEGAN if len(chain) > 1 else ""
        lines = marked(body.get("last_lines") or [])
        place = _end_of_run(chain, row)
        table = event_table(
            chain,
            console,
            with_names=session.headers,
            folds=True,
            last_mark=mark,
            below=None if place is None else {place: lines},
        )
        console.data(table)
        if lines and place is None:
            console.data(["", "last lines of the run that ended last", *(f"  {line}" for line in lines)])
    return 0


def _end_of_run(chain: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> int | None:
    """Which event of the chain tells of the end of the run that ended last."""
    run = (row.get("exit") or {}).get("run")
    for number, event in enumerate(chain):
        is_end = str(event.get("type")) in ENDS and event.get("subject") == row.get("instance")
        if is_end and (event.get("data") or {}).get("run") == run:
            return number
    return None

"""`dronectl why`: the chain of causes behind what an instance is now."""

from __future__ import annotations

import time
from typing import Any

from droned.ctl.happened import event_table
from droned.ctl.listing import View, note_of
from droned.ctl.naming import paths_of
from droned.ctl.options import targets_argument, verb
from droned.ctl.session import Session
from droned.ctl.table import HARD_SPACE
from droned.ctl.text import escaped

BEGAN = f"  <-{HARD_SPACE}began{HARD_SPACE}here"


@verb("why")
@targets_argument(required=True)
def command(session: Session, targets: tuple[str, ...]) -> int:
    """Show the causes that made an instance what it is, the latest first.

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
        console.data(event_table(chain, console, with_names=session.headers, folds=True, last_mark=mark))
    return 0

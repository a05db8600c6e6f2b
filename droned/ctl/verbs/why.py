"""`dronectl why`: the chain of causes behind what an instance is now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from droned.ctl.console import Console
from droned.ctl.happened import NAMES, cells_of, painted_type
from droned.ctl.listing import View, note_of
from droned.ctl.naming import paths_of
from droned.ctl.options import targets_argument, verb
from droned.ctl.session import Session
from droned.ctl.table import render
from droned.ctl.text import escaped


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
        console.data(_chain(body.get("chain") or [], console, with_names=session.headers))
    return 0


def _chain(chain: Sequence[dict[str, Any]], console: Console, *, with_names: bool) -> list[str]:
    cells = [cells_of(event, console) for event in chain]
    if len(cells) > 1:
        cells[-1][-1] += "  <- began here"
    return render(
        NAMES,
        cells,
        with_names=with_names,
        width=console.width(),
        paint=lambda name, text: painted_type(console, name, text),
    )

"""`dronectl check`: the question a script asks, answered by the exit status."""

from __future__ import annotations

import click

from droned.ctl.listing import ready_word
from droned.ctl.options import targets_argument, verb
from droned.ctl.session import Session
from droned.ctl.status import rows_of
from droned.ctl.text import escaped

NOT_IN_THAT_STATE = 3


@verb("check", formats=("table", "json", "name"))
@targets_argument(required=True)
@click.option("--healthy", is_flag=True, help="Ask as well whether they are ready.")
def command(session: Session, targets: tuple[str, ...], healthy: bool) -> int:
    """Ask whether instances run.

    The exit status is 0 when all of them do, 3 when one does not, and 4 when
    there is none of that name. Standard output says which is how; -q says
    nothing.
    """
    answer = session.asking().get("/instances", [("target", target) for target in targets])
    rows = rows_of(answer.document())
    bad = [row for row in rows if row.get("state") != "running" or (healthy and ready_word(row) == "no")]
    console = session.console
    if session.output == "json":
        console.raw(answer.body)
    elif session.output == "name":
        console.data(escaped(str(row.get("instance"))) for row in bad)
    elif not console.quiet:
        for row in rows:
            ready = {"yes": " ready", "no": " not ready"}.get(ready_word(row), "")
            state = console.state(escaped(str(row.get("state"))))
            console.data([f"{escaped(str(row.get('instance')))} {state}{ready}"])
    # An app scaled to nothing has no instance that runs: asked whether it does, the answer is no.
    return NOT_IN_THAT_STATE if bad or not rows else 0

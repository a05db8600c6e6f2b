"""`dronectl kill`: send a signal to instances."""

from __future__ import annotations

import click

from droned.ctl.options import changing, require_targets, verb
from droned.ctl.session import Session
from droned.ctl.work import carry_out


@verb("kill", formats=("table", "json", "name"))
@changing
@click.option("-s", "--signal", default="TERM", show_default=True, metavar="SIG", help="Its name or number.")
@click.option(
    "--to",
    type=click.Choice(["main", "group", "tree"]),
    default="main",
    show_default=True,
    help="The main process, its process group, or all that it started.",
)
def command(
    session: Session, targets: tuple[str, ...], all_targets: bool, reason: str, signal: str, to: str
) -> int:
    """Send a signal to instances.

    What is wanted of them stays as it is: an instance that dies of it is
    restarted as its policy says. To have it stopped, use `stop`.
    """
    require_targets(targets, all_targets)
    return carry_out(
        session,
        "kill",
        targets,
        all_targets=all_targets,
        arguments={"signal": signal, "to": to},
        reason=reason,
    )

"""`dronectl status`: the instances as they are now."""

from __future__ import annotations

import click

from droned.ctl.listing import FORMATS
from droned.ctl.options import targets_argument, verb
from droned.ctl.session import Session
from droned.ctl.status import Choice, show_status


@verb("status", formats=FORMATS)
@targets_argument()
@click.option("--failed", is_flag=True, help="Only what failed, waits for its next try or was lost.")
@click.option("--columns", metavar="A,B", help="The columns of the table.")
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN for the other way round.")
@click.option("-w", "--watch", is_flag=True, help="Draw again whenever something changes.")
def command(
    session: Session,
    targets: tuple[str, ...],
    failed: bool,
    columns: str | None,
    sort: str | None,
    watch: bool,
) -> int:
    """Show the instances as they are now.

    The exit status is 0 whenever the daemon answered; ask with `check`
    whether things are well.
    """
    choice = Choice(targets, failed=failed, columns=columns, sort=sort)
    if not watch:
        return show_status(session, choice)
    if not session.console.is_terminal or session.output not in ("table", "wide"):
        raise click.UsageError(
            "cannot watch: standard output is not a terminal that shows a table; see dronectl events -f"
        )
    from droned.ctl.watching import watch_status

    return watch_status(session, choice)

"""`dronectl scale`: set how many instances an app has."""

from __future__ import annotations

import click

from droned.ctl.options import verb
from droned.ctl.session import Session
from droned.ctl.work import carry_out, waiting_options


@verb("scale", formats=("table", "json", "name"))
@click.argument("counts", metavar="APP=N...", nargs=-1, required=True)
@click.option("--reason", default="", metavar="TEXT", help="Why; kept with the event.")
@waiting_options
def command(session: Session, counts: tuple[str, ...], reason: str, wait: bool, tail: int) -> int:
    """Set how many instances an app has, until the configuration says otherwise.

    New ones are started, the last ones are stopped and removed.
    """
    numbers = dict(map(_count, counts))
    if len(numbers) < len(counts):
        raise click.UsageError("cannot scale an app to two numbers at once")
    arguments = {"counts": numbers}
    return carry_out(session, "scale", arguments=arguments, reason=reason, wait=wait, tail=tail)


def _count(text: str) -> tuple[str, int]:
    app, equals, number = text.partition("=")
    if not app or not equals or not (number.isascii() and number.isdigit() and len(number) < 10):
        raise click.UsageError(f'cannot scale "{text}": give APP=N, as web=4')
    return app, int(number)

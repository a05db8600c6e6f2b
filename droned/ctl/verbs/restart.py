"""`dronectl restart`: replace the processes of instances."""

from __future__ import annotations

from droned.ctl.options import changing, require_targets, verb
from droned.ctl.session import Session
from droned.ctl.work import carry_out, waiting_options


@verb("restart", formats=("table", "json", "name"))
@changing
@waiting_options
def command(
    session: Session, targets: tuple[str, ...], all_targets: bool, reason: str, wait: bool, tail: int
) -> int:
    """Replace the processes of instances.

    Waits until every instance is running again, in a new process, and shows
    why when one does not get there.
    """
    require_targets(targets, all_targets)
    return carry_out(
        session, "restart", targets, all_targets=all_targets, reason=reason, wait=wait, tail=tail
    )

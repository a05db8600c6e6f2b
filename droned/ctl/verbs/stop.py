"""`dronectl stop`: have instances stopped."""

from __future__ import annotations

from droned.ctl.options import changing, require_targets, verb
from droned.ctl.session import Session
from droned.ctl.work import carry_out, waiting_options


@verb("stop", formats=("table", "json", "name"))
@changing
@waiting_options
def command(
    session: Session, targets: tuple[str, ...], all_targets: bool, reason: str, wait: bool, tail: int
) -> int:
    """Have instances stopped, with all that they started.

    Waits until nothing is left of their process trees. They stay stopped
    until a person starts them again.
    """
    require_targets(targets, all_targets)
    return carry_out(session, "stop", targets, all_targets=all_targets, reason=reason, wait=wait, tail=tail)

"""`dronectl disable`: keep droned from restarting instances by itself; what runs goes on."""

from __future__ import annotations

from droned.ctl.options import changing, require_targets, verb
from droned.ctl.session import Session
from droned.ctl.work import carry_out


@verb("disable", formats=("table", "json", "name"))
@changing
def command(session: Session, targets: tuple[str, ...], all_targets: bool, reason: str) -> int:
    """Keep droned from restarting instances by itself; what runs goes on."""
    require_targets(targets, all_targets)
    return carry_out(session, "disable", targets, all_targets=all_targets, reason=reason)

"""`dronectl enable`: let droned restart instances by itself again."""

from __future__ import annotations

from droned.ctl.options import changing, require_targets, verb
from droned.ctl.session import Session
from droned.ctl.work import carry_out


@verb("enable", formats=("table", "json", "name"))
@changing
def command(session: Session, targets: tuple[str, ...], all_targets: bool, reason: str) -> int:
    """Let droned restart instances by itself again."""
    require_targets(targets, all_targets)
    return carry_out(session, "enable", targets, all_targets=all_targets, reason=reason)

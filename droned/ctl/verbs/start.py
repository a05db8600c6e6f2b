"""`dronectl start`: have instances running."""

from __future__ import annotations

from droned.ctl.options import changing, require_targets, verb
from droned.ctl.session import Session
from droned.ctl.work import carry_out, waiting_options


@verb("start", formats=("table", "json", "name"))
@changing
@waiting_options
def command(
    session: Session, targets: tuple[str, ...], all_targets: bool, reason: str, wait: bool, tail: int
) -> int:
    """Have instances running.

    What runs already is left as it is. Waits until every instance is
    running, and shows why when one does not get there.
    """
    require_targets(targets, all_targets)
    return carry_out(session, "start", targets, all_targets=all_targets, reason=reason, wait=wait, tail=tail)

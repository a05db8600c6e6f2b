"""`dronectl version`: of this program and of the daemon."""

from __future__ import annotations

import json
from typing import Any

from droned.ctl.failures import Unreachable
from droned.ctl.options import verb
from droned.ctl.session import Session
from droned.ctl.text import escaped
from droned.models.version import VERSION


@verb("version", formats=("table", "json"))
def command(session: Session) -> int:
    """Show the versions of dronectl and of the daemon; without a daemon, its own alone."""
    daemon: dict[str, Any] | None = None
    try:
        daemon = session.asking().get("/daemon").document()
    except Unreachable as away:
        session.console.notice(str(away))
    if session.output == "json":
        both = {"client": VERSION, "daemon": None if daemon is None else daemon.get("version")}
        session.console.data([json.dumps(both)])
        return 0
    session.console.data([f"dronectl {VERSION}"])
    if daemon is not None:
        where = f"{daemon.get('server')}, pid {daemon.get('pid')}"
        session.console.data([f"droned {escaped(str(daemon.get('version')))} ({escaped(where)})"])
    return 0

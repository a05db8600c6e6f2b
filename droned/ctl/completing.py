"""Names for the shell's completion: asked of the daemon, and given up after a blink."""

from __future__ import annotations

import time

import click

from droned.ctl.api import Api
from droned.ctl.session import Session
from droned.errors import DronedError

LIMIT_S = 0.3
"""A shell that waits for its Tab key feels broken; no names are better."""


def target_names(ctx: click.Context, begun: str) -> list[str]:
    """Apps and instances whose name begins with `begun`, in the daemon's order."""
    host = None
    chain: click.Context | None = ctx
    while chain is not None and host is None:
        host = chain.params.get("host")
        chain = chain.parent
    deadline = time.monotonic() + LIMIT_S
    try:
        with Session(host=host, quiet=True) as session:
            api = Api(session.connection(), session.console.notice, deadline)
            rows = api.get("/instances").document().get("instances")
    except (DronedError, OSError):
        return []
    names: dict[str, None] = {}
    for row in rows if isinstance(rows, list) else []:
        for member in ("app", "instance"):
            name = row.get(member) if isinstance(row, dict) else None
            if isinstance(name, str) and name.isprintable():
                names[name] = None
    fitting = [name for name in names if name.startswith(begun)]
    if "/" not in begun:
        # The apps first; their instances once an app's name is typed whole.
        apps = [name for name in fitting if "/" not in name]
        if apps and apps != [begun]:
            return apps
    return fitting

"""`dronectl daemon …`: droned itself, which may come and go without an app noticing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from droned.ctl import daemon_life
from droned.ctl.listing import View
from droned.ctl.options import TIME, verb
from droned.ctl.reloaded import difference
from droned.ctl.session import Session
from droned.ctl.table import render
from droned.ctl.text import escaped
from droned.ctl.work import Interrupted, carry_out

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why; kept with the event.")


@click.group("daemon")
def command() -> None:
    """Look at and handle droned itself; apps run on, but for `shutdown`."""


@verb("status")
def status(session: Session) -> int:
    """Show how droned itself is."""
    answer = session.asking().get("/daemon")
    if session.output == "json":
        session.console.raw(answer.body)
        return 0
    body: dict[str, Any] = answer.document()
    console = session.console
    listed = list(_members(body, View(time.time() if console.is_terminal else None)))
    widest = max(len(name) for name, _ in listed)
    console.data(f"{name:{widest}}  {value}" for name, value in listed)
    services = [
        [escaped(str(each.get(member) or "")) for member in ("name", "state", "note")]
        for each in body.get("services") or []
    ]
    if services:
        table = render(("SERVICE", "STATE", "NOTE"), services, width=console.width(), folds=True)
        console.data(["", *table])
    for each in body.get("degraded") or []:
        console.warning(f"degraded: {each}")
    return 0


def _members(body: Mapping[str, Any], view: View) -> Iterator[tuple[str, str]]:
    def text(name: str) -> str:
        value = body.get(name)
        return "-" if value is None else escaped(str(value))

    ago = "" if view.now is None else " ago"
    yield "server", text("server")
    yield "version", text("version")
    yield "started", view.since(body.get("started_at")) + ago
    yield "pid", text("pid")
    yield "guardian", f"pid {text('guardian_pid')}" if body.get("guardian_pid") is not None else "-"
    yield "logs", f"pid {text('logs_pid')}" if body.get("logs_pid") is not None else "-"
    yield "socket", text("socket")
    yield "state", text("state_dir")
    yield "config", text("config")
    yield "registry", f"version {text('registry_version')}"
    lag = body.get("reactor_lag_s")
    yield "lag", f"{lag * 1000:.1f} ms" if isinstance(lag, (int, float)) else "-"
    yield "issues", text("issues")


@verb("start", formats=("table", "json"))
@click.option("--state", "state_dir", metavar="DIR", help="The state folder of the droned that is meant.")
def start(session: Session, state_dir: str | None) -> int:
    """Start the daemon again under its guardian, after `daemon stop`; apps are not touched."""
    return _done(session, lambda: daemon_life.start(session, state_dir))


@verb("restart", formats=("table", "json"))
@reason_option
def restart(session: Session, reason: str) -> int:
    """Replace the daemon by a new one; apps run on."""
    return _done(session, lambda: daemon_life.restart(session, reason))


@verb("stop", formats=("table",))
@reason_option
def stop(session: Session, reason: str) -> int:
    """End the daemon alone: apps run on, and nobody restarts them until `daemon start`."""
    return _done(session, lambda: daemon_life.stop(session, reason))


@verb("shutdown", formats=("table",))
@reason_option
def shutdown(session: Session, reason: str) -> int:
    """Stop all apps in order, then droned as a whole."""
    return _done(session, lambda: daemon_life.shut_down(session, reason))


@verb("reload", formats=("table", "json"))
@reason_option
def reload(session: Session, reason: str) -> int:
    """Read the configuration again, apply what changed and show that; a faulty one is refused whole.

    What runs something outdated is replaced one instance of an app after the
    other, and not waited for: see status.
    """
    return carry_out(session, "daemon-reload", reason=reason, told=difference)


@verb("debug", formats=("table", "json"))
@click.option(
    "--pause",
    "pause_s",
    type=TIME,
    required=True,
    metavar="TIME",
    help="For how long the guardian leaves a daemon alone that does not answer; 0 ends it.",
)
@reason_option
def debug(session: Session, pause_s: float, reason: str) -> int:
    """Make room for a debugger: keep the guardian from replacing a daemon that stands still."""
    return carry_out(session, "daemon-debug", arguments={"pause_s": pause_s}, reason=reason)


def _done(session: Session, act: Any) -> int:
    try:
        found = act()
    except KeyboardInterrupt:
        raise Interrupted("interrupted: the work goes on; see dronectl daemon status") from None
    if session.output == "json" and found is not None:
        import json

        session.console.data([json.dumps(found)])
    return 0


for _each in (status, start, restart, stop, shutdown, reload, debug):
    command.add_command(_each)

"""The daemon started, replaced, ended: asked for, and then watched until it is so.

Apps are touched by `shut_down` alone. What is waited for is always the thing
itself: a new pid that answers, a socket that nobody listens on, a guardian that
is gone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from droned.ctl import guardian_process
from droned.ctl.api import Api
from droned.ctl.failures import TimedOut, Unreachable
from droned.ctl.listing import counts
from droned.ctl.session import REPLACED_S, Session
from droned.ctl.status import rows_of
from droned.ctl.stopped import stopped_at
from droned.errors import DronedError, ShuttingDown

LIMIT_S = 60.0
"""Seconds to wait for a daemon to come or go when `--timeout` says nothing: the guardian's own patience."""
PAUSE_S = 0.05
PROBE_S = 2.0
"""Seconds that one look at the daemon may take."""

_Found = TypeVar("_Found")


def start(session: Session, state_dir: str | None) -> dict[str, Any]:
    """Have the guardian of `state_dir` (default: one's own) start its daemon; its status once it answers."""
    from droned.models.places import places_of

    if state_dir is not None:
        state_dir = os.path.abspath(state_dir)
    try:
        running = status(session, patience_s=0.0)
    except Unreachable:
        pass
    else:
        if state_dir is None or running.get("state_dir") == state_dir:
            session.console.notice(f"the daemon runs already (pid {running.get('pid')})")
            return running
    home = state_dir or home_of(session.sockets()) or places_of(os.geteuid(), session.environ).state_dir
    guardian_process.of_state(home).wake()
    found = until(
        session,
        "the daemon to answer",
        lambda: _answering(session, lambda body: state_dir is None or body.get("state_dir") == home),
    )
    session.console.notice(f"the daemon runs (pid {found.get('pid')})")
    return found


def restart(session: Session, reason: str) -> dict[str, Any]:
    """Replace the daemon; the new one's status once it answers."""
    before = status(session)
    _ask(session, "daemon-restart", reason)
    after = until(
        session,
        "the new daemon to answer",
        lambda: _answering(session, lambda body: body.get("pid") != before.get("pid")),
    )
    session.console.notice(
        f"the daemon was replaced (pid {before.get('pid')} → {after.get('pid')}); apps run on"
    )
    return after


def stop(session: Session, reason: str) -> None:
    """End the daemon alone; returns when it is gone."""
    api = _ask(session, "daemon-stop", reason)
    until(session, "the daemon to go", lambda: None if _answers(session, api.connection.path) else True)
    session.console.notice(
        "the daemon is stopped; apps run on under the guardian; back with: dronectl daemon start"
    )


def shut_down(session: Session, reason: str) -> None:
    """Stop all apps in order, then droned; returns when the guardian is gone."""
    before = status(session)
    guardian = guardian_process.of_pid(before.get("guardian_pid"))
    api = _ask(session, "daemon-shutdown", reason)
    told = ""

    def gone() -> bool | None:
        nonlocal told
        if guardian is not None and not guardian.is_alive:
            return True
        try:
            said = counts(rows_of(_look(session, "/instances", api.connection.path)))
        except (Unreachable, ShuttingDown, TimedOut):
            # Where other users' processes are hidden, a socket that nobody listens on has to do.
            return True if guardian is None else None
        if said != told:
            session.console.notice(said)
            told = said
        return None

    # As long as it takes: every app's stop has its own limits.
    until(session, "droned to end", gone, limit_s=None)
    session.console.notice("droned is stopped, and all apps with it")


def status(session: Session, patience_s: float = REPLACED_S) -> dict[str, Any]:
    """The daemon's own status; one that is being replaced is waited for `patience_s` seconds."""
    return session.asking(patience_s).get("/daemon").document()


def until(
    session: Session, what: str, look: Callable[[], _Found | None], limit_s: float | None = LIMIT_S
) -> _Found:
    """What `look` gives once that is not None; TimedOut when the session's deadline or `limit_s` is over."""
    deadline = session.deadline
    if deadline is None and limit_s is not None:
        deadline = time.monotonic() + limit_s
    while True:
        found = look()
        if found is not None:
            return found
        if deadline is not None and time.monotonic() >= deadline:
            raise TimedOut(f"cannot wait any longer for {what}; see dronectl daemon status")
        time.sleep(PAUSE_S)


def _ask(session: Session, command: str, reason: str) -> Api:
    api = session.waiting()
    answer = api.change(command, reason=reason)
    if answer.document().get("durable") is False:
        session.console.warning("not on disk: the journal cannot write")
    api.connection.close()
    return api


def home_of(sockets: Sequence[str]) -> str | None:
    """The state folder that the daemon of one of these sockets left word of, or in which one stands."""
    for socket in sockets:
        stopped = stopped_at(socket)
        if stopped is not None:
            return stopped.state_dir
        home = os.path.dirname(socket)
        if os.path.exists(guardian_process.file_in(home)):
            return home
    return None


def _look(session: Session, path: str, socket: str | None = None) -> dict[str, Any]:
    """One short question on a connection of its own."""
    connection = session.connection((socket,) if socket else None)
    try:
        return Api(connection, lambda text: None, time.monotonic() + PROBE_S).get(path).document()
    finally:
        connection.close()


def _answering(session: Session, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
    try:
        body = _look(session, "/daemon")
    except (Unreachable, ShuttingDown, TimedOut):
        return None
    return body if is_it(body) else None


def _answers(session: Session, socket: str | None) -> bool:
    try:
        _look(session, "/daemon", socket)
    except Unreachable:
        return False
    except DronedError:
        return True
    return True

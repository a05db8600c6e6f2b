"""A daemon that was stopped on purpose, known by the note that it left beside its socket.

A note holds only as long as its guardian lives: what a guardian left behind
that is gone, or a host that was restarted, says nothing about now. A note that
somebody else than the owner of its folder wrote (or root) is not believed.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import time

from droned.ctl.guardian_process import Guardian, of_card
from droned.models.places import note_beside

MOST_BYTES = 16 * 1024


class Stopped:
    """When, by whom and why; and the guardian that keeps the apps meanwhile."""

    __slots__ = ("actor", "at", "guardian", "reason", "state_dir")

    def __init__(self, *, guardian: Guardian, state_dir: str, at: float, actor: str, reason: str) -> None:
        self.guardian = guardian
        self.state_dir = state_dir
        self.at = at
        """Wall seconds."""
        self.actor = actor
        self.reason = reason

    def circumstances(self) -> str:
        """` by root 3m ago (new disk)`: relative on a terminal, the moment elsewhere."""
        from droned.ctl.text import duration

        if sys.stderr is not None and sys.stderr.isatty():
            when = f"{duration(time.time() - self.at)} ago"
        else:
            when = "at " + time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.at))
        return f" by {self.actor} {when}" + (f" ({self.reason})" if self.reason else "")


def stopped_at(socket: str) -> Stopped | None:
    """What the daemon of this socket left word of when it was stopped; None when there is no such word."""
    try:
        said = json.loads(_content(note_beside(socket)))
        guardian = of_card(said["guardian"])
        if guardian is None:
            return None
        return Stopped(
            guardian=guardian,
            state_dir=str(said["state_dir"]),
            at=float(said["at"]),
            actor=str(said["actor"]),
            reason=str(said["reason"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _content(path: str) -> bytes:
    """The bytes of a note that can be believed; OSError for any other file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        owner = os.stat(os.path.dirname(path) or ".").st_uid
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, owner, os.geteuid()):
            raise PermissionError(path)
        return os.read(descriptor, MOST_BYTES)
    finally:
        os.close(descriptor)

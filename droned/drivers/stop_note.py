"""The note that a daemon leaves beside its socket when it is stopped on purpose.

The guardian and the apps go on then, and whoever asks should be told that
nothing is wrong, and how the daemon comes back. The note names the guardian:
it holds for as long as that one lives and no daemon has come back. Blocking,
so it is called in a pool.
"""

from __future__ import annotations

import json
import os
import stat
from typing import Any

from droned.models.places import note_beside

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def leave_note(socket: str, state_dir: str, *, at: float, actor: str, reason: str) -> None:
    """Leave word beside `socket`, for all who may use that. Raises OSError, and ValueError for a bad card."""
    with open(f"{state_dir}/guardian/guardian.json", "rb") as file:
        guardian: dict[str, Any] = json.load(file)
    said = {"at": at, "actor": actor, "reason": reason, "state_dir": state_dir, "guardian": guardian}
    path = note_beside(socket)
    take_note_away(socket)
    descriptor = os.open(path, _NEW_FILE, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        json.dump(said, file)
        _share(descriptor, socket)


def take_note_away(socket: str) -> None:
    """A daemon is there again, or never left one."""
    try:
        os.unlink(note_beside(socket))
    except OSError:
        pass  # what is not there, or not ours, says nothing about us


def _share(descriptor: int, socket: str) -> None:
    """Let those read the note whom the socket lets in."""
    try:
        found = os.stat(socket, follow_symlinks=False)
        os.fchown(descriptor, -1, found.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(found.st_mode) & 0o640)
    except OSError:
        pass  # there is no socket, or the group is not ours to give: then it is for its owner alone

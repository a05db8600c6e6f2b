"""Why no daemon answers: one sentence over all the sockets that were tried, each with its likeliest cause."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from droned.ctl.failures import Unreachable
from droned.ctl.stopped import Stopped, stopped_at


def unreachable(faults: Sequence[tuple[str, OSError]]) -> Unreachable:
    """One error for all the sockets that were tried; a daemon that was stopped on purpose is told first."""
    facts = {
        "errno": faults[0][1].errno,
        "refused": any(fault.errno == errno.ECONNREFUSED for _, fault in faults),
    }
    for path, _ in faults:
        stopped = stopped_at(path)
        if stopped is not None:
            return Unreachable(_on_purpose(path, stopped), **facts)
    said = [f"cannot reach droned at {faults[0][0]}: {_in_words(*faults[0])}"]
    said += [f"also tried {path}: {_in_words(path, fault)}" for path, fault in faults[1:]]
    return Unreachable("; ".join(said), **facts)


def _on_purpose(path: str, stopped: Stopped) -> str:
    return (
        f"cannot reach droned at {path}: the daemon was stopped on purpose{stopped.circumstances()}; "
        f"apps run on under the guardian (pid {stopped.guardian.pid}), "
        "and dronectl daemon start brings the daemon back"
    )


def _in_words(path: str, fault: OSError) -> str:
    name = errno.errorcode.get(fault.errno or 0, "unknown errno")
    match fault.errno:
        case errno.ENOENT:
            return f"no such socket ({name}): is droned running?"
        case errno.ECONNREFUSED:
            return f"nobody listens there ({name}): droned is not running or just starting"
        case errno.EACCES:
            return f"permission denied ({name}): {_group_hint(path)}"
        case None:
            return str(fault)  # a path that is too long, for one, comes without an errno
        case _:
            return f"{os.strerror(fault.errno).lower()} ({name})"


def _group_hint(path: str) -> str:
    """Who could: the group of the socket, or of its folder when that is all that can be seen."""
    import grp

    for place in (path, os.path.dirname(path)):
        try:
            return f"are you in group {grp.getgrgid(os.stat(place).st_gid).gr_name}?"
        except (OSError, KeyError):
            continue
    return "are you in its group?"

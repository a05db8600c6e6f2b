"""Who holds the state folder's lock although no guardian of it lives.

A daemon that has lost its guardian starts another at once. One that does not
is past it, and nobody is left to replace it as a guardian would; so whoever
comes next does. A guardian is never touched, and neither is a process that
has the file open without holding the lock.

Nor does anybody wait for what a guardian that was killed had forked and not
executed: a remnant. The kernel marks a process that has executed nothing, and
one whose guardian lives is that guardian's child.
"""

import os
import signal
import time
from collections.abc import Iterable

from droned.guardian import log, processes

_LOOK_S = 0.005
_GUARDIAN = b"/guardian/__main__.py"


def holders(path: str) -> list[int]:
    """The processes, ourselves left out, one of whose descriptors holds a lock of this file."""
    own = os.getpid()
    return [each.pid for each in processes.everything() if each.pid != own and _holds(each.pid, path)]


def _holds(pid: int, path: str) -> bool:
    return any(_is_lock(pid, number, path) for number in _numbers(pid))


def _numbers(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []  # gone, or somebody else's


def _is_lock(pid: int, number: str, path: str) -> bool:
    link = f"/proc/{pid}/fd/{number}"
    try:
        # By name first: to ask for the identity of just any file could hang.
        is_file = os.readlink(link).endswith("/" + os.path.basename(path)) and os.path.samefile(link, path)
    except OSError:
        return False
    return is_file and b"FLOCK" in (processes.read(f"/proc/{pid}/fdinfo/{number}") or b"")


def is_guardian(pid: int) -> bool:
    """Whether this process executes a guardian, by its command line."""
    return any(word.endswith(_GUARDIAN) for word in _command(pid))


def _command(pid: int) -> list[bytes]:
    return (processes.read(f"/proc/{pid}/cmdline") or b"").split(b"\0")


def remnants(path: str) -> list[int]:
    """The copies of a guardian that is gone which hold a lock of this file."""
    own = os.getpid()
    return [
        each.pid
        for each in processes.everything()
        if each.pid != own
        and each.parent != own
        and not each.is_dead
        and processes.is_unexecuted(each.pid)
        and not is_guardian(each.parent)
        and _holds(each.pid, path)
    ]


def end_remnants(path: str, within_s: float) -> None:
    """Kill all remnants and wait until they are gone."""
    until = time.monotonic() + within_s
    while found := remnants(path):
        end(found, path, "a copy of a guardian that was killed")
        if time.monotonic() >= until:
            return
        time.sleep(_LOOK_S)


def end(pids: Iterable[int], path: str, what: str) -> None:
    """Kill those that hold the lock of this file still; `what` they are, for the log."""
    for pid in pids:
        started = processes.start_time(pid)
        if started is None or not _holds(pid, path) or processes.start_time(pid) != started:
            continue
        log.say(f"{what} (pid {pid}) hangs and holds {path}: it is killed")
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            log.say(f"cannot kill it: {error.strerror}")

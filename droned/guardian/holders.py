"""Who holds the state folder's lock although no guardian of it lives: a daemon that hangs.

A daemon that has lost its guardian starts another at once. One that does not
is past it, and nobody is left to replace it as a guardian would; so whoever
comes next does. A guardian is never touched, and neither is a process that
has the file open without holding the lock.
"""

import os
import signal
from collections.abc import Iterable

from droned.guardian import log, processes

_GUARDIAN = b"/guardian/__main__.py"


def holders(path: str) -> list[int]:
    """The processes, ourselves left out, one of whose descriptors holds a lock of this file."""
    own = os.getpid()
    return [each.pid for each in processes.everything() if each.pid != own and _holds(each.pid, path)]


def _holds(pid: int, path: str) -> bool:
    try:
        numbers = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False  # gone, or somebody else's
    return any(_is_lock(pid, number, path) for number in numbers)


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
    words = (processes.read(f"/proc/{pid}/cmdline") or b"").split(b"\0")
    return any(word.endswith(_GUARDIAN) for word in words)


def end(pids: Iterable[int], path: str) -> None:
    """Kill those that hold the lock of this file still."""
    for pid in pids:
        started = processes.start_time(pid)
        if started is None or not _holds(pid, path) or processes.start_time(pid) != started:
            continue
        log.say(f"a daemon without a guardian (pid {pid}) hangs and holds {path}: it is killed")
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError as error:
            log.say(f"cannot kill it: {error.strerror}")

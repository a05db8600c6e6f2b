"""What /proc says about processes: identity, state, family, and the run's token.

A process is a pid with its start time; a pid alone is never trusted.
Every function answers None (or nothing) for a process that is gone.
"""

import os
from collections.abc import Callable, Iterator

TOKEN = b"DRONED_RUN="

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_ENVIRONMENT_BYTES = 1024 * 1024
_PF_FORKNOEXEC = 0x40


class Process:
    """One look at /proc/PID/stat."""

    __slots__ = ("exit_code", "group", "name", "parent", "pid", "session", "start_time", "state")

    def __init__(self, pid: int, name: str, fields: list[bytes]) -> None:
        self.pid = pid
        self.name = name
        self.state = fields[0].decode("ascii")
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.start_time = int(fields[19])
        self.exit_code = int(fields[49]) if len(fields) > 49 else 0

    @property
    def is_dead(self) -> bool:
        """Whether it has ended and only waits to be reaped."""
        return self.state in "ZX"


def read(path: str, limit: int = 4096) -> bytes | None:
    """The first `limit` bytes of a file of the kernel, None when it cannot be read (gone or not ours)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.read(fd, limit)
    except OSError:
        return None
    finally:
        os.close(fd)


def read_whole(path: str) -> bytes | None:
    """All of a file of the kernel, None when it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.readall()
    except OSError:
        return None


def look(pid: int) -> Process | None:
    """The process that has this pid now, a dead one that is not yet reaped included."""
    text = read(f"/proc/{pid}/stat")
    if not text:
        return None
    # The name may hold anything, blanks and parentheses too; the last ")" ends it.
    end = text.rindex(b")")
    name = text[text.index(b"(") + 1 : end].decode("utf-8", "backslashreplace")
    return Process(pid, name, text[end + 2 :].split())


def start_time(pid: int) -> int | None:
    """When the process with this pid started, in clock ticks since boot."""
    text = read(f"/proc/{pid}/stat")
    return start_time_in(text) if text else None


def start_time_in(text: bytes) -> int:
    """The same from what is in /proc/PID/stat."""
    return int(text[text.rindex(b")") + 2 :].split(None, 20)[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether that very process runs (a dead one that waits to be reaped does not)."""
    process = look(pid)
    return process is not None and process.start_time == started and not process.is_dead


def is_running(pid: int) -> bool:
    """Whether whatever has this pid now runs; for one that nobody can know the start time of."""
    process = look(pid)
    return process is not None and not process.is_dead


def used_while_runnable(pid: int) -> float | None:
    """Seconds of processor that the main thread has used, None unless it runs or waits for a processor."""
    text = read(f"/proc/{pid}/task/{pid}/stat")
    if not text:
        return None
    fields = text[text.rindex(b")") + 2 :].split(None, 14)
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND if fields[0] == b"R" else None


def boot_id() -> str:
    """The id of this boot of the kernel."""
    text = read("/proc/sys/kernel/random/boot_id")
    return text.decode("ascii").strip() if text else ""


def token_of(pid: int) -> bytes | None:
    """The value of DRONED_RUN in the environment that the process was started with."""
    text = read(f"/proc/{pid}/environ", _ENVIRONMENT_BYTES)
    if not text:
        return None
    if text.startswith(TOKEN):
        at = len(TOKEN)
    else:
        found = text.find(b"\0" + TOKEN)
        if found < 0:
            return None
        at = found + 1 + len(TOKEN)
    end = text.find(b"\0", at)
    return text[at:] if end < 0 else text[at:end]


# ---- family


def lists_children() -> bool:
    """Whether this kernel has the list of a process' children."""
    return os.path.exists(f"/proc/self/task/{os.getpid()}/children")


def main_thread_children() -> bytes:
    """The pids of our main thread's children, as the kernel writes them, dead ones included.

    They are those that it has started, and all that is orphaned: a subreaper's
    first thread gets those. Where the kernel has no such list: all children.
    """
    if not lists_children():
        own = os.getpid()
        return b" ".join(b"%d" % process.pid for process in everything() if process.parent == own)
    return read_whole(f"/proc/self/task/{os.getpid()}/children") or b""


def unexecuted_children(thread: int) -> list[int]:
    """The children of one thread of ours that have not executed a program of their own yet."""
    listed = (read_whole(f"/proc/self/task/{thread}/children") or b"").split()
    return [int(word) for word in listed if is_unexecuted(int(word))]


def is_unexecuted(pid: int) -> bool:
    """Whether a process still is a copy of the one that made it: it has executed no program yet."""
    text = read(f"/proc/{pid}/stat")
    return bool(text and int(text[text.rindex(b")") + 2 :].split(None, 7)[6]) & _PF_FORKNOEXEC)


def everything() -> Iterator[Process]:
    """All processes that can be seen. A walk of /proc: not for paths that are taken often."""
    for name in os.listdir("/proc"):
        if name.isdecimal() and (process := look(int(name))) is not None:
            yield process


def descendants(roots: dict[int, int]) -> dict[int, int]:
    """`roots` and all that hangs below them now: pid → start time, dead ones left out.

    Each was seen with its own parent in one look, and that parent was still
    itself afterwards, so a pid that changes hands meanwhile brings nobody in.
    """
    below = _children_by_list if lists_children() else _children_by_walk()
    found: dict[int, int] = {}
    waiting = dict(roots)
    while waiting:
        pid, started = waiting.popitem()
        if pid in found or not is_alive(pid, started):
            continue
        found[pid] = started
        children = [child for child in map(look, below(pid)) if child is not None and child.parent == pid]
        if children and start_time(pid) == started:
            waiting.update((child.pid, child.start_time) for child in children if not child.is_dead)
    return found


def _children_by_list(pid: int) -> list[int]:
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    texts = (read_whole(f"/proc/{pid}/task/{thread}/children") for thread in threads)
    return [int(word) for text in texts if text for word in text.split()]


def _children_by_walk() -> Callable[[int], list[int]]:
    below: dict[int, list[int]] = {}
    for process in everything():
        below.setdefault(process.parent, []).append(process.pid)
    return lambda pid: below.get(pid, [])

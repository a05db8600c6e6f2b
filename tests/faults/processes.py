"""What the kernel tells about processes: who is alive, under which mark, and whose child it is.

Signals of the harness go out through a pidfd whose process was looked at
after the pidfd was opened, so that a pid used again is never hit.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """The part of /proc/PID/stat that matters here."""

    pid: int
    state: str
    """One letter, such as R, S or Z."""
    parent: int
    start: int
    """Clock ticks since the boot: with the pid, the identity."""


def pids() -> Iterator[int]:
    """Every process of this machine."""
    return (int(name) for name in os.listdir(PROC) if name.isdigit())


def stat(pid: int) -> Stat | None:
    """What the kernel says about a process, or None when it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return Stat(pid=pid, state=fields[0], parent=int(fields[1]), start=int(fields[19]))


def arguments(pid: int) -> tuple[str, ...]:
    """The command line of a process; empty when it is gone, a zombie or the kernel's own."""
    try:
        text = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(word.decode(errors="replace") for word in text.split(b"\0")[:-1])


def environment_has(pid: int, word: str) -> bool:
    """Whether a process was given an environment that contains this text."""
    try:
        return word.encode() in (PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    found = stat(pid)
    return found is not None and found.state not in "ZX"


def marked(tag: str) -> dict[int, str]:
    """Living processes whose second argument ends in `@TAG`, with what stands before it."""
    end = f"@{tag}"
    words = ((pid, arguments(pid)) for pid in pids())
    return {
        pid: found[1].removesuffix(end) for pid, found in words if len(found) > 1 and found[1].endswith(end)
    }


def children_of(pid: int) -> tuple[int, ...]:
    """Direct children of a process, zombies included."""
    return tuple(found.pid for found in map(stat, pids()) if found is not None and found.parent == pid)


def zombies_of(parents: frozenset[int]) -> tuple[int, ...]:
    """Dead processes that one of these has not reaped."""
    found = (stat(pid) for pid in pids())
    return tuple(one.pid for one in found if one is not None and one.state == "Z" and one.parent in parents)


def send(pid: int, number: int, expected: Callable[[int], bool]) -> bool:
    """Signal a process if `expected(pid)` holds of the one that the pid means now; whether it was sent."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not expected(pid):
            return False
        signal.pidfd_send_signal(pidfd, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)


def remove_cgroups(state: Path) -> None:
    """Remove the cgroup folders that a killed guardian of this state folder has left behind."""
    try:
        facts = state.stat()
    except OSError:
        return
    words = (line.split() for line in (PROC / "self/mountinfo").read_text().splitlines())
    for top in (Path(found[4]) for found in words if "cgroup2" in found[found.index("-") :]):
        for base in top.rglob(f"droned-{facts.st_ino:x}.{facts.st_dev:x}"):
            for folder in (*base.iterdir(), base):
                # What was killed leaves it a moment later.
                if folder.is_dir():
                    until(functools.partial(_is_removed, folder), 1.0)


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def until(condition: Callable[[], bool], within_s: float, every_s: float = 0.01) -> bool:
    """Wait until a condition holds; whether it did in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(every_s)
    return True

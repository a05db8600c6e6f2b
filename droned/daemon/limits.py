"""How many descriptors the daemon may have, and for how many instances that is enough.

The daemon holds a pidfd for each process, so that it is told how it ends even
when the guardian is lost. Where the hard limit is low it holds fewer, so that
sockets and files never want for a descriptor. select() cannot watch a descriptor above 1,023 and
drops it without a word: under that reactor so high a number is never given
out, and more instances than there are numbers for are refused beforehand.
"""

from __future__ import annotations

import resource

MOST_SELECT_DESCRIPTORS = 1000
"""Above this number select() cannot watch a descriptor, so none may be given out."""
OTHER_DESCRIPTORS = 200
"""What connections, files and pipes may need beside the processes."""


def most_instances(reactor_name: str) -> int | None:
    """How many instances a daemon with this reactor can look after; None is any number."""
    return MOST_SELECT_DESCRIPTORS - OTHER_DESCRIPTORS if reactor_name == "select" else None


def too_many(count: int, reactor_name: str) -> str | None:
    """Why so many instances cannot be, in words that follow "cannot …: "; None if they can."""
    most = most_instances(reactor_name)
    if most is None or count <= most:
        return None
    return (
        f"{count} instances are more than the {most} of --reactor {reactor_name}; use epoll, poll or asyncio"
    )


def most_pidfds() -> int | None:
    """Of how many processes this process may hold a pidfd under its limit of now; None is any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - OTHER_DESCRIPTORS)


def raise_descriptor_limit(reactor_name: str) -> None:
    """Have as many descriptors as this process may; with select() no more than it can watch."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_SELECT_DESCRIPTORS if reactor_name == "select" else hard
    if soft != wanted and (hard == resource.RLIM_INFINITY or wanted <= hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))

"""How many descriptors the guardian may have, while its children get the limit that it was given itself.

A child inherits the limits of the moment of its birth. So our own soft limit
is the one that apps get, and is raised only for the moments in which a
descriptor is put above it. Those that are kept for long go there, once half of
the room below is taken; what is needed for a moment finds its place below.

The highest numbers below the limit are a reserve: nothing is kept there for
long, so that signals, looks at processes and stops always find a descriptor.
"""

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

_RESERVE = 32
_FOR_LOGS = 64  # of as many as we have, `droned-logs` needs so many for files and sockets


class Descriptors:
    """The limit on descriptors of this process."""

    __slots__ = ("_holders", "raises", "soft_and_hard")

    def __init__(self, soft_and_hard: tuple[int, int]) -> None:
        self.soft_and_hard = soft_and_hard
        """What apps get."""
        self._holders = 0
        self.raises = 0
        """How often the limit was raised: a birth that saw it change may have got the wrong one."""

    @property
    def are_raised(self) -> bool:
        """Whether the limit is raised just now."""
        return self._holders > 0

    def raise_limit(self) -> None:
        """Raise our own limit as far as it goes, until `lower_limit` was called as often."""
        self.raises += 1
        self._holders += 1
        self._set(self.soft_and_hard[1])

    def lower_limit(self) -> None:
        """Have the limit of apps again."""
        self._holders -= 1
        if not self._holders:
            self._set(self.soft_and_hard[0])

    @contextmanager
    def raised(self) -> Iterator[None]:
        """The limit raised for a moment."""
        self.raise_limit()
        try:
            yield
        finally:
            self.lower_limit()

    def takes_room(self, fd: int) -> bool:
        """Whether `fd` is to be put up, if it is kept for long."""
        soft, hard = self.soft_and_hard
        return soft != hard and 0 < soft // 2 <= fd < soft

    @property
    def border(self) -> int:
        """The first number of the reserve, which ends at the limit."""
        soft, _ = self.soft_and_hard
        return soft - min(_RESERVE, soft // 4)

    def is_reserved(self, fd: int) -> bool:
        """Whether `fd`, put up or not, is in the reserve: it may not be kept for long."""
        return self.border <= fd < self.soft_and_hard[0]

    def have_room(self, count: int) -> bool:
        """Whether so many more, at most hundreds, find a number below the reserve: they are taken once."""
        soft, hard = self.soft_and_hard
        taken: list[int] = []
        try:
            for _ in range(count):
                taken.append(fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 0))
                if taken[-1] >= self.border:
                    return False
                if soft != hard and taken[-1] + count < soft // 2:
                    return True  # what is kept above that is put up
        except OSError:
            return False
        finally:
            for fd in taken:
                os.close(fd)
        return True

    @property
    def most_captured(self) -> int:
        """How many pipes `droned-logs`, which has our hard limit, can read from."""
        hard = self.soft_and_hard[1]
        return max(2, hard - min(_FOR_LOGS, hard // 2))

    def put_up(self, fd: int) -> int:
        """Make room: gives `fd`, or its copy above the limit (then `fd` is closed)."""
        return self.put_all_up([fd])[0] if self.takes_room(fd) else fd

    def put_all_up(self, fds: list[int]) -> list[int]:
        """The same for many that take room, with the limit raised once."""
        higher = []
        with self.raised():
            for fd in fds:
                try:
                    higher.append(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, self.soft_and_hard[0]))
                except OSError:
                    higher.append(fd)  # no room above either
                else:
                    os.close(fd)
        return higher

    def _set(self, soft: int) -> None:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, self.soft_and_hard[1]))
        except (OSError, ValueError):
            pass  # a hard limit that was lowered by somebody else

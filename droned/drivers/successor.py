"""What a daemon needs when it has lost its guardian: how to start another, and proof of every live run.

A pidfd opened while a process lives tells its wait status even after somebody
else has reaped it (Linux 6.15), so a run that ends in the gap between two
guardians is still known.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, MutableMapping

from msgspec import Struct
from twisted.logger import Logger

from droned.guardian.wire import PACKET_FDS, Held, Row, Spawned, pair_socket

Key = tuple[str, int]


class GuardianIdentity(Struct, frozen=True, kw_only=True):
    """The guardian that has started this daemon, and the command for another such.

    `environment` are the variables that only guardians get (the service
    manager's); `lock_fd` is the state folder's lock, shared by both.
    """

    pid: int
    start_time: int
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    lock_fd: int

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> GuardianIdentity:
        """What the guardian has put into `environ`; it is removed there. KeyError without a guardian."""
        told = json.loads(environ.pop("DRONED_GUARDIAN"))
        return cls(
            pid=told["pid"],
            start_time=told["start_time"],
            argv=tuple(told["argv"]),
            environment=told["env"],
            lock_fd=int(environ.pop("DRONED_LOCK_FD")),
        )

    def start_another(self, environ: Mapping[str, str]) -> tuple[int, socket.socket]:
        """Start a successor; its pid and our end of the connection to it. Raises OSError.

        The successor is a child of this process and has to be reaped by it.
        """
        ours, theirs = pair_socket()
        with theirs:
            os.set_inheritable(theirs.fileno(), True)
            os.set_inheritable(self.lock_fd, True)
            split = self.argv.index("--")
            argv = [*self.argv[:split], "--successor-of", str(theirs.fileno()), *self.argv[split:]]
            env = {**environ, **self.environment, "DRONED_LOCK_FD": str(self.lock_fd)}
            try:
                pid = os.posix_spawn(
                    argv[0],
                    argv,
                    env,
                    setsid=True,
                    setsigmask=[],
                    setsigdef=sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}),
                )
            except OSError:
                ours.close()
                raise
            finally:
                os.set_inheritable(self.lock_fd, False)
        return pid, ours


def is_alive(pid: int, start_time: int) -> bool:
    """Whether that very process runs; a dead one that waits to be reaped does not."""
    found = _state_and_start(pid)
    return found is not None and found[1] == start_time and found[0] not in "ZX"


def _state_and_start(pid: int) -> tuple[str, int] | None:
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = os.read(fd, 4096)
    except OSError:
        return None
    finally:
        os.close(fd)
    fields = text[text.rindex(b")") + 2 :].split(None, 20)
    return fields[0].decode("ascii"), int(fields[19])


class HeldRuns:
    """A pidfd of every run that lives, opened when the guardian told of it; none is handed on unchecked.

    Of no more than `most`: what is left belongs to sockets and files, without
    which nothing works. The others wait for one that is let go.
    """

    log = Logger()

    def __init__(self, most: int | None) -> None:
        """`most` is None where any number fits."""
        self.most = most
        self.is_crowded = False
        """Whether a run ever had to do without."""
        self.on_crowded: Callable[[], None] = lambda: None
        """Called when it comes to that, once."""
        self._open = 0
        self._runs: dict[Key, tuple[Held, int]] = {}
        self._waiting: dict[Key, Held] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._runs

    def hold(self, run: Spawned | Row, at: float) -> None:
        """Open a pidfd of the main process of this run, which started at `at`.

        That of a row is checked at once, since its process may be long gone;
        that of one just spawned when it is handed on (`batches`).
        """
        key = (run["instance"], run["run"])
        if key in self._runs:
            return
        held = Held(
            instance=run["instance"],
            run=run["run"],
            pid=run["pid"],
            start_time=run["start_time"],
            spawned_at=at,
        )
        if self.most is None or self._open < self.most:
            self._put(key, held, is_checked="state" in run)
            return
        self._runs[key] = (held, -1)
        self._waiting[key] = held
        if not self.is_crowded:
            self.is_crowded = True
            self.log.error("too few descriptors: proof is held of {most} processes only", most=self.most)
            self.on_crowded()

    def _put(self, key: Key, held: Held, *, is_checked: bool = True) -> None:
        pidfd = _opened(held["pid"])
        if is_checked and pidfd >= 0 and not _is_of(held, pidfd):
            os.close(pidfd)
            pidfd = -1
        self._open += pidfd >= 0
        self._runs[key] = (held, pidfd)

    def let_go(self, key: Key) -> None:
        """The run has ended."""
        self._waiting.pop(key, None)
        _, pidfd = self._runs.pop(key, (None, -1))
        if pidfd < 0:
            return
        os.close(pidfd)
        self._open -= 1
        if self._waiting:
            other = next(iter(self._waiting))
            self._put(other, self._waiting.pop(other))

    def batches(self) -> Iterator[tuple[list[Held], list[int]]]:
        """All runs with their pidfds, as many at a time as one message takes."""
        held = [(run, pidfd) for run, pidfd in self._runs.values() if pidfd >= 0 and _is_of(run, pidfd)]
        for start in range(0, len(held), PACKET_FDS):
            part = held[start : start + PACKET_FDS]
            yield [run for run, _ in part], [pidfd for _, pidfd in part]

    def keys(self) -> list[Key]:
        """The runs that are held."""
        return list(self._runs)

    def close(self) -> None:
        """Give all descriptors back."""
        self._waiting.clear()
        for key in self.keys():
            self.let_go(key)


def _opened(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1  # gone already, or a kernel without pidfds


def _is_of(run: Held, pidfd: int) -> bool:
    """Whether a pidfd is of that very run: while a process lives, its pid is nobody else's.

    One that has died was this run's: a pid is free for others only after its
    guardian has reaped it, and then the end is told as well.
    """
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    if poll.poll(0):
        return True
    found = _state_and_start(run["pid"])
    return found is not None and found[1] == run["start_time"]

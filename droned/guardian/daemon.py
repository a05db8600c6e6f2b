"""The daemon as a companion: it is told what happens to apps, and gives orders."""

import time
from collections.abc import Callable
from typing import Protocol

from droned.guardian import loop
from droned.guardian.companion import Companion
from droned.guardian.companion_process import Life
from droned.guardian.daemon_process import begin_life
from droned.guardian.launch import World
from droned.guardian.wire import Delivery, Message, Reader, to_guardian


class Owner(Protocol):
    """Whom the daemon's orders and ends are told."""

    def received(self, delivery: Delivery) -> None:
        """The daemon has said something; the descriptors are the owner's."""

    def daemon_is_gone(self, status: int | None) -> bool:
        """A life is over; whether there shall be another."""


class Daemon(Companion):
    """The daemon, over all its lives."""

    name = "the daemon"

    def __init__(
        self,
        argv: list[str],
        own_argv: list[str],
        lock_fd: int,
        waits: loop.Loop,
        world: World,
        others: dict[int, Callable[[int], None]],
        owner: Owner,
    ) -> None:
        """`own_argv` starts a guardian such as this one; the daemon needs it when it has lost us."""
        super().__init__(waits, world, others)
        self._argv = argv
        self._own_argv = own_argv
        self._lock_fd = lock_fd
        self._owner = owner
        self.is_left = False
        self.is_urgent = False
        """Whether anything but a program that was started waits to be told."""

    def _new_reader(self) -> Reader:
        return to_guardian()

    def _new_life(self) -> Life:
        is_safe_mode = self.backoff.is_safe_mode(time.monotonic())
        return begin_life(self._argv, self._own_argv, self._lock_fd, is_safe_mode=is_safe_mode)

    def start(self) -> None:
        """Begin a life, unless one is going on."""
        self.is_left = False
        super().start()

    def _received(self, delivery: Delivery) -> None:
        self._owner.received(delivery)

    def _is_over(self, status: int | None) -> bool:
        return self._owner.daemon_is_gone(status) and not self.is_left

    def tell(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Say something to a daemon that listens; others will read it in the table."""
        super().tell(message, fds)
        self.is_urgent |= self.is_listening and message["type"] != "spawned"

    def flush(self) -> None:
        """Send what waits."""
        self.is_urgent = False
        super().flush()

    def pause_watchdog(self, seconds: float) -> None:
        """Do not replace it for so long, whatever it does."""
        self._watchdog.pause(time.monotonic(), seconds)

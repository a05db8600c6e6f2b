"""The daemon's lives: started, watched, fenced and started again.

Each life has a socket pair of its own. Whatever a daemon that was given up does
later, its end of the pair is dead, so it can order nothing any more; a daemon
that hangs in the kernel is left behind and not waited for.
"""

import os
import signal
import socket
import time
from collections.abc import Callable
from typing import Protocol

from droned.guardian import kernel, log, loop, processes
from droned.guardian.daemon_process import Life, begin_life
from droned.guardian.launch import World
from droned.guardian.watchdog import Backoff, Watchdog
from droned.guardian.wire import Delivery, Message, Outbox, Reader, WireError, to_guardian

_GONE_WITHIN_S = 5.0
_KILLED_WITHIN_S = 2.0
_PACKETS = 16


class Owner(Protocol):
    """Whom the companion tells."""

    def received(self, delivery: Delivery) -> None:
        """The daemon has said something; the descriptors are the owner's."""

    def daemon_is_gone(self, status: int | None) -> bool:
        """A life is over; whether there shall be another."""


class Companion:
    """The daemon, over all its lives."""

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
        self._argv = argv
        self._own_argv = own_argv
        self._lock_fd = lock_fd
        self._loop = waits
        self._world = world
        self._others = others
        self._owner = owner
        self._reader: Reader = to_guardian()
        self._outbox = Outbox()
        self._sock: socket.socket | None = None
        self._wants_to_write = False
        self._watchdog = Watchdog(time.monotonic())
        self.backoff = Backoff()
        self._start_timer: loop.Timer | None = None
        self._end_timer: loop.Timer | None = None
        self._ready_at: float | None = None
        self._pidfd = -1  # of a daemon that is not our child
        self.pid = 0
        self.lives = 0
        self.is_listening = False  # it has said hello
        self.is_left = False
        self.restarts_on_purpose = False
        self.is_urgent = False
        """Whether anything but a program that was started waits to be told."""

    # ---- lives

    def start(self) -> None:
        """Begin a life, unless one is going on."""
        self.is_left = False
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None
        if self.pid:
            return
        is_safe_mode = self.backoff.is_safe_mode(time.monotonic())
        try:
            life = begin_life(self._argv, self._own_argv, self._lock_fd, is_safe_mode=is_safe_mode)
        except OSError as error:
            log.say(f"cannot start the daemon: {error.strerror}")
            self._start_later(self.backoff.delay_s(time.monotonic(), 0.0) or 0.5)
            return
        self.take(life)

    def take(self, life: Life) -> None:
        """Begin with a life that has just been started."""
        pid, sock = life
        self._others[pid] = lambda status: self._gone(pid, status)
        self._begin(pid, sock)

    def _begin(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.lives += 1
        self._sock = sock
        self._world.private_fds = (self._lock_fd, sock.fileno())
        self._wants_to_write = False
        self._reader = to_guardian()
        self._watchdog = Watchdog(time.monotonic())
        self._loop.watch(sock.fileno(), loop.READ, self._happened)

    def adopt(self, pid: int, sock: socket.socket) -> None:
        """Take a daemon that is not our child: the one that has started us as a successor."""
        self._begin(pid, sock)
        try:
            self._pidfd = os.pidfd_open(pid) if kernel.has_pidfd() else -1
        except OSError:
            self._pidfd = -1
        if self._pidfd >= 0:
            self._loop.watch(self._pidfd, loop.READ, lambda _events: self._gone(pid, None))

    def resume(self, pid: int, sock: socket.socket, *, is_child: bool, is_listening: bool) -> None:
        """Take the same daemon after a re-exec."""
        if is_child:
            self.take((pid, sock))
        else:
            self.adopt(pid, sock)
        if is_listening:
            self.is_listening = True
            self.became_ready()

    @property
    def is_child(self) -> bool:
        """Whether the present daemon is our child."""
        return self.pid in self._others

    @property
    def socket_fd(self) -> int:
        """Our end of the pair, -1 without."""
        return self._sock.fileno() if self._sock is not None else -1

    def _gone(self, pid: int, status: int | None) -> None:
        if pid != self.pid:
            return  # a life that was given up before
        now = time.monotonic()
        self._drain()
        self._fence()
        healthy_s = now - self._ready_at if self._ready_at is not None else 0.0
        self.pid = 0
        self._ready_at = None
        on_purpose, self.restarts_on_purpose = self.restarts_on_purpose, False
        if not self._owner.daemon_is_gone(status) or self.is_left:
            return
        if on_purpose:
            self.backoff.forgive(healthy_s)
            self._start_later(0.0)
            return
        delay_s = self.backoff.delay_s(now, healthy_s)
        log.say(f"the daemon (pid {pid}) ended: {describe(status)}; the next one starts in {delay_s:g} s")
        self._start_later(delay_s)

    def _start_later(self, delay_s: float) -> None:
        self._start_timer = self._loop.later(delay_s, self.start)

    def _fence(self) -> None:
        """Cut this life off."""
        if self._end_timer is not None:
            self._end_timer.cancel()
            self._end_timer = None
        if self._pidfd >= 0:
            self._loop.unwatch(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        if self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._world.private_fds = (self._lock_fd,)
        self._outbox.drop()
        self.is_listening = False

    # ---- ends that we bring about

    def end_within(self, seconds: float) -> None:
        """It is about to exit by itself; kill it when it has not by then."""
        if self.pid and self._end_timer is None:
            self._end_timer = self._loop.later(seconds, self.kill)

    def kill(self) -> None:
        """End this life now, and leave it behind if the kernel does not let go of it."""
        pid = self.pid
        if not pid:
            if self._start_timer is not None:
                self._start_timer.cancel()  # nor shall there be a next one
                self._start_timer = None
            return
        if self._end_timer is not None:
            self._end_timer.cancel()
        try:
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            self._gone(pid, None)
            return
        self._end_timer = self._loop.later(_KILLED_WITHIN_S, lambda: self._leave_behind(pid))

    def _leave_behind(self, pid: int) -> None:
        if pid == self.pid:
            log.say(f"the daemon (pid {pid}) hangs in the kernel: it is cut off and left behind")
            self._gone(pid, None)

    # ---- talk

    def tell(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Say something to a daemon that listens; others will read it in the table."""
        if self.is_listening:
            self._outbox.add(message, fds)
            self.is_urgent |= message["type"] != "spawned"

    def flush(self) -> None:
        """Send what waits."""
        self.is_urgent = False
        if self._sock is None or not self._outbox:
            return
        try:
            sent = self._outbox.flush(self._sock)
        except OSError:
            self._outbox.drop()  # the end of this life is about to be seen
            return
        if sent == self._wants_to_write:
            self._wants_to_write = not sent
            self._loop.watch(self._sock.fileno(), loop.READ | (0 if sent else loop.WRITE), self._happened)

    def _happened(self, events: int) -> None:
        if events & ~loop.WRITE:
            self._read(_PACKETS)

    def _drain(self) -> None:
        """Take what it has said before its end."""
        while self._sock is not None and self._read(_PACKETS):
            pass

    def _read(self, packets: int) -> bool:
        """Take up to so many packets; False when there is no more for now."""
        for _ in range(packets):
            if self._sock is None:
                return False
            try:
                deliveries = self._reader.receive(self._sock)
            except BlockingIOError:
                return False
            except WireError as error:
                log.say(f"the daemon (pid {self.pid}) is not understood: {error}")
                self._hung_up(0.0)
                return False
            except OSError:
                deliveries = None
            if deliveries is None:
                self._hung_up(_GONE_WITHIN_S)
                return False
            for delivery in deliveries:
                self._owner.received(delivery)
        return True

    def _hung_up(self, patience_s: float) -> None:
        """It has closed its end: it is exiting, or has to."""
        if self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
        self.is_listening = False
        self._outbox.drop()
        self.end_within(patience_s)

    @property
    def ignored(self) -> int:
        """How many messages of this life had a type that is not known."""
        return self._reader.ignored

    # ---- health

    def progressed(self) -> None:
        """Its start-up goes on."""
        self._watchdog.progressed(time.monotonic())

    def became_ready(self) -> None:
        """It is in control."""
        now = time.monotonic()
        if self._ready_at is None:
            self._ready_at = now
        self._watchdog.became_ready(now)

    @property
    def is_ready(self) -> bool:
        """Whether it is in control."""
        return self._ready_at is not None and self.is_listening

    def answered(self) -> None:
        """It answered a ping."""
        self._watchdog.answered(time.monotonic())

    def pause_watchdog(self, seconds: float) -> None:
        """Do not replace it for so long, whatever it does."""
        self._watchdog.pause(time.monotonic(), seconds)

    def tick(self) -> None:
        """Look whether it has to go."""
        if not self.pid:
            return
        if not self.is_child and self._pidfd < 0 and processes.look(self.pid) is None:
            self._gone(self.pid, None)
            return
        reason = self._watchdog.tick(time.monotonic(), processes.used_while_runnable(self.pid))
        if reason is not None and self._end_timer is None:
            log.say(f"the daemon (pid {self.pid}) is {reason}: it is replaced")
            self.kill()


def describe(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "nobody saw how"
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"

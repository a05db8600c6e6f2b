"""A companion: a process that the guardian starts, watches, fences and starts again, and that is no app.

Each life has a socket of its own. Whatever a companion that was given up does
later, its end of the socket is dead, so it can order nothing any more; one that
hangs in the kernel is left behind and not waited for.
"""

import errno
import os
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from droned.guardian import kernel, log, loop, processes
from droned.guardian.companion_process import Life
from droned.guardian.launch import World
from droned.guardian.watchdog import SILENCE_S, Backoff, Watchdog
from droned.guardian.wire import Delivery, Message, Outbox, Reader, WireError

_GONE_WITHIN_S = 5.0
_KILLED_WITHIN_S = 2.0
_AGAIN_S = 0.02
_PACKETS = 16


class Companion(ABC):
    """One companion, over all its lives."""

    name = "the companion"
    silence_s = SILENCE_S

    def __init__(self, waits: loop.Loop, world: World, others: dict[int, Callable[[int], None]]) -> None:
        """`others` is where the wait status of a child that is no app goes."""
        self._loop = waits
        self._world = world
        self._others = others
        self._reader = self._new_reader()
        self._outbox = Outbox()
        self._sock: socket.socket | None = None
        self._wants_to_write = False
        self._watchdog = Watchdog(time.monotonic(), self.silence_s)
        self.backoff = self.new_backoff()
        self._start_timer: loop.Timer | None = None
        self._end_timer: loop.Timer | None = None
        self._again_timer: loop.Timer | None = None
        self._ready_at: float | None = None
        self._pidfd = -1  # of one that is not our child
        self.pid = 0
        self.lives = 0
        self.is_listening = False  # it can be told things
        self.restarts_on_purpose = False

    # ---- what each companion has of its own

    def new_backoff(self, failures: float = 0.0, deaths: tuple[float, ...] = ()) -> Backoff:
        """The waits between its lives, after these."""
        return Backoff(failures, deaths)

    @abstractmethod
    def _new_reader(self) -> Reader:
        """A reader for what it says."""

    @abstractmethod
    def _new_life(self) -> Life:
        """Start its process. Raises OSError."""

    @abstractmethod
    def _received(self, delivery: Delivery) -> None:
        """It has said something; the descriptors are ours."""

    @abstractmethod
    def _is_over(self, status: int | None) -> bool:
        """A life is over, `pid` is 0; whether there shall be another."""

    # ---- lives

    def start(self) -> None:
        """Begin a life, unless one is going on."""
        if self._start_timer is not None:
            self._start_timer.cancel()
            self._start_timer = None
        if self.pid:
            return
        try:
            life = self._new_life()
        except OSError as error:
            log.say(f"cannot start {self.name}: {error.strerror}")
            self._start_later(self.backoff.delay_s(time.monotonic(), 0.0) or 0.5)
            return
        self.take(life)

    def take(self, life: Life) -> None:
        """Begin with a life that has just been started."""
        pid, sock = life
        self._world.companion_sessions.append(pid)
        self._others[pid] = lambda status: self._gone(pid, status)
        self._begin(pid, sock)

    def _begin(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.lives += 1
        self._sock = sock
        self._world.private[self.name] = sock.fileno()
        self._wants_to_write = False
        self._reader = self._new_reader()
        self._watchdog = Watchdog(time.monotonic(), self.silence_s)
        self._loop.watch(sock.fileno(), loop.READ, self._happened)

    def adopt(self, pid: int, sock: socket.socket) -> None:
        """Take one that is not our child: it was there before us."""
        self._begin(pid, sock)
        try:
            self._pidfd = os.pidfd_open(pid) if kernel.has_pidfd() else -1
        except OSError:
            self._pidfd = -1
        if self._pidfd >= 0:
            self._loop.watch(self._pidfd, loop.READ, lambda _events: self._gone(pid, None))

    def resume(self, pid: int, sock: socket.socket, *, is_child: bool, is_listening: bool) -> None:
        """Take the same one after a re-exec."""
        if is_child:
            self.take((pid, sock))
        else:
            self.adopt(pid, sock)
        if is_listening:
            self.is_listening = True
            self.became_ready()

    @property
    def is_child(self) -> bool:
        """Whether the present one is our child."""
        return self.pid in self._others

    @property
    def socket_fd(self) -> int:
        """Our end of the socket, -1 without."""
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
        if not self._is_over(status):
            return
        if on_purpose:
            self.backoff.forgive(healthy_s)
            self._start_later(0.0)
            return
        delay_s = self.backoff.delay_s(now, healthy_s)
        log.say(f"{self.name} (pid {pid}) ended: {describe(status)}; the next one starts in {delay_s:g} s")
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
        self._world.private.pop(self.name, None)
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
            log.say(f"{self.name} (pid {pid}) hangs in the kernel: it is cut off and left behind")
            self._gone(pid, None)

    # ---- talk

    def tell(self, message: Message, fds: tuple[int, ...] = ()) -> None:
        """Say something to one that listens."""
        if self.is_listening:
            self._outbox.add(message, fds)

    def flush(self) -> None:
        """Send what waits."""
        if self._sock is None or not self._outbox:
            return
        try:
            sent = self._outbox.flush(self._sock)
        except OSError as error:
            if error.errno == errno.ETOOMANYREFS:  # of what we have sent it still has to take some
                self._flush_later()
                return
            self._outbox.drop()  # the end of this life is about to be seen
            return
        if sent == self._wants_to_write:
            self._wants_to_write = not sent
            self._loop.watch(self._sock.fileno(), loop.READ | (0 if sent else loop.WRITE), self._happened)

    def _flush_later(self) -> None:
        if self._again_timer is None or not self._again_timer.is_pending:
            self._again_timer = self._loop.later(_AGAIN_S, self.flush)

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
                log.say(f"{self.name} (pid {self.pid}) is not understood: {error}")
                self._hung_up(0.0)
                return False
            except OSError:
                deliveries = None
            if deliveries is None:
                self._hung_up(_GONE_WITHIN_S)
                return False
            for delivery in deliveries:
                self._received(delivery)
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

    def tick(self) -> None:
        """Look whether it has to go."""
        if not self.pid:
            return
        if not self.is_child and self._pidfd < 0 and processes.look(self.pid) is None:
            self._gone(self.pid, None)
            return
        reason = self._watchdog.tick(time.monotonic(), processes.used_while_runnable(self.pid))
        if reason is not None and self._end_timer is None:
            log.say(f"{self.name} (pid {self.pid}) is {reason}: it is replaced")
            self.kill()


def describe(status: int | None) -> str:
    """A wait status in words."""
    if status is None:
        return "nobody saw how"
    if os.WIFSIGNALED(status):
        return f"killed by signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"

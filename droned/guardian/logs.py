"""`droned-logs` as a companion: it gets the read end of all that programs write, and tells what is in files.

One that lived before us (its guardian was lost) is attached to and not
replaced: it alone has the read ends of runs that have ended. It hands copies
of all to us first.
"""

import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from droned.guardian import log, loop
from droned.guardian.captures import Captures, Kept
from droned.guardian.companion import Companion
from droned.guardian.companion_process import Life
from droned.guardian.descriptors import Descriptors
from droned.guardian.launch import World
from droned.guardian.logs_process import attached, begin_life, is_held
from droned.guardian.runs import Run
from droned.guardian.watchdog import Backoff
from droned.guardian.wire import Delivery, Message, Reader, from_logs
from droned.guardian.wire.captures import CAPTURES_PROTOCOL

_PING_TICKS = 5
_TOLD_AT_ONCE = 25
_ATTACHED_WITHIN_S = 1.0
_LOOK_S = 0.05
_GOES_WITHIN_S = 10.0


class Logs(Companion):
    """`droned-logs`, over all its lives."""

    name = "droned-logs"
    silence_s = 20.0

    def __init__(
        self,
        state_dir: str,
        captures: Captures,
        descriptors: Descriptors,
        waits: loop.Loop,
        world: World,
        others: dict[int, Callable[[int], None]],
        living: Callable[[], Iterable[Run]],
        changed: Callable[[int | None], None],
    ) -> None:
        """`living` gives the runs that live, `changed` is told the pid of each life, and None at its end."""
        super().__init__(waits, world, others)
        self._state_dir = state_dir
        self._captures = captures
        self._descriptors = descriptors
        self._living = living
        self._has_looked = False  # for what was lost with a guardian before us
        self._changed = changed
        self._has_begun = False
        self._is_pinged = False
        self._known: set[str] | None = None  # while one that we have attached to tells what it has
        self._attach_until: float | None = None
        self._ended: Callable[[], None] | None = None
        self._orders: dict[str, Callable[[Any], None]] = {
            "ready": self._ready,
            "captured_all": lambda _: self._told_all(),
            "drained": lambda message: captures.drained(message["names"]),
            "pong": lambda _: self._pong(),
        }

    # ---- lives

    def begin(self) -> None:
        """There is something to capture, or will be: have a `droned-logs` from now on."""
        if not self._has_begun:
            self._has_begun = True
            self.start()

    def start(self) -> None:
        """Attach to one that lives, or begin a life, unless one is going on."""
        self._has_begun = True
        if self.pid:
            return
        life = attached(self._state_dir)
        if life is not None:
            log.say(f"attached to the droned-logs with pid {life[0]}")
            self._attach_until = None
            self._known = set()
            self._descriptors.raise_limit()
            self.adopt(*life)
        elif is_held(self._state_dir) and self._may_wait():
            self._start_later(_LOOK_S)
        else:
            self._attach_until = None
            self._find_lost()  # before it is ready: some programs may not live so long
            super().start()

    def _may_wait(self) -> bool:
        """Whether one that holds the folder may still come to listen."""
        now = time.monotonic()
        if self._attach_until is None:
            self._attach_until = now + _ATTACHED_WITHIN_S
        return now < self._attach_until

    def _find_lost(self) -> None:
        if not self._has_looked:
            self._has_looked = True
            self._captures.find(self._living())

    def new_backoff(self, failures: float = 0.0, deaths: tuple[float, ...] = ()) -> Backoff:
        """The waits between its lives, after these: short, for programs wait with us."""
        return Backoff(failures, deaths, forgives_s=0.5, first_s=0.05, most_s=2.0)

    def _new_reader(self) -> Reader:
        return from_logs()

    def _new_life(self) -> Life:
        return begin_life(self._state_dir)

    def _begin(self, pid: int, sock: socket.socket) -> None:
        self._is_pinged = False
        super()._begin(pid, sock)
        self._changed(pid)

    def resume(self, pid: int, sock: socket.socket, *, is_child: bool, is_listening: bool) -> None:
        """Take the same one after a re-exec."""
        self._has_begun = True
        self._has_looked = True
        if not is_child and not is_listening:
            self._known = set()
            self._descriptors.raise_limit()
        super().resume(pid, sock, is_child=is_child, is_listening=is_listening)
        self._captures.is_heard = self.is_listening

    def _is_over(self, status: int | None) -> bool:
        self._captures.is_heard = False
        self._know_all()
        self._changed(None)
        if self._ended is None:
            return True
        if status == 0 or not self._captures.kept:
            self._finish()
            return False
        return True

    def replace(self) -> None:
        """Have it take what is in the pipes and exit, and start the one that is installed now."""
        if not self._has_begun:
            return
        self.restarts_on_purpose = self.pid > 0
        self._go()

    def _go(self) -> None:
        """Have this life exit when it has taken all; one that has just begun has taken nothing."""
        if self.is_listening:
            self.flush()
            self.tell({"type": "go"})
            self.end_within(_GOES_WITHIN_S)
            super().flush()
        elif self.is_child:
            self.kill()

    def end(self, within_s: float, ended: Callable[[], None]) -> None:
        """Have all that was written put into files; `ended` is called then, or when time is over."""
        self._ended = ended
        self._loop.later(within_s, self._finish)
        if not self.pid and not self._captures.kept:
            self._finish()
        elif self.is_listening:
            self._go()
        elif not self.pid:
            self.start()

    def _finish(self) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    # ---- talk

    def _received(self, delivery: Delivery) -> None:
        message, fds = delivery
        if message["type"] == "captured":
            self._captured(message, fds)
            return
        for fd in fds:
            os.close(fd)
        self._orders[message["type"]](message)

    def _captured(self, message: Any, fds: tuple[int, ...]) -> None:
        for fd in fds[1:]:
            os.close(fd)
        if fds and self._known is not None:
            self._known.add(message["name"])
            self._captures.take(message, fds[0])
        elif fds:
            os.close(fds[0])

    def _ready(self, message: Any) -> None:
        if message["protocol"] < CAPTURES_PROTOCOL - 1:
            log.say(f"cannot use a droned-logs that speaks protocol {message['protocol']}")
            self.kill()
        elif self._known is None and not self.is_listening:
            self._listens(())

    def _told_all(self) -> None:
        if self._known is not None:
            known = self._know_all()
            self._find_lost()
            self._listens(known)

    def _know_all(self) -> set[str]:
        """It has told what it has, or never will."""
        known, self._known = self._known, None
        if known is not None:
            self._descriptors.lower_limit()
        return known or set()

    def _listens(self, known: Iterable[str]) -> None:
        self.is_listening = self._captures.is_heard = True
        self.became_ready()
        self._captures.tell_all_again(known)
        if self._ended is not None:
            self._go()

    def flush(self) -> None:
        """Send what there is to tell, a part at a time: each stream that waits is a descriptor more."""
        untold = self._captures.untold
        while self.is_listening and untold and not self._outbox:
            try:
                self._tell_some()
            except OSError:  # no room for more copies before these are sent
                if not self._outbox:
                    self._flush_later()
                    return
            super().flush()
        super().flush()

    def _tell_some(self) -> None:
        untold = self._captures.untold
        for _ in range(min(_TOLD_AT_ONCE, len(untold))):
            self._tell(untold[0])
            untold.popleft()

    def _tell(self, what: Kept | Message) -> None:
        if not isinstance(what, Kept):
            self.tell(what)
            self._captures.told(what)
        elif what.fd >= 0:
            self.tell(what.message(), (what.fd,))
        elif self._captures.kept.get(what.name) is what:
            self._tell_of_reopened(what)

    def _tell_of_reopened(self, kept: Kept) -> None:
        """One that only the program has, if it lives still: there was no room for a copy of ours."""
        key = (kept.instance, kept.run)
        run = next((run for run in self._living() if run.key == key), None)
        fd = -1 if run is None else self._captures.reopened(kept, run)
        if fd < 0:
            log.say(f"cannot find what {kept.instance} writes to ({kept.name})")
            self._captures.drained([kept.name])
            return
        try:
            self.tell(kept.message(), (fd,))
        finally:
            os.close(fd)

    # ---- health

    def look(self, ticks: int) -> None:
        """Ask now and then whether it is well, and see whether it has to go."""
        if self.is_listening and not self._is_pinged and ticks % _PING_TICKS == 0:
            self.flush()
            self._captures.asked()
            self._is_pinged = True
            self.answered()  # its silence counts from now on
            self.tell({"type": "ping", "n": ticks})
        if self._is_pinged or not self.is_ready:
            self.tick()
        if not self.is_listening:
            self._captures.drop_oldest()

    def _pong(self) -> None:
        self._is_pinged = False
        self.answered()
        self._captures.answered()

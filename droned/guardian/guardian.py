"""The guardian: puts its parts together, understands the daemon's orders and the signals it is sent.

It decides nothing about apps. What it does by itself: reap, remember, keep a
daemon running, and end all trees when it was told to stop and no daemon can be
had for that.
"""

import gc
import os
import signal
import socket
import sys
import time
from typing import Any

from droned.guardian import cgroups, kernel, loop, notify, processes
from droned.guardian.adopt import Adoptions
from droned.guardian.captures import Captures
from droned.guardian.children import Children
from droned.guardian.companion_process import Life
from droned.guardian.daemon import Daemon
from droned.guardian.daemon_process import own_command
from droned.guardian.descriptors import Descriptors
from droned.guardian.ending import Ending
from droned.guardian.launch import World
from droned.guardian.ledger import Ledger, Memory
from droned.guardian.logs import Logs
from droned.guardian.orders import Orders
from droned.guardian.place import Place
from droned.guardian.reexec import Reexec
from droned.guardian.runs import Table
from droned.guardian.trees import Trees
from droned.guardian.watchdog import TICK_S
from droned.guardian.wire import Delivery, Head

_SCAN_TICKS = 5
_TOGETHER_S = 0.2
_LOOK_S = 0.1
_SWITCH_S = 0.0005  # a thread that is back from the kernel shall not wait long for the loop
_WITHOUT_CONTROL_S = 60.0
_REPLACED_WITHIN_S = 5.0
_RELOADED_WITHIN_S = 10.0
_WRITTEN_WITHIN_S = 5.0
_CANNOT_WORK = (75, 78)  # EX_TEMPFAIL and EX_CONFIG: starting it again would not help
_FAILED = 1


class Guardian:
    """One guardian over one state folder."""

    def __init__(
        self,
        place: Place,
        arguments: list[str],
        daemon_argv: list[str],
        descriptors: Descriptors,
        book: Ledger,
        groups: cgroups.Cgroups | None,
    ) -> None:
        """`arguments` start a guardian such as this one."""
        self.place = place
        self.arguments = arguments
        self.boot_id = processes.boot_id()
        self.loop = loop.Loop()
        self.notify = notify.Notify()
        self.table = Table()
        self.ledger = book
        self.cgroups = groups
        self.head: Head | None = None
        self.parked: dict[str, int] = {}
        self.shutdown_reason: str | None = None
        self.exit_code: int | None = None
        self._gets_orphans = self._become_reaper()
        self._null_fd = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._signals = kernel.open_signal_descriptor()
        self.world = World(
            state_id=place.state_id, ledger=book, null_fd=self._null_fd, descriptors=descriptors
        )
        self.trees = Trees(
            self.table,
            self.loop,
            groups,
            descriptors,
            book,
            place.state_id,
            self.tell,
            gets_orphans=self._gets_orphans,
        )
        self.world.private["lock"] = place.lock_fd
        self.captures = Captures(descriptors)
        self.children = Children(
            self.table, self.loop, self.trees, book, self.world, self.captures, self.tell
        )
        self.trees.orphans.companions = self.children.others
        self.trees.orphans.companion_sessions = self.world.companion_sessions
        self.adoptions = Adoptions(
            self.table,
            self.loop,
            self.children.finish,
            self.trees.resume,
            self.world.token,
            place.lock,
            descriptors,
        )
        self.companion = Daemon(
            daemon_argv,
            own_command(arguments),
            place.lock_fd,
            self.loop,
            self.world,
            self.children.others,
            self,
        )
        self.logs = Logs(
            place.state_dir,
            self.captures,
            descriptors,
            self.loop,
            self.world,
            self.children.others,
            self.table.living,
            lambda pid: self.tell({"type": "logs", "pid": pid}),
        )
        self._ending = Ending(self.table, self.trees, self.loop, self._all_is_stopped)
        self._was_first = False
        self._sent_at = self._looked_at = 0.0
        self._without_control_since: float | None = None
        self._ticks = 0
        self.reexec = Reexec(self)
        self._orders = Orders(self)

    @staticmethod
    def _become_reaper() -> bool:
        return ("subreaper" not in kernel.switched_off() and kernel.become_subreaper()) or os.getpid() == 1

    # ---- beginnings

    def begin(self, memory: Memory) -> None:
        """Take over what a ledger tells of this boot. With it goes the tree of each run."""
        self._was_first = not memory.header
        self.head = memory.head
        self.adoptions.recall(memory, self.boot_id)
        self.trees.resume(self.table.runs.values())
        if memory.boot_id == self.boot_id:
            self.captures.policies.update(memory.captured)
        self.ledger.rewrite(self.table, self.head, self.captures.policies)
        if self.captures.policies:
            self.logs.begin()

    def begin_alone(self, life: Life | None) -> None:
        """Be the guardian of a daemon that has just been started; what it cannot tell stays unknown."""
        self.adoptions.settle()
        if life is not None:
            self.companion.take(life)
        else:
            self.companion.start()

    def begin_for(self, pid: int, sock: socket.socket) -> None:
        """Serve the daemon that has started us; it has copies of what was lost."""
        self.companion.adopt(pid, sock)
        self.companion.lives = 2
        self._orders.await_copies()
        self.logs.begin()
        self.notify.is_main()

    def run(self) -> int:
        """Work until the end; the exit code."""
        self.loop.watch(self._signals, loop.READ, lambda _events: self._signalled())
        self.loop.after_turn += [self.children.start_some, self._send]
        self.loop.later(TICK_S, self._tick)
        if self.notify.watchdog_s:
            self._say_alive()
        self._signalled()  # what came before the descriptor was watched is readable too; reap at once
        self.children.reap()
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(_SWITCH_S)
        self.world.descriptors.lower_limit()
        self.loop.run()
        self.companion.flush()
        self.trees.forget_all()
        self.place.leave()
        if self._was_first and self.exit_code in _CANNOT_WORK and not self.table.runs:
            self.place.clear()
        return _FAILED if self.exit_code is None else self.exit_code

    def _send(self) -> bool:
        """Send the companions what there is to tell.

        While launches wait, that others have been made can wait as well: to
        take note of it costs the daemon, and `droned-logs`, as much as a
        launch, at a moment when launches want all processors. A pipe has room
        for what a program says first; one that fills is told of at once.
        """
        now = self.loop.now()
        if not self.children.is_busy or self.companion.is_urgent or now - self._sent_at >= _TOGETHER_S:
            self._sent_at = now
            self.companion.flush()
        is_time = now - self._looked_at >= _LOOK_S
        if not self.children.is_busy or (is_time and self.captures.are_filling()):
            if self.captures.untold:
                self.logs.begin()
            self.logs.flush()
        if is_time:
            self._looked_at = now
        return False

    # ---- signals to us

    def _signalled(self) -> None:
        for number in kernel.read_signals(self._signals):
            match number:
                case signal.SIGCHLD:
                    self.children.reap()
                case signal.SIGTERM | signal.SIGINT:
                    self._shutdown(signal.Signals(number).name)
                case signal.SIGHUP:
                    self.notify.reloading()
                    self.tell({"type": "reload"})
                    self.loop.later(_RELOADED_WITHIN_S, self.notify.still_reloading)
                case signal.SIGUSR1:
                    self.companion.start()
                case signal.SIGUSR2:
                    self.reexec.begin()

    def _shutdown(self, reason: str) -> None:
        if self.shutdown_reason is not None:
            return
        self.shutdown_reason = reason
        self.companion.is_left = False
        self.notify.stopping()
        if self.companion.is_listening:
            self.tell({"type": "shutdown", "reason": reason})
        else:
            self.companion.start()

    # ---- time

    def _tick(self) -> None:
        self.loop.later(TICK_S, self._tick)
        self._ticks += 1
        self.companion.tick()
        self.logs.look(self._ticks)
        self.tell({"type": "ping", "n": self._ticks, "at": self.loop.now()})
        if self.shutdown_reason is not None:
            self._look_for_control()
        self._keep_ledger_short()
        self._orders.tell_trouble()
        if self._ticks % _SCAN_TICKS == 0:
            if self._gets_orphans:
                self.trees.orphans.scan()
            if self.cgroups is not None:
                self.cgroups.remove_unwanted()

    def _look_for_control(self) -> None:
        now = time.monotonic()
        if self.companion.is_ready or self.exit_code is not None:
            self._without_control_since = None
            return
        if self._without_control_since is None:
            self._without_control_since = now
        if now - self._without_control_since >= _WITHOUT_CONTROL_S:
            self.exit_code = _FAILED
            self.companion.kill()
            self._ending.begin()

    def _keep_ledger_short(self) -> None:
        if not self.children.write_to_ledger and self.ledger.is_long:
            self.ledger.rewrite(self.table, self.head, self.captures.policies)

    def _say_alive(self) -> None:
        self.notify.alive()
        self.loop.later(self.notify.watchdog_s, self._say_alive)

    # ---- the daemon

    def tell(self, message: Any) -> None:
        """Say something to the daemon if it listens."""
        self.companion.tell(message)

    def received(self, delivery: Delivery) -> None:
        """Carry out an order of the daemon."""
        self._orders.carry_out(delivery)

    def daemon_is_gone(self, status: int | None) -> bool:
        """A daemon's life is over; whether there shall be another."""
        self._orders.handed()
        code = os.waitstatus_to_exitcode(status) if status is not None else None
        if self.exit_code is None and (
            code in _CANNOT_WORK and self.companion.lives == 1 and not self.table.living()
        ):
            self.exit_code = code
        if self.exit_code is None:
            return True
        if not self._ending.is_going_on:
            self._all_is_stopped()
        return False

    def _all_is_stopped(self) -> None:
        """Leave, as soon as the last words of all are in files."""
        self.logs.end(_WRITTEN_WITHIN_S, self.loop.stop)

    def replace_daemon(self, reason: str) -> None:
        """Have the daemon exit, by force if need be, and start the one that is installed now."""
        self.companion.restarts_on_purpose = True
        self.tell({"type": "replace", "reason": reason})
        self.companion.end_within(_REPLACED_WITHIN_S)

    def lacking(self) -> list[str]:
        """The abilities that are missing here."""
        present = {
            "cgroup": self.cgroups is not None,
            "pidfd": kernel.has_pidfd(),
            "posix_spawn": self.children.are_spawned,
            "subreaper": self._gets_orphans,
        }
        return [ability for ability in kernel.ABILITIES if not present[ability]]

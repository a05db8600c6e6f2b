"""Processes that an earlier guardian started: found again by the ledger, watched without being their parent.

A pid counts only with its boot and its start time. The wait status of a
process that is not our child is known where the kernel tells it: to root while
the dead process waits to be reaped, to everybody after that from Linux 6.15 on.
Otherwise the end is `unseen`; it is never made up.
"""

import os
import time
from collections.abc import Callable

from droned.guardian import holders, kernel, loop, processes
from droned.guardian.descriptors import Descriptors
from droned.guardian.ledger import Memory
from droned.guardian.runs import Key, Run, Table
from droned.guardian.wire import Held

_REAPED_WITHIN_S = 5.0  # some take their time: an init of ours here took two seconds
_LOOK_S = 1.0
_REMNANTS_S = 1.0


class Adoptions:
    """The runs that live and are not our children, and those whose end has yet to be found out."""

    def __init__(
        self,
        table: Table,
        waits: loop.Loop,
        finish: Callable[[list[Run]], None],
        resume: Callable[[list[Run]], None],
        token: Callable[[str, int], bytes],
        lock: str,
        descriptors: Descriptors,
    ) -> None:
        """`finish` is told of ends, `resume` of runs that were not in the table before.

        `token` gives what a run has in its environment; `lock` is the path of the lock.
        """
        self._token = token
        self._lock = lock
        self._descriptors = descriptors
        self._resume = resume
        self._table = table
        self._loop = waits
        self._finish = finish
        self._has_pidfd = kernel.has_pidfd()
        self._undecided: dict[Key, Run] = {}
        self._watched: dict[Key, int] = {}
        self._unwatched: dict[Key, Run] = {}

    def recall(self, memory: Memory, boot_id: str) -> None:
        """Fill the table from a ledger. Runs that are gone are undecided until `settle`."""
        for instance, number in memory.last_runs.items():
            self._table.remember_last(instance, number)
        for run in memory.runs.values():
            if run.state == "ended":
                run.is_reaped = True
                if memory.boot_id != boot_id:
                    run.leftovers = 0
                run.adopted = run.leftovers > 0  # what it has left behind hangs below others now
                self._table.add(run)
            elif memory.boot_id != boot_id:
                run.is_reaped = True
                self._table.end(run, time.time())
                self._table.add(run)
            else:
                run.adopted = True
                self._table.add(run)
                self.watch(run)
        self._table.acknowledge([list(key) for key in memory.acknowledged])
        if memory.intended:
            self._find(memory, boot_id)

    def _find(self, memory: Memory, boot_id: str) -> None:
        """Look for the processes that were about to be when a guardian was lost.

        One that has not executed its program yet is ended: it belongs to
        nobody. Where there is none, it may have come and gone: that is unseen.
        """
        is_same_boot = memory.boot_id == boot_id
        if is_same_boot:
            holders.end_remnants(self._lock, _REMNANTS_S)
        leaders = self._leaders() if is_same_boot else {}
        for instance, number in memory.intended:
            process = leaders.get(self._token(instance, number))
            run = Run(instance, number, 0, time.time())
            run.adopted = True
            if process is not None:
                run.pid, run.start_time, run.state = process.pid, process.start_time, "running"
                self._table.add(run)
                self.watch(run)
                continue
            self._table.add(run)
            self._undecided[run.key] = run

    @staticmethod
    def _leaders() -> dict[bytes, processes.Process]:
        """The leaders of sessions that carry a token; the eldest of each."""
        found: dict[bytes, processes.Process] = {}
        for process in sorted(processes.everything(), key=lambda process: process.start_time, reverse=True):
            if process.session == process.pid and not process.is_dead:
                token = processes.token_of(process.pid)
                if token is not None:
                    found[token] = process
        return found

    def watch(self, run: Run, pidfd: int = -1) -> None:
        """Wait for the end of a run by `pidfd`, which is ours from now on, or by one opened here."""
        if pidfd < 0:
            pidfd = self._opened(run)
        if pidfd >= 0:
            pidfd = self._descriptors.put_up(pidfd)
            if self._descriptors.is_reserved(pidfd) and processes.is_alive(run.pid, run.start_time):
                os.close(pidfd)  # looked at now and then; one that is gone tells how, and is closed
                pidfd = -1
        if pidfd >= 0:
            self._watched[run.key] = pidfd
            self._loop.watch(pidfd, loop.READ, lambda _events: self._exited(run, pidfd))
        elif not processes.is_alive(run.pid, run.start_time):
            self._undecided[run.key] = run
        else:
            if not self._unwatched:
                self._loop.later(_LOOK_S, self._look)
            self._unwatched[run.key] = run

    def _opened(self, run: Run) -> int:
        if not self._has_pidfd:
            return -1
        try:
            pidfd = os.pidfd_open(run.pid)
        except OSError:
            return -1
        if processes.start_time(run.pid) != run.start_time:
            os.close(pidfd)
            return -1
        return pidfd

    def offer(self, held: Held, pidfd: int) -> None:
        """A copy that the daemon has held since the start: it tells even of what is gone. Ours to close."""
        key = (held["instance"], held["run"])
        run = self._undecided.pop(key, None)
        if run is None and key not in self._table.runs:
            # The ledger has lost it, the daemon has not.
            run = Run(*key, held["pid"], held["spawned_at"], start_time=held["start_time"])
            run.state = "running"
            run.adopted = True
            self._table.add(run)
            self._resume([run])
        elif run is not None and not run.pid:
            run.pid, run.start_time, run.state = held["pid"], held["start_time"], "running"
            self._table.born(run)
            self._resume([run])
        if run is None:
            os.close(pidfd)
        else:
            self.watch(run, pidfd)

    def settle(self) -> None:
        """Nobody can tell more: what is undecided has ended unseen."""
        undecided, self._undecided = list(self._undecided.values()), {}
        if undecided:
            self._finish(undecided)

    def pidfds(self) -> dict[Key, int]:
        """The descriptors of the watched runs."""
        return dict(self._watched)

    def _exited(self, run: Run, pidfd: int) -> None:
        status = kernel.exit_status(pidfd)
        if status is None:
            process = processes.look(run.pid)
            waits = process is not None and process.start_time == run.start_time and process.is_dead
            if waits and process is not None and os.geteuid() == 0:
                status = process.exit_code
            elif waits:
                # It has still to be reaped, by whoever its parent is now; then the kernel tells.
                self._loop.watch(pidfd, loop.HANG_UP, lambda _events: self._over(run, pidfd))
                patience_s = _REAPED_WITHIN_S if kernel.tells_exit_status() else 0.0
                self._loop.later(patience_s, lambda: self._over(run, pidfd))
                return
        self._over(run, pidfd, status)

    def _over(self, run: Run, pidfd: int, status: int | None = None) -> None:
        if self._watched.get(run.key) != pidfd:
            return
        run.status = kernel.exit_status(pidfd) if status is None else status
        del self._watched[run.key]
        self._loop.unwatch(pidfd)
        os.close(pidfd)
        self._finish([run])

    def _look(self) -> None:
        """Without pidfds: look every second at those that live."""
        gone = [run for run in self._unwatched.values() if not processes.is_alive(run.pid, run.start_time)]
        for run in gone:
            del self._unwatched[run.key]
        if self._unwatched:
            self._loop.later(_LOOK_S, self._look)
        if gone:
            self._finish(gone)

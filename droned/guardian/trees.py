"""The whole of a run: its main process and all that came of it, found, signalled and seen to be gone.

What belongs to an instance, from the surest to the least sure:

1. what is in its cgroup folder;
2. what hangs below its main process;
3. orphans that landed on us and are found to be of it (`orphans`), and what hangs
   below them.

Without cgroups, and where orphans do not land on us (no subreaper, or a main
process that an earlier guardian started), 3 is a walk over /proc.

Nothing else is ever signalled: a process is opened (pidfd), then looked at,
then signalled, so that no other can have taken its pid in between. Orphans that
nothing claims are strangers: told of, never touched.
"""

import os
import signal
from collections.abc import Callable, Iterable

from droned.guardian import kernel, loop, processes
from droned.guardian.cgroups import Cgroups
from droned.guardian.descriptors import Descriptors
from droned.guardian.housing import Housing
from droned.guardian.ledger import Ledger, gone_line
from droned.guardian.orphans import Orphans
from droned.guardian.runs import Run, Table
from droned.guardian.wire import Message

_SWEEPS = 100
_SWEEP_S = 0.02
_LOOK_AGAIN_S = 0.25
_SCAN_S = 0.2
_PASSES = 5


class Trees:
    """All trees of one guardian."""

    def __init__(
        self,
        table: Table,
        waits: loop.Loop,
        cgroups: Cgroups | None,
        descriptors: Descriptors,
        book: Ledger,
        state_id: str,
        tell: Callable[[Message], None],
        *,
        gets_orphans: bool,
    ) -> None:
        self._table = table
        self._loop = waits
        self._cgroups = cgroups
        self._descriptors = descriptors
        self._ledger = book
        self._tell = tell
        self._gets_orphans = gets_orphans
        self._has_pidfd = kernel.has_pidfd()
        self._awaited: dict[str, Run] = {}
        self._events: dict[str, int] = {}
        self._sweeps: dict[str, int] = {}
        self._look_again: loop.Timer | None = None
        self._housing = Housing(cgroups, waits, self._scan_later) if cgroups is not None else None
        self._scan_is_due = False
        self.orphans = Orphans(table, cgroups, self._housing, state_id, tell, self._awaited)

    # ---- what a tree is

    def members(self, run: Run) -> dict[int, int]:
        """The living processes of the run's instance: pid → start time."""
        found: dict[int, int] = {}
        if self._cgroups is not None:
            found = self._cgroups.members(run.instance)
        roots = self.orphans.of(run.instance)
        if run.lives and run.start_time:
            roots[run.pid] = run.start_time
        if self._must_walk(run):
            roots.update(self._by_walk(run))
        found.update(processes.descendants(roots))
        return {pid: started for pid, started in found.items() if self._may_be_app(pid)}

    def _may_be_app(self, pid: int) -> bool:
        """The last gate before any signal: never init, ourselves or a companion."""
        return pid > 1 and pid != os.getpid() and pid not in self.orphans.companions

    def _is_in_folder(self, run: Run) -> bool:
        return self._cgroups is not None and run.is_housed

    def _must_walk(self, run: Run) -> bool:
        return not self._is_in_folder(run) and (run.adopted or not self._gets_orphans)

    def _must_scan(self, run: Run) -> bool:
        """Whether orphans have to be looked for: who has lost its parent since then hangs below us."""
        return not self._is_in_folder(run) and self._gets_orphans

    def _by_walk(self, run: Run) -> dict[int, int]:
        return {
            process.pid: process.start_time
            for process in processes.everything()
            if not process.is_dead
            and process.start_time >= run.start_time
            and self.orphans.claimant(process) == run.instance
        }

    # ---- the life of a run, as far as its tree is concerned

    def started(self, run: Run) -> None:
        """A run executes its program. What an earlier run left behind is this one's from now on."""
        self.orphans.know_main(run)
        self.orphans.forget(run.pid)
        before = self._awaited.pop(run.instance, None)
        self._sweeps.pop(run.instance, None)
        if before is not None:
            self._stop_watching(run.instance)
            self._tree_gone(before)
        if self._housing is not None and not run.is_housed and not run.is_reaped:
            self._housing.move(run)

    def _scan_later(self) -> None:
        """What is moved may have borne somebody before who has lost it since."""
        if not self._scan_is_due:
            self._scan_is_due = True
            self._loop.later(_SCAN_S, self._scan)

    def _scan(self) -> None:
        """Look for what got away; only then all of a run that was moved is in its folder, or known."""
        self._scan_is_due = False
        if self._gets_orphans and not self.orphans.scan():
            self._scan_later()
        elif self._housing is not None:
            for run in self._housing.take_moved():
                run.is_housed = True

    @property
    def have_folders(self) -> bool:
        """Whether each instance has a cgroup here."""
        return self._cgroups is not None

    @property
    def are_moving(self) -> bool:
        """Whether processes are on their way into a folder."""
        return self._housing is not None and self._housing.is_busy

    def leftovers(self, ended: list[Run]) -> None:
        """Count what is left of runs whose main process has just been reaped, and wait for the rest."""
        if any(self._must_scan(run) for run in ended):
            self.orphans.scan()
        for run in ended:
            if self._is_in_folder(run) and not self._is_populated(run):
                run.leftovers = len(self.orphans.of(run.instance))
            else:
                run.leftovers = len(self.members(run))
            if run.leftovers:
                self._await(run)
            else:
                self.orphans.forget_main(run)

    def _await(self, run: Run) -> None:
        self._awaited[run.instance] = run
        if self._cgroups is not None and run.instance not in self._events:
            try:
                fd = self._descriptors.put_up(self._cgroups.open_events(run.instance))
            except OSError:
                fd = -1
            if fd >= 0:
                self._events[run.instance] = fd
                self._loop.watch(fd, loop.URGENT, lambda _events: self._emptied(run.instance))
                self._recheck_soon(run.instance)  # what went before the watch began
        if not self._is_in_folder(run) and self._look_again is None:
            self._look_again = self._loop.later(_LOOK_AGAIN_S, self._look_at_awaited)

    def _is_populated(self, run: Run) -> bool:
        return self._cgroups is not None and self._cgroups.is_populated(run.instance)

    def _recheck_soon(self, instance: str) -> None:
        self._loop.later(0.0, lambda: self._recheck(instance))

    def _emptied(self, instance: str) -> None:
        os.pread(self._events[instance], 4096, 0)
        self._recheck(instance)

    def _look_at_awaited(self) -> None:
        self._look_again = None
        for instance in list(self._awaited):
            self._recheck(instance)
        if any(not self._is_in_folder(run) for run in self._awaited.values()):
            self._look_again = self._loop.later(_LOOK_AGAIN_S, self._look_at_awaited)

    def _recheck(self, instance: str) -> None:
        run = self._awaited.get(instance)
        if run is None or self._is_populated(run):
            return
        if self._must_scan(run):
            self.orphans.scan()
        if self.members(run):
            return
        del self._awaited[instance]
        self._stop_watching(instance)
        self.orphans.forget_main(run)
        self._tree_gone(run)
        self._tell({"type": "tree_gone", "instance": run.instance, "run": run.run})

    def _tree_gone(self, run: Run) -> None:
        self._table.tree_gone(run)
        self._ledger.append(gone_line(run))

    def _stop_watching(self, instance: str) -> None:
        fd = self._events.pop(instance, -1)
        if fd >= 0:
            self._loop.unwatch(fd)
            os.close(fd)

    def resume(self, runs: Iterable[Run]) -> None:
        """Know the runs of a guardian before us: those that live, and those with something left."""
        for run in runs:
            if self._cgroups is not None and (run.lives or run.leftovers):
                self._cgroups.expect(run.instance)
                if run.lives and run.pid and self._cgroups.instance_of(run.pid) != run.instance:
                    run.is_housed = False  # the guardian before us was lost before it had moved it
                elif run.leftovers and not run.lives and not self._is_populated(run):
                    run.is_housed = False  # what it has left got away before it was moved
            if run.lives or run.leftovers:
                self.orphans.know_main(run)
            if self._housing is not None and not run.is_housed and run.lives and run.pid:
                self._housing.move(run)
            if run.leftovers and not run.lives:
                self._await(run)
                self._recheck_soon(run.instance)

    def awaited(self) -> list[Run]:
        """The ended runs that have left something behind."""
        return list(self._awaited.values())

    def forget(self, instance: str) -> None:
        """The instance is gone for good."""
        if self._cgroups is not None:
            self._cgroups.remove(instance)

    def forget_all(self) -> None:
        """The guardian is about to exit: remove what is empty."""
        if self._cgroups is not None:
            self._cgroups.remove_all()

    def orphans_reaped(self, pids: list[int]) -> None:
        """Children that we did not start are gone."""
        touched = self.orphans.gone(pids)
        unhoused = [run.instance for run in self._awaited.values() if not self._is_in_folder(run)]
        if unhoused or self._cgroups is None:
            self.orphans.scan()  # what they leave behind has just landed here
            touched.update(unhoused)
        for instance in touched:
            self._recheck(instance)
        self.orphans.tell_strangers()

    # ---- signals

    def signal(self, run: Run, number: int, to: str) -> int:
        """Send a signal to the main process, group or tree of a run; how many processes it reached."""
        live = self._table.live(run.instance)
        if live is not None and (live is not run or not run.pid):
            return 0  # the folder and what is in it are the next run's; or there is no process yet
        if to == "main":
            return self._signal_main(run, number)
        if to == "group":
            return self._signal_group(run, number)
        if number == signal.SIGKILL:
            return self._kill_tree(run)
        return len(self._signal_members(run, number, {}))

    def _signal_main(self, run: Run, number: int) -> int:
        if not run.lives:
            return 0
        if run.adopted:
            return int(self._send(run.pid, run.start_time, number))
        return _signal_child(run.pid, number)

    def _signal_group(self, run: Run, number: int) -> int:
        if run.lives and not run.adopted:
            try:
                os.killpg(run.pid, number)
            except ProcessLookupError:
                return _signal_child(run.pid, number)  # it has not made its session yet
            except PermissionError:
                return 0
            return 1
        sent = 0
        for pid, started in self.members(run).items():
            process = processes.look(pid)
            if process is not None and process.group == run.pid and process.start_time == started:
                sent += self._send(pid, started, number)
        return sent

    def _signal_members(self, run: Run, number: int, already: dict[int, int]) -> dict[int, int]:
        """Signal all members once, and again those that were born meanwhile; gives all that were reached."""
        for _ in range(_PASSES):
            if self._must_scan(run):
                self.orphans.scan()
            members = self.members(run)
            if run.lives and not run.adopted:
                members[run.pid] = run.start_time
            new = {pid: started for pid, started in members.items() if already.get(pid) != started}
            if not new:
                break
            for pid, started in new.items():
                if pid == run.pid and run.lives and not run.adopted:
                    _signal_child(pid, number)
                else:
                    self._send(pid, started, number)
            already.update(new)
        return already

    def _kill_tree(self, run: Run) -> int:
        reached = 0
        if self._cgroups is not None:
            reached = len(self._cgroups.members(run.instance))
            self._cgroups.kill(run.instance)
        outside = self._signal_members(run, signal.SIGKILL, {})
        if not self._is_in_folder(run) and outside:
            self._sweep_later(run, _SWEEPS)
        return max(reached, len(outside))

    def _sweep_later(self, run: Run, sweeps: int) -> None:
        """Without a cgroup what is born while we kill has to be found: go on until nothing is left."""
        if run.instance not in self._sweeps:
            self._loop.later(_SWEEP_S, lambda: self._sweep(run))
        self._sweeps[run.instance] = sweeps

    def _sweep(self, run: Run) -> None:
        sweeps = self._sweeps.pop(run.instance, 0)
        if self._table.live(run.instance) not in (None, run):
            return  # what carries the instance's marks is the next run's by now
        if sweeps and self._signal_members(run, signal.SIGKILL, {}):
            self._sweep_later(run, sweeps - 1)

    def _send(self, pid: int, started: int, number: int) -> bool:
        """Signal that very process; False when it is gone or may not be signalled."""
        try:
            if not self._has_pidfd:
                # The gap between look and signal cannot be closed here; it is microseconds.
                if processes.is_alive(pid, started):
                    os.kill(pid, number)
                    return True
                return False
            fd = os.pidfd_open(pid)
            try:
                if processes.start_time(pid) != started:
                    return False
                signal.pidfd_send_signal(fd, number)
            finally:
                os.close(fd)
        except (ProcessLookupError, PermissionError):
            return False
        return True


def _signal_child(pid: int, number: int) -> int:
    """Signal a child of ours that is not reaped: its pid is its own. 0 when it may not be signalled.

    A program with the set-user-id bit is somebody else's for a guardian without privileges.
    """
    try:
        os.kill(pid, number)
    except (PermissionError, ProcessLookupError):
        return 0
    return 1

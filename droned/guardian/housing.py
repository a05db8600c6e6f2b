"""Into the cgroup of its instance goes what was spawned outside of it.

A move waits for every processor, some 10 ms unless another was just made, so it
has a thread of its own, and a program is told as running without it. What the
program has started meanwhile is moved after it. What has lost its parent by
then, its session and its environment too, can still be told by the moment of
its birth, since whoever is in a folder bears its children into it.
"""

import errno
import os
import time
from collections import deque
from collections.abc import Callable

from droned.guardian import brief, log, loop, processes
from droned.guardian.cgroups import Cgroups
from droned.guardian.runs import Run
from droned.guardian.workers import Workers

_PASSES = 20
_REMEMBERED_S = 30.0
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class _Move:
    """What is to be moved into a folder: the main process of a run, or what was found later."""

    __slots__ = ("errno", "folder", "has_moved", "instance", "pid", "run", "start_time")

    def __init__(self, instance: str, folder: str, pid: int, start_time: int, run: Run | None) -> None:
        self.instance = instance
        self.folder = folder
        self.pid = pid
        self.start_time = start_time
        self.run = run
        # What the thread writes:
        self.has_moved = False
        self.errno = 0


class _Outside:
    """The time in which a run was outside of its folder, in clock ticks since boot."""

    __slots__ = ("began", "ended", "instance")

    def __init__(self, instance: str, began: int) -> None:
        self.instance = instance
        self.began = began
        self.ended: int | None = None


class Housing:
    """Moves processes, and remembers when each run was moved."""

    def __init__(self, cgroups: Cgroups, waits: loop.Loop, done: Callable[[], None]) -> None:
        """`done` is called after runs were moved: time to look for what has got away from them."""
        self._cgroups = cgroups
        self._done = done
        self._moving = 0
        self._moved_runs: list[Run] = []
        self._outside: dict[Run, _Outside] = {}
        self._before: deque[_Outside] = deque()
        self._workers: Workers[_Move] = Workers("house", waits, lambda: _carry_out, self._moved)

    @property
    def is_busy(self) -> bool:
        """Whether anything is being moved."""
        return self._moving > 0

    def take_moved(self) -> list[Run]:
        """The runs that were moved since this was asked for last."""
        moved, self._moved_runs = self._moved_runs, []
        return moved

    def move(self, run: Run) -> None:
        """Move a run that has just begun."""
        if self._give(run.instance, run.pid, run.start_time, run):
            self._outside[run] = _Outside(run.instance, run.start_time)

    def take_in(self, instance: str, process: processes.Process) -> None:
        """Move a process that is found to be of an instance, unless it is in its folder."""
        if self._cgroups.instance_of(process.pid) != instance:
            self._give(instance, process.pid, process.start_time, None)

    def _give(self, instance: str, pid: int, start_time: int, run: Run | None) -> bool:
        try:
            if not self._workers.count:
                self._workers.add_thread()
        except (RuntimeError, OSError) as error:
            log.say(f"cannot have a thread for cgroups: {error}")
            return False
        self._moving += 1
        self._workers.give(_Move(instance, self._cgroups.expect(instance), pid, start_time, run))
        return True

    def only_candidate(self, process: processes.Process) -> str | None:
        """The one instance that was outside of its folder when this process was born, which is in none."""
        if not self._cgroups.is_with_us(process.pid):
            return None
        start_time = process.start_time
        self._close_ended()
        found = {
            outside.instance
            for outside in (*self._outside.values(), *self._before)
            if outside.began <= start_time and (outside.ended is None or start_time <= outside.ended)
        }
        return found.pop() if len(found) == 1 else None

    def _close_ended(self) -> None:
        """Note the end of runs that could not be moved."""
        now = _ticks_now()
        for run in [run for run in self._outside if run.is_reaped]:
            outside = self._outside.pop(run)
            outside.ended = now + 1
            self._before.append(outside)

    def _moved(self, moves: list[_Move]) -> None:
        now = _ticks_now()
        self._moving -= len(moves)
        for move in moves:
            if move.errno:
                log.say(f"cannot move {move.instance} into its cgroup: {os.strerror(move.errno)}")
            if move.run is not None:
                if move.has_moved:
                    self._moved_runs.append(move.run)
                if move.run in self._outside and (move.has_moved or not move.run.lives):
                    outside = self._outside.pop(move.run)
                    outside.ended = now + 1
                    self._before.append(outside)
        while self._before and (self._before[0].ended or 0) < now - _REMEMBERED_S * _TICKS_A_SECOND:
            self._before.popleft()
        self._done()


def _ticks_now() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_A_SECOND)


def _carry_out(move: _Move) -> None:
    """Move one process, and what hangs below it by then."""
    try:
        fd = _opened(move.folder)
    except OSError as error:
        move.errno = error.errno or errno.EIO  # not the error itself: it would keep the move for ever
        return
    try:
        waiting = {move.pid: move.start_time}
        moved: set[int] = set()
        for _ in range(_PASSES):
            for pid, started in waiting.items():
                if _is_there(move, pid, started):
                    os.write(fd, b"%d" % pid)  # the one call that takes its time
                    moved.add(pid)
            move.has_moved = move.pid in moved
            if not _has_children(move.pid):
                return
            below = processes.descendants({move.pid: move.start_time})
            waiting = {pid: started for pid, started in below.items() if pid not in moved}
            if not waiting:
                return
    except (ProcessLookupError, FileNotFoundError):
        pass  # it has ended
    except OSError as error:
        move.errno = error.errno or errno.EIO
    finally:
        brief.close(fd)


def _has_children(pid: int) -> bool:
    """Whether any thread of a process has children; True where the kernel does not list them."""
    try:
        return any(
            brief.read(b"/proc/%d/task/%s/children" % (pid, task))
            for task in os.listdir(b"/proc/%d/task" % pid)
        )
    except FileNotFoundError:
        return True


def _is_there(move: _Move, pid: int, started: int) -> bool:
    """Whether that very process is there: a child of ours keeps its pid until it is reaped."""
    if move.run is not None and pid == move.pid and not move.run.adopted:
        return not move.run.is_reaped
    return processes.start_time_in(brief.read(b"/proc/%d/stat" % pid)) == started


def _opened(folder: str) -> int:
    path = os.fsencode(folder)
    try:
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            pass
        return brief.open_for_writing(path + b"/cgroup.procs")
    except FileNotFoundError:
        os.makedirs(folder, 0o755, exist_ok=True)  # somebody has tidied up
        return brief.open_for_writing(path + b"/cgroup.procs")

"""The guardian's children from order to end: forked, never waited for, reaped.

An order becomes a fork in turn, a few in each turn of the loop, so that a
thousand orders hold up neither a ping nor an exit. The child's pipe hangs up
when its program is executed or its set-up has failed; a set-up without result
in `SETUP_S` is killed and told as a time-out, even if the kernel does not let go
of the child.
"""

import errno
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable

from droned.guardian import kernel, ledger, loop
from droned.guardian.cgroups import Cgroups
from droned.guardian.launch import Report, Setup, Unlaunchable, World
from droned.guardian.runs import Run, Table
from droned.guardian.trees import Trees
from droned.guardian.wire import Failure, Launch, Message

SETUP_S = 10.0
_AT_ONCE = 16
_PIPE_BYTES = 4096


class _Birth:
    """All that one fork needs."""

    __slots__ = ("error", "folder", "reader", "run", "setup", "writer")

    def __init__(self, run: Run, setup: Setup, folder: int, pipe: tuple[int, int]) -> None:
        self.run = run
        self.setup = setup
        self.folder = folder  # of the cgroup to be born in, -1 for none
        self.reader, self.writer = pipe
        self.error: OSError | None = None


class _Pending:
    """A child in its set-up."""

    __slots__ = ("deadline", "pipe", "report", "run")

    def __init__(self, run: Run, pipe: int, deadline: float) -> None:
        self.run = run
        self.pipe = pipe
        self.deadline = deadline
        self.report: Report | None = None


class Children:
    """All that the guardian has started for the daemon."""

    def __init__(
        self,
        table: Table,
        waits: loop.Loop,
        trees: Trees,
        cgroups: Cgroups | None,
        book: ledger.Ledger,
        world: World,
        tell: Callable[[Message], None],
    ) -> None:
        self._table = table
        self._loop = waits
        self._trees = trees
        self._cgroups = cgroups
        self._ledger = book
        self._world = world
        self._tell = tell
        self._queue: deque[tuple[str, int, Launch]] = deque()
        self._queued: dict[str, int] = {}
        self._pending: dict[int, _Pending] = {}
        self._timer: loop.Timer | None = None
        self._most_in_setup = max(16, world.nofile[1] // 4)
        self.others: dict[int, Callable[[int], None]] = {}
        """Children that are no apps: what to do with the wait status of each."""

    # ---- orders

    def order(self, instance: str, run: int, launch: Launch) -> None:
        """Start a run in its turn; refused at once when it may not be."""
        refusal = self._table.refusal(instance, run)
        if refusal is None and instance in self._queued:
            queued = self._queued[instance]
            refusal = {
                "type": "refused",
                "instance": instance,
                "run": run,
                "live_run": queued,
                "last_run": queued,
            }
        if refusal is not None:
            self._tell(dict(refusal))
            return
        self._queued[instance] = run
        self._queue.append((instance, run, launch))

    def start_some(self) -> bool:
        """Fork a few that have waited longest; True when there is more to do at once."""
        if self._queue and len(self._pending) < self._most_in_setup:
            self._start([self._queue.popleft() for _ in range(min(_AT_ONCE, len(self._queue)))])
        return bool(self._queue) and len(self._pending) < self._most_in_setup

    def start_all(self) -> None:
        """Fork all that waits: whoever asks next shall find it in the table."""
        while self._queue:
            self._start([self._queue.popleft() for _ in range(min(_AT_ONCE, len(self._queue)))])

    def start_now(self, instance: str) -> None:
        """Fork the order for this instance out of turn: a signal for it has come."""
        if instance in self._queued:
            order = next(order for order in self._queue if order[0] == instance)
            self._queue.remove(order)
            self._start([order])

    def _start(self, orders: list[tuple[str, int, Launch]]) -> None:
        """Prepare all, then fork one after the other.

        After each fork every page that the guardian writes to is copied, so
        as little as possible is done between one fork and the next.
        """
        births = [birth for order in orders if (birth := self._prepared(*order)) is not None]
        pipes = [birth.writer for birth in births]
        for birth in births:
            try:
                pid = os.fork() if birth.folder < 0 else kernel.fork_into_cgroup(birth.folder)
            except OSError as error:
                birth.error = error
                continue
            if pid == 0:
                birth.setup.run(birth.writer, [pipe for pipe in pipes if pipe != birth.writer])
            birth.run.pid = pid
        for birth in births:
            os.close(birth.writer)
            if birth.folder >= 0:
                os.close(birth.folder)
            if birth.error is None:
                self._table.add(birth.run)
                self.follow(birth.run, birth.reader)
            else:
                os.close(birth.reader)
                self._unborn(birth.run, "fork", birth.error)

    def _prepared(self, instance: str, number: int, launch: Launch) -> _Birth | None:
        """Everything for one fork; None when it has failed already."""
        del self._queued[instance]
        run = Run(instance, number, 0, time.time())
        folder, stage = -1, "cgroup"
        try:
            procs = None
            if self._cgroups is not None:
                folder, procs = self._cgroups.birthplace(instance)
            setup = Setup(launch, instance, number, self._world, procs)
            stage = "fork"
            return _Birth(run, setup, folder, os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK))
        except Unlaunchable as error:
            self._unborn(run, error.stage, OSError(error.errno, str(error)))
        except OSError as error:
            self._unborn(run, stage, error)
        if folder >= 0:
            os.close(folder)
        return None

    def _unborn(self, run: Run, stage: str, error: OSError) -> None:
        """There is no child at all."""
        if self._cgroups is not None:
            self._cgroups.mistrust(run.instance)
        run.is_reaped = True
        self._fail(run, {"stage": stage, "errno": error.errno or errno.EAGAIN})
        self._table.add(run)

    # ---- set-up

    def follow(self, run: Run, pipe: int) -> None:
        """Watch the set-up of a child by its pipe, which is ours from now on."""
        self._pending[run.pid] = _Pending(run, pipe, time.monotonic() + SETUP_S)
        self._loop.watch(pipe, loop.HANG_UP, lambda _events: self._hung_up(run.pid))
        if self._timer is None:
            self._timer = self._loop.later(SETUP_S, self._look_at_deadlines)

    @property
    def in_setup(self) -> dict[int, int]:
        """The children in their set-up: pid → pipe."""
        return {pid: pending.pipe for pid, pending in self._pending.items() if pending.pipe >= 0}

    @property
    def awaits_reaping(self) -> bool:
        """Whether a set-up has failed that cannot be told before its child is reaped."""
        return any(pending.report is not None for pending in self._pending.values())

    def _hung_up(self, pid: int) -> None:
        """The program is executed, or the child has given up (then its end is waited for)."""
        pending = self._pending[pid]
        report = pending.report = self._close_pipe(pending)
        run = pending.run
        if not report.has_facts or report.errno is not None:
            return  # told when it is reaped: a new run of the instance is possible only then
        del self._pending[pid]
        self._note_facts(run, report)
        run.state = "running"
        self._trees.started(run)
        self._tell(
            {
                "type": "spawned",
                "instance": run.instance,
                "run": run.run,
                "pid": run.pid,
                "start_time": run.start_time,
                "at": run.at,
            }
        )

    def _close_pipe(self, pending: _Pending) -> Report:
        self._loop.unwatch(pending.pipe)
        try:
            content = os.read(pending.pipe, _PIPE_BYTES)
        except BlockingIOError:
            content = b""
        os.close(pending.pipe)
        pending.pipe = -1
        return Report(content)

    def _note_facts(self, run: Run, report: Report) -> None:
        run.start_time, run.at = report.start_time, report.at
        if report.is_unrecorded:
            self._ledger.child_failed(run)

    def _look_at_deadlines(self) -> None:
        now = time.monotonic()
        self._timer = None
        for pending in list(self._pending.values()):  # in the order of their deadlines
            if pending.deadline > now:
                self._timer = self._loop.later(pending.deadline - now, self._look_at_deadlines)
                return
            if pending.pipe >= 0:
                self._time_out(pending)

    def _time_out(self, pending: _Pending) -> None:
        run = pending.run
        report = self._close_pipe(pending)
        os.kill(run.pid, signal.SIGKILL)
        if self._cgroups is not None:
            self._cgroups.kill(run.instance)
        self._fail(run, {"stage": f"timeout at {report.stage}", "errno": errno.ETIMEDOUT})

    def _fail(self, run: Run, failure: Failure) -> None:
        at = time.time()
        self._table.end(run, at, failure=failure)
        self._ledger.append(ledger.end_line(run))
        self._tell({"type": "spawn_failed", "instance": run.instance, "run": run.run, **failure, "at": at})

    # ---- ends

    def reap(self) -> None:
        """Take the wait status of every child that has ended, and tell."""
        ended: list[Run] = []
        orphans: list[int] = []
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            run = self._table.by_pid.get(pid)
            if run is not None and not run.adopted:
                if self._is_end(run, status):
                    run.status = status
                    run.cpu_s = round(usage.ru_utime + usage.ru_stime, 6)
                    run.max_rss_bytes = usage.ru_maxrss * 1024
                    ended.append(run)
            elif (call := self.others.pop(pid, None)) is not None:
                call(status)
            else:
                orphans.append(pid)
        if ended:
            self.finish(ended)
        if orphans:
            self._trees.orphans_reaped(orphans)

    def _is_end(self, run: Run, status: int) -> bool:
        """Whether the reaped child was a running program; what never came to that is settled here."""
        pending = self._pending.get(run.pid)
        if pending is None:
            return True
        if pending.pipe >= 0:
            self._hung_up(run.pid)
            if run.state == "running":
                return True
        del self._pending[run.pid]
        report = pending.report
        if report is not None:
            if report.has_facts:
                self._note_facts(run, report)
            stage = report.stage if report.errno is not None else f"killed at {report.stage}"
            self._fail(run, {"stage": stage, "errno": report.errno or 0})
            if report.stage == "cgroup" and self._cgroups is not None:
                self._cgroups.mistrust(run.instance)
        self._table.reaped(run)
        return False

    def finish(self, ended: Iterable[Run]) -> None:
        """Main processes are gone: count what they leave, write it down, tell."""
        runs = list(ended)
        at = time.time()
        for run in runs:
            self._table.end(run, at, status=run.status)
            run.is_reaped = True
        self._trees.leftovers(runs)
        self._ledger.append(b"".join(map(ledger.end_line, runs)))
        for run in runs:
            self._table.reaped(run)
            self._tell(
                {
                    "type": "ended",
                    "instance": run.instance,
                    "run": run.run,
                    "status": run.status,
                    "at": at,
                    "cpu_s": run.cpu_s,
                    "max_rss_bytes": run.max_rss_bytes,
                    "leftovers": run.leftovers,
                }
            )

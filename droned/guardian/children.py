"""The guardian's children from order to end: started in their turn, never waited for, reaped.

An order becomes a process in turn, a few in each turn of the loop, so that a
thousand orders hold up neither a ping nor an exit. Which way it goes (`spawners`
or `forks`) is seen by the launch alone.

A child of a spawner can end before the loop has heard its pid. So while any
launch is with a thread, the status of a child that is not known is put by.
"""

import errno
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable

from droned.guardian import ledger, loop, processes
from droned.guardian.captures import Captures
from droned.guardian.forks import Forks
from droned.guardian.launch import Unlaunchable, World
from droned.guardian.runs import Run, Table
from droned.guardian.spawners import Job, Spawners
from droned.guardian.trees import Trees
from droned.guardian.wire import Launch, Message

_AT_ONCE = 16
_MOST_WITH_THREADS = 32
_MOST_UNKNOWN = 10_000
_LASTING, _PASSING = 2, 4  # the descriptors of a launch that is captured: kept, and taken in its course


class _Death:
    """What the kernel told of a child that nobody knew."""

    __slots__ = ("cpu_s", "max_rss_bytes", "status")

    def __init__(self, status: int, cpu_s: float, max_rss_bytes: int) -> None:
        self.status = status
        self.cpu_s = cpu_s
        self.max_rss_bytes = max_rss_bytes


class Children:
    """All that the guardian has started for the daemon."""

    def __init__(
        self,
        table: Table,
        waits: loop.Loop,
        trees: Trees,
        book: ledger.Ledger,
        world: World,
        captures: Captures,
        tell: Callable[[Message], None],
    ) -> None:
        self._table = table
        self._trees = trees
        self._ledger = book
        self._tell = tell
        self._queue: deque[tuple[str, int, Launch]] = deque()
        self._queued: dict[str, int] = {}
        self._afterwards: dict[str, list[Callable[[], None]]] = {}
        self._unknown: dict[int, _Death] = {}
        soft, _ = world.descriptors.soft_and_hard
        self._most_in_setup = max(16, soft // 4)
        # Each launch whose output is captured takes some descriptors until it is done.
        self._at_once = min(_AT_ONCE, max(1, soft // 32))
        self._most_with_threads = min(_MOST_WITH_THREADS, max(4, soft // 16))
        self._world = world
        self._captures = captures
        self._spawners = Spawners(waits, world, self._came_back, self._gave_up)
        self.forks = Forks(table, waits, book, world, captures, self._started, self._fail)
        trees.orphans.is_newborn = self._is_newborn
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
        """Start a few that have waited longest; True when there is more to do at once."""
        if self._captures.need_room and (self.are_settled or self._spawners.are_slow):
            self._captures.make_room()
        if self._queue and self._may_start:
            have_plenty = self._have_plenty
            if have_plenty or self._is_none_on_its_way:
                count = min(self._at_once, len(self._queue)) if have_plenty else 1
                self._start([self._queue.popleft() for _ in range(count)], have_plenty=have_plenty)
                return bool(self._queue) and (self._may_start if have_plenty else self._is_none_on_its_way)
        return False

    @property
    def _is_none_on_its_way(self) -> bool:
        return self.are_settled and not self.forks.pipes

    @property
    def _may_start(self) -> bool:
        return (
            len(self.forks) < self._most_in_setup
            and self._spawners.working < self._most_with_threads
            and not self._captures.are_crowded
        )

    @property
    def _have_plenty(self) -> bool:
        """Whether the next few surely find their descriptors; else they go one by one."""
        count = self._at_once + self._spawners.working
        return self._captures.fit(_LASTING * count, _PASSING * count)

    def start_all(self) -> None:
        """Start all that waits: whoever asks next shall find it in the table."""
        while self._queue:
            self._start([self._queue.popleft() for _ in range(min(_AT_ONCE, len(self._queue)))])

    def after_launch(self, instance: str, call: Callable[[], None]) -> bool:
        """Start the order for this instance out of turn; have `call` made when its process is known.

        False, and no call, when there is nothing to wait for.
        """
        if instance in self._queued:
            order = next(order for order in self._queue if order[0] == instance)
            self._queue.remove(order)
            self._start([order])
        if not self._spawners.is_waited_for(instance):
            return False
        self._afterwards.setdefault(instance, []).append(call)
        return True

    @property
    def is_busy(self) -> bool:
        """Whether launches wait for their turn."""
        return bool(self._queue)

    @property
    def are_spawned(self) -> bool:
        """Whether launches can go the quick way here."""
        return self._spawners.are_usable

    @property
    def are_settled(self) -> bool:
        """Whether no launch that may come to something is with a thread or waits for one."""
        return not self._spawners.working

    @property
    def are_idle(self) -> bool:
        """Whether no thread is at a launch, be it one that was given up."""
        return not self._spawners.in_flight

    @property
    def write_to_ledger(self) -> bool:
        """Whether children or threads may write to the ledger just now."""
        return bool(self.forks.pipes or self._spawners.working)

    def _is_newborn(self, process: processes.Process) -> bool:
        """Whether a child that nobody knows is the process of a launch that has not come back yet.

        Before its program is executed it is in our session or has just made its
        own; then it carries the token, which cannot be read in the moment
        between. An app's orphan is in the session of that app, mostly.
        """
        jobs = self._spawners.in_flight.values()
        if not jobs or process.session not in (process.pid, os.getsid(0)):
            return False
        token = None if processes.is_unexecuted(process.pid) else processes.token_of(process.pid)
        return token is None or any(token == self._world.token(job.run.instance, job.run.run) for job in jobs)

    def _start(self, orders: list[tuple[str, int, Launch]], *, have_plenty: bool = False) -> None:
        forked: list[tuple[Run, Launch]] = []
        lines = self._captures.ordered((instance, launch) for instance, _, launch in orders)
        if lines:
            self._ledger.append(lines)
        for instance, number, launch in orders:
            del self._queued[instance]
            run = Run(instance, number, 0, time.time())
            run.is_housed = not self._trees.have_folders
            streams = len({launch["stdout"], launch["stderr"]}) if "logs" in launch else 0
            coming = _LASTING * (self._spawners.working + len(forked))
            if streams and not have_plenty and not self._find_room(streams, coming):
                self._unstarted(run, "descriptors", errno.EMFILE)
            elif self._spawners.can(launch):
                self._give(run, launch)
            else:
                forked.append((run, launch))
        if forked:
            self.forks.start(forked)

    def _find_room(self, streams: int, coming: int) -> bool:
        """Have descriptors for one more that is captured, while `coming` are for others."""
        if self._captures.fit(streams + coming, coming):
            return True
        self._captures.make_way(streams + 2 * coming)
        return self._captures.fit(streams + coming, coming)

    def _give(self, run: Run, launch: Launch) -> None:
        try:
            job = Job(run, launch, self._world)
        except Unlaunchable as error:
            self._unstarted(run, error.stage, error.errno)
            return
        except OSError as error:
            self._unstarted(run, "descriptors", error.errno or errno.EMFILE)
            return
        self._table.add(run)
        self._spawners.give(job)

    def _unstarted(self, run: Run, stage: str, number: int) -> None:
        """No attempt is made."""
        run.is_reaped = True
        self._fail(run, stage, number)
        self._table.add(run)
        self._table.reaped(run)

    # ---- what comes of them

    def _came_back(self, jobs: list[Job]) -> None:
        for job in jobs:
            run = job.run
            for _ in range(job.unrecorded):
                self._ledger.line_was_lost()
            if job.pid:
                self._born(job)
                continue
            job.let_go()
            if job.is_given_up:
                self._table.reaped(run)
            else:
                self.forks.start([(run, job.launch)])
        for job in jobs:
            for call in self._afterwards.pop(job.run.instance, ()):
                call()
        if self.are_idle:
            self._unknown.clear()

    def _born(self, job: Job) -> None:
        run = job.run
        run.pid, run.start_time, run.at, run.output = job.pid, job.start_time, job.at, job.output
        self._table.born(run)
        if job.unrecorded:
            self._ledger.append(ledger.start_line(run))
        death = self._unknown.pop(run.pid, None)
        if death is not None and run.start_time and processes.start_time(run.pid) == run.start_time:
            death = None  # somebody else had this pid before
        if job.is_given_up:
            job.let_go()
            # It may have been killed and reaped long ago: a pid is signalled only while it is our child's.
            if run.start_time and processes.start_time(run.pid) == run.start_time:
                os.kill(run.pid, signal.SIGKILL)
            else:
                self._table.reaped(run)
            return
        run.is_reaped = death is not None
        if job.readers:
            self._captures.keep(run, job.launch["logs"], job.readers)
        self._started(run)
        if death is not None:
            run.status, run.cpu_s, run.max_rss_bytes = death.status, death.cpu_s, death.max_rss_bytes
            self.finish([run])

    def _put_by(self, pid: int, death: _Death) -> None:
        """Keep what the kernel told of a child that nobody knows: a launch may come back with its pid."""
        self._unknown.pop(pid, None)
        self._unknown[pid] = death
        if len(self._unknown) > _MOST_UNKNOWN:
            del self._unknown[next(iter(self._unknown))]

    def _started(self, run: Run) -> None:
        run.state = "running"
        self._trees.started(run)
        self._captures.began(run)
        self._tell(
            {
                "type": "spawned",
                "instance": run.instance,
                "run": run.run,
                "pid": run.pid,
                "start_time": run.start_time,
                "at": run.at,
                **({"output": run.output} if run.output is not None else {}),
            }
        )

    def _gave_up(self, job: Job) -> None:
        """A launch took too long; its thread may hang for longer still."""
        self._fail(job.run, f"timeout at {job.stage}", errno.ETIMEDOUT)
        for pid in processes.unexecuted_children(job.thread):
            if pid not in self._table.by_pid and pid not in self.others:
                os.kill(pid, signal.SIGKILL)

    def _fail(self, run: Run, stage: str, number: int) -> None:
        at = time.time()
        self._table.end(run, at, failure={"stage": stage, "errno": number})
        self._ledger.append(ledger.end_line(run))
        self._captures.failed(run.key)
        self._tell(
            {
                "type": "spawn_failed",
                "instance": run.instance,
                "run": run.run,
                "stage": stage,
                "errno": number,
                "at": at,
            }
        )

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
            cpu_s, max_rss_bytes = round(usage.ru_utime + usage.ru_stime, 6), usage.ru_maxrss * 1024
            run = self._table.by_pid.get(pid)
            if run is not None and not run.adopted:
                if not self.forks.is_end_of_run(run):
                    continue
                if run.state == "ended":
                    self._table.reaped(run)  # its launch was given up before it came back
                    continue
                run.status, run.cpu_s, run.max_rss_bytes = status, cpu_s, max_rss_bytes
                ended.append(run)
            elif (call := self.others.pop(pid, None)) is not None:
                call(status)
            else:
                if self._spawners.in_flight:
                    self._put_by(pid, _Death(status, cpu_s, max_rss_bytes))
                orphans.append(pid)
        if ended:
            self.finish(ended)
        if orphans:
            self._trees.orphans_reaped(orphans)

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
            self._captures.ended(run, at)
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

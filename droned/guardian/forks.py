"""Launches by fork: for children that become another user, or get limits and privileges of their own.

They are forked a few at a time and never waited for. The child's pipe hangs up
when its program is executed or its set-up has failed; a set-up without result
in `SETUP_S` is killed and told as a time-out, even if the kernel does not let go
of the child.
"""

import errno
import os
import signal
import time
from collections.abc import Callable

from droned.guardian import loop, pipes
from droned.guardian.captures import Captures
from droned.guardian.launch import SETUP_S, Report, Setup, Unlaunchable, World, captured_streams
from droned.guardian.ledger import Ledger
from droned.guardian.runs import Run, Table
from droned.guardian.wire import Launch

_PIPE_BYTES = 4096


class _Birth:
    """All that one fork needs."""

    __slots__ = ("errno", "reader", "run", "setup", "writer", "writers")

    def __init__(self, run: Run, setup: Setup, pipe: tuple[int, int], writers: tuple[int, ...]) -> None:
        self.run = run
        self.setup = setup
        self.reader, self.writer = pipe
        self.writers = writers
        """The ends for its output, where that is captured."""
        self.errno = 0

    @property
    def ends(self) -> tuple[int, ...]:
        """All that only its child shall hold."""
        return self.writer, *self.writers


class _Pending:
    """A child in its set-up."""

    __slots__ = ("deadline", "pipe", "report", "run")

    def __init__(self, run: Run, pipe: int, deadline: float) -> None:
        self.run = run
        self.pipe = pipe
        self.deadline = deadline
        self.report: Report | None = None


class Forks:
    """The children in their set-up."""

    def __init__(
        self,
        table: Table,
        waits: loop.Loop,
        book: Ledger,
        world: World,
        captures: Captures,
        started: Callable[[Run], None],
        failed: Callable[[Run, str, int], None],
    ) -> None:
        """`started` is told of programs that run, `failed` of starts with stage and errno.

        A run whose child has still to be reaped is in the table when it has failed.
        """
        self._table = table
        self._loop = waits
        self._ledger = book
        self._world = world
        self._captures = captures
        self._started = started
        self._failed = failed
        self._pending: dict[int, _Pending] = {}
        self._timer: loop.Timer | None = None

    def start(self, orders: list[tuple[Run, Launch]]) -> None:
        """Prepare all, then fork one after the other.

        After each fork every page that the guardian writes to is copied, so
        as little as possible is done between one fork and the next.
        """
        births = [birth for order in orders if (birth := self._prepared(*order)) is not None]
        ends = [end for birth in births for end in birth.ends]
        for birth in births:
            try:
                pid = os.fork()
            except OSError as error:
                birth.errno = error.errno or errno.EAGAIN
                continue
            if pid == 0:
                birth.setup.run(birth.writer, [end for end in ends if end not in birth.ends])
            birth.run.pid = pid
        for birth in births:
            for end in birth.ends:
                os.close(end)
            if not birth.errno:
                self._table.add(birth.run)
                self.follow(birth.run, birth.reader)
            else:
                os.close(birth.reader)
                self._unborn(birth.run, "fork", birth.errno)

    def _prepared(self, run: Run, launch: Launch) -> _Birth | None:
        """Everything for one fork; None when it has failed already."""
        writers: tuple[int, ...] = ()
        stage = "descriptors"
        try:
            writers = self._captured(run, launch)
            setup = Setup(launch, run.instance, run.run, self._world, writers)
            stage = "fork"
            return _Birth(run, setup, os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK), writers)
        except Unlaunchable as error:
            self._unborn(run, error.stage, error.errno)
        except OSError as error:
            self._unborn(run, stage, error.errno)
        for writer in writers:
            os.close(writer)
        return None

    def _captured(self, run: Run, launch: Launch) -> tuple[int, ...]:
        """The ends for its output; their other ends are kept. Raises Unlaunchable, OSError."""
        writers: list[int] = []
        try:
            for stream in captured_streams(launch):
                reader, writer = pipes.make()
                writers.append(writer)
                self._captures.keep(run, launch["logs"], {stream: reader})
        except OSError:
            for writer in writers:
                os.close(writer)
            raise
        return tuple(writers)

    def _unborn(self, run: Run, stage: str, number: int | None) -> None:
        """There is no child at all."""
        run.is_reaped = True
        self._failed(run, stage, number or errno.EAGAIN)
        self._table.add(run)
        self._table.reaped(run)

    # ---- set-up

    def follow(self, run: Run, pipe: int) -> None:
        """Watch the set-up of a child by its pipe, which is ours from now on."""
        self._pending[run.pid] = _Pending(run, pipe, time.monotonic() + SETUP_S)
        self._loop.watch(pipe, loop.HANG_UP, lambda _events: self._hung_up(run.pid))
        if self._timer is None:
            self._timer = self._loop.later(SETUP_S, self._look_at_deadlines)

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def pipes(self) -> dict[int, int]:
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
        if not report.has_facts or report.errno is not None:
            return  # told when it is reaped: a new run of the instance is possible only then
        del self._pending[pid]
        self._note_facts(pending.run, report)
        self._started(pending.run)

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
        run.output = None if run.instance in self._captures.policies else report.output
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
        self._failed(run, f"timeout at {report.stage}", errno.ETIMEDOUT)

    def is_end_of_run(self, run: Run) -> bool:
        """Whether the child that was just reaped was a running program; else its start is settled here."""
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
            self._failed(run, stage, report.errno or 0)
        self._table.reaped(run)
        return False

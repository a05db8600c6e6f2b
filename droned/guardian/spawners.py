"""The quick way from a launch to a running program: threads that call posix_spawn.

A fork of the guardian and the set-up in the child cost some 2 ms of processor
time, most of it pages copied; posix_spawn costs a tenth. It takes every launch
that asks for no other user, limit or privilege; those that do are forked
(`forks`). So is every one that fails: the fork says exactly where and why.

What the C library cannot do, the thread does before: it opens the output files,
or makes the pipes for what is captured, and changes its own folder and umask. The
cgroup is joined afterwards (`housing`).

No program runs without being in the ledger: a line says before the spawn that
it is meant, another one after it which process it is. A guardian that finds the
first without the second looks for the process (`adopt`).

A thread can hang where a child by fork would: then others take its place, the
launch is given up after `SETUP_S`, and what comes of it after all is killed.
"""

import os
import resource
import threading
import time
from collections.abc import Callable

from droned.guardian import brief, kernel, ledger, log, loop, pipes, posix_spawn, processes
from droned.guardian.identity import PERSONAL, personalize
from droned.guardian.kernel import switched_off
from droned.guardian.launch import (
    SETUP_S,
    STREAM_FLAGS,
    STREAM_MODE,
    World,
    captured_streams,
    encoded,
    program_of,
    size_of,
    stream_paths,
)
from droned.guardian.runs import Run
from droned.guardian.wire import Launch
from droned.guardian.workers import Workers

_USUAL_THREADS = 2
_MOST_THREADS = 16
_WAITS_S = 0.25
_LONG_S = 1.0


class Job:
    """One launch: what a thread needs for it, and what has come of it so far."""

    __slots__ = (
        "argv",
        "at",
        "directory",
        "env",
        "err",
        "given_at",
        "is_given_up",
        "is_withdrawn",
        "launch",
        "out",
        "output",
        "paths",
        "pid",
        "readers",
        "run",
        "stage",
        "start_time",
        "taken_at",
        "thread",
        "umask",
        "unrecorded",
    )

    def __init__(self, run: Run, launch: Launch, world: World) -> None:
        """Raises Unlaunchable, and OSError when there can be no pipe."""
        self.run = run
        self.launch = launch
        self.argv, self.paths, self.env = program_of(launch)
        self.env[b"DRONED_RUN"] = world.token(run.instance, run.run)
        if world.own_entry is not None:
            personalize(self.env, world.own_entry)
        streams = captured_streams(launch)
        self.out, self.err = (b"", None) if streams else stream_paths(launch)
        self.directory = encoded(launch["directory"] or "/", "directory")
        self.umask = world.umask if launch["umask"] is None else launch["umask"]
        self.given_at = time.monotonic()
        self.is_given_up = self.is_withdrawn = False
        # What the thread writes, and the loop reads:
        self.stage = "descriptors"
        self.taken_at: float | None = None
        self.thread = 0
        self.pid = self.start_time = 0
        self.at = 0.0
        self.output: tuple[int, int] | None = None
        self.unrecorded = 0
        self.readers: dict[str, int] = {}
        """The read ends of what is captured, by stream."""
        try:
            for stream in streams:
                self.readers[stream] = pipes.kept_end()
        except OSError:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Nothing is to be captured after all."""
        for reader in self.readers.values():
            os.close(reader)
        self.readers = {}


class Spawners:
    """The threads, and the launches that are with them."""

    def __init__(
        self,
        waits: loop.Loop,
        world: World,
        done: Callable[[list[Job]], None],
        gave_up: Callable[[Job], None],
    ) -> None:
        """`done` gets jobs back; `gave_up` is told of those that take too long, before they come back."""
        self._loop = waits
        self._world = world
        self._done = done
        self._gave_up = gave_up
        self._workers: Workers[Job] = Workers("spawn", waits, self._begin, self._hand_back)
        self.are_usable = posix_spawn.is_there() and "posix_spawn" not in switched_off()
        self._timer: loop.Timer | None = None
        self._claims = threading.Lock()
        self._are_stuck = False
        self.in_flight: dict[str, Job] = {}
        """By instance."""

    # ---- in the loop

    def can(self, launch: Launch) -> bool:
        """Whether this launch can go the quick way."""
        return (
            self.are_usable
            and not self._are_stuck
            and not self._world.restore_oom
            and not self._world.descriptors.are_raised
            and launch["user"] is None
            and launch["group"] is None
            and launch["groups"] is None
            and not launch["limits"]
            and launch["nice"] is None
            and launch["oom_score_adj"] is None
            and not launch["no_new_privs"]
            and (
                self._world.own_entry is not None or all(name.decode() in launch["env"] for name in PERSONAL)
            )
            and self._has_threads()
        )

    def _has_threads(self) -> bool:
        if self._workers.count < _USUAL_THREADS and self._workers.count <= len(self.in_flight):
            try:
                self._workers.add_thread()
            except (RuntimeError, OSError) as error:
                log.say(f"cannot have a thread for launches: {error}")
        return self._workers.count > 0

    def give(self, job: Job) -> None:
        """Have it carried out; it comes back by `done`, with a pid or in need of a fork."""
        self.in_flight[job.run.instance] = job
        self._workers.give(job)
        if self._timer is None:
            self._timer = self._loop.later(_WAITS_S, self._look)

    @property
    def are_slow(self) -> bool:
        """Whether a launch takes so long that it may hang."""
        now = time.monotonic()
        return any(job.taken_at and now - job.taken_at >= _WAITS_S for job in self.in_flight.values())

    @property
    def working(self) -> int:
        """How many launches are with threads and not given up."""
        return sum(not job.is_given_up for job in self.in_flight.values())

    def is_waited_for(self, instance: str) -> bool:
        """Whether a launch of this instance may still come to something."""
        job = self.in_flight.get(instance)
        return job is not None and not job.is_given_up

    def _hand_back(self, jobs: list[Job]) -> None:
        back = [job for job in jobs if not job.is_withdrawn]
        for job in back:
            del self.in_flight[job.run.instance]
        self._are_stuck &= not back
        self._done(back)

    def _look(self) -> None:
        """Give up what takes too long; have other threads, and then forks, where all threads hang."""
        self._timer = None
        now = time.monotonic()
        waiting = [job for job in self.in_flight.values() if job.taken_at is None]
        for job in list(self.in_flight.values()):
            if job.taken_at is not None and now - job.taken_at >= SETUP_S and not job.is_given_up:
                job.is_given_up = True
                self._gave_up(job)
        if any(now - job.given_at >= _WAITS_S for job in waiting) and self._workers.count < _MOST_THREADS:
            try:
                self._workers.add_thread()
            except (RuntimeError, OSError) as error:
                log.say(f"cannot have another thread for launches: {error}")
        self._withdraw([job for job in waiting if now - job.given_at >= _LONG_S])
        if self.working:
            self._timer = self._loop.later(_WAITS_S, self._look)

    def _withdraw(self, jobs: list[Job]) -> None:
        """Take back launches that no thread has taken: they are forked."""
        with self._claims:
            for job in jobs:
                job.is_withdrawn = job.taken_at is None
        taken_back = [job for job in jobs if job.is_withdrawn]
        for job in taken_back:
            del self.in_flight[job.run.instance]
        if taken_back:
            self._are_stuck = True
            self._done(taken_back)

    # ---- in a thread

    def _begin(self) -> Callable[[Job], None]:
        try:
            posix_spawn.have_own_world()
            kernel.close_all_but(sorted((self._world.null_fd, self._workers.wake_fd)))
            os.chdir("/")
        except OSError:
            self.are_usable = False
            return self._leave_to_fork
        os.umask(0)  # the app's has no say in who may read its output
        attributes = posix_spawn.Attributes()
        return lambda job: self._carry_out(job, attributes)

    def _leave_to_fork(self, job: Job) -> None:
        self._claim(job)

    def _claim(self, job: Job) -> bool:
        """Take a job, unless it was withdrawn."""
        with self._claims:
            if job.is_withdrawn:
                return False
            job.thread, job.taken_at = threading.get_native_id(), time.monotonic()
            return True

    def _carry_out(self, job: Job, attributes: posix_spawn.Attributes) -> None:
        if not self._claim(job):
            return
        opened: list[int] = []
        try:
            job.stage = "descriptors"
            if job.readers:
                for reader in job.readers.values():
                    opened.append(pipes.program_end(reader))
            else:
                for path in (job.out, job.err):
                    if path is not None:
                        opened.append(_open_stream(path))
                job.output = (size_of(opened[0]), size_of(opened[-1]))
            job.stage = "directory"
            if job.directory != b"/":
                os.chdir(job.directory)
            job.stage = "exec"
            if not job.is_given_up:
                self._spawn(job, attributes, (self._world.null_fd, opened[0], opened[-1]))
        except Exception:  # noqa: BLE001  # the border of the thread; a fork will say what is wrong
            pass
        finally:
            if job.directory != b"/":
                os.chdir(b"/")
            for fd in opened:
                brief.close(fd) if job.readers else os.close(fd)

    def _spawn(self, job: Job, attributes: posix_spawn.Attributes, streams: tuple[int, int, int]) -> None:
        book = self._opened_ledger()
        try:
            self._spawn_by(book, job, attributes, streams)
        finally:
            brief.close(book)

    def _spawn_by(
        self, book: int, job: Job, attributes: posix_spawn.Attributes, streams: tuple[int, int, int]
    ) -> None:
        world, run = self._world, job.run
        self._write(book, job, ledger.intent_line(run.instance, run.run))
        raises, were_raised = world.descriptors.raises, world.descriptors.are_raised
        os.umask(job.umask)
        job.at = time.time()
        try:
            job.pid = attributes.spawn(job.paths, job.argv, job.env, streams)
        finally:
            os.umask(0)
        try:
            job.start_time = processes.start_time_in(brief.read(b"/proc/%d/stat" % job.pid))
        except OSError:
            pass  # it has come and gone
        if not job.is_given_up:
            self._write(book, job, ledger.start_entry(run.instance, run.run, job.pid, job.start_time, job.at))
        if were_raised or world.descriptors.raises != raises:
            try:
                resource.prlimit(job.pid, resource.RLIMIT_NOFILE, world.descriptors.soft_and_hard)
            except OSError:
                pass  # it is gone, or has become somebody else's

    def _opened_ledger(self) -> int:
        """The ledger that counts now, in this thread's own table; -1 where it cannot be opened."""
        try:
            return brief.open_to_append(b"/proc/self/fd/%d" % self._world.ledger.fd)
        except OSError:
            return -1

    @staticmethod
    def _write(book: int, job: Job, line: bytes) -> None:
        """Write a line of the ledger; the loop is told of one that could not be written whole."""
        try:
            is_whole = brief.write(book, line) == len(line)
        except OSError:
            is_whole = False
        if not is_whole:
            job.unrecorded += 1


def _open_stream(path: bytes) -> int:
    """The file, never waited for: a pipe without a reader is ENXIO."""
    fd = os.open(path, STREAM_FLAGS | os.O_NONBLOCK, STREAM_MODE)
    brief.have_wait(fd, os.O_APPEND)
    return fd

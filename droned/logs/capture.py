"""Puts the parts together: what the guardian and the clients of the control socket ask is done here."""

import os
import time
from typing import Any

from droned.logs import log, recovery, settings
from droned.logs.compressing import Compressing
from droned.logs.control import Control
from droned.logs.derived import Derived
from droned.logs.format import INDEX, STREAMS
from droned.logs.guardian_link import GuardianLink
from droned.logs.index import Index, StreamRow
from droned.logs.loop import Loop
from droned.logs.mover import Mover
from droned.logs.policy import Policy, PolicyError, default_policy, policy_in
from droned.logs.requests import Requests
from droned.logs.retention import SPARED_S
from droned.logs.shelf import Shelf
from droned.logs.streams import FOLDER_MODE, Instance, Pipe, Segment, Stream, delete_lasts, is_instance
from droned.logs.told import read_index

_SAVE_S = 0.5
_SAME_RUN_S = 0.5


class Capture:
    """All that is captured on this host, below `folder`; the lock is held by who makes it."""

    __slots__ = (
        "_by_name",
        "_next_number",
        "_own_pipes",
        "compressing",
        "control",
        "derived",
        "folder",
        "index",
        "instances",
        "link",
        "loop",
        "mover",
        "shelf",
        "streams",
    )

    def __init__(self, folder: str, loop: Loop) -> None:
        self.folder = folder
        self.loop = loop
        self.instances: dict[str, Instance] = {}
        self.streams: dict[int, Stream] = {}
        self._by_name: dict[str, Pipe] = {}
        self._next_number = 1
        self._own_pipes = 0
        os.makedirs(f"{folder}/{INDEX}", FOLDER_MODE, exist_ok=True)
        self.index = Index(f"{folder}/{INDEX}", self._rows, self._runs)
        self.compressing = Compressing(loop, self._compressed)
        self.shelf = Shelf(self.streams, self.index, self._rotate, self.compressing.add)
        self.mover = Mover(loop, self.index, self.shelf)
        self.derived = Derived(folder, loop, self._copy_rotated)
        self._recover()
        self.link = GuardianLink(loop, self, self._has_place)
        self.control = Control(folder, loop, Requests(self).do, self.link.attach)
        self.control.moved(self.index.position)

    def run(self) -> None:
        """Capture until told to go."""
        loop, mover = self.loop, self.mover
        while not loop.is_over:
            loop.turn(mover.next_at)
            if mover.next_at is not None and mover.next_at <= time.monotonic() and mover.turn():
                self._told()
        self.finish()

    def _told(self) -> None:
        """Tell who has to know of what the last turn brought."""
        if self.mover.ended:
            ended, self.mover.ended = self.mover.ended, []
            names = [pipe.name for pipe in ended if not pipe.is_own]
            for pipe in ended:
                self._by_name.pop(pipe.name, None)
            for first in range(0, len(names), 200):
                self.link.tell({"type": "drained", "names": names[first : first + 200]})
        self.control.moved(self.index.position)
        self.derived.moved()

    def finish(self) -> None:
        """Take what is in the pipes, and tell the index of it."""
        for pipe in list(self.mover.pipes.values()):
            self.mover.drain(pipe)
        self.index.flush(time.monotonic())
        self._save()
        self.control.close()
        self.compressing.close()
        self.derived.close()

    # ---- what was there before

    def _recover(self) -> None:
        self.shelf.total_bytes, policies = settings.load(self.folder)
        told = read_index(self.index.folder)
        self._next_number = told.next_number
        self.index.go_on(told.files, told.position)
        found = recovery.folders(self.folder)
        now = time.time()
        for number, name, stream_name, offset in told.streams.values():
            if is_instance(name):
                self._stream_of_before(number, self._instance(name), stream_name, offset, policies)
        is_new: list[Stream] = []
        for name, its_streams in found.items():
            for stream_name, its_segments in its_streams.items():
                instance = self._instance(name)
                stream = instance.stream(stream_name)
                if stream is None:
                    stream = self._stream_of_before(self._number(), instance, stream_name, 0, policies)
                    is_new.append(stream)
                known = stream.offset
                self.shelf.found(recovery.take_in(stream, its_segments, now))
                self.shelf.active_bytes += stream.offset - stream.segment
                if stream in is_new:
                    continue
                if stream.offset > known:
                    self.index.late(
                        stream.number, stream.offset - known, int(its_segments.written_at * 1_000_000)
                    )
        if is_new:
            # The index was lost: positions go on behind all that is there.
            self.index.skip(sum(stream.offset for stream in is_new))
            self.index.fact({"fact": "streams", "streams": [_row(stream) for stream in is_new]})
        for instance in self.instances.values():
            recovery.runs_of(instance, told)
        self.mover.soon()
        self.loop.alarm("shelf", 0.0, self._look_at_shelf)

    def _look_at_shelf(self) -> None:
        if self.shelf.look():
            self.loop.alarm("shelf", 0.0, self._look_at_shelf)

    def _stream_of_before(
        self, number: int, instance: Instance, name: str, offset: int, policies: dict[str, Policy]
    ) -> Stream:
        policy = policies.get(instance.name) or default_policy()
        stream = Stream(number, instance, name, policy, offset)
        stream.spared_until = time.time() + SPARED_S
        self._add_stream(stream)
        self.shelf.found_stream(stream)
        return stream

    def _instance(self, name: str) -> Instance:
        instance = self.instances.get(name)
        if instance is None:
            instance = self.instances[name] = Instance(name, f"{self.folder}/{name}")
        return instance

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _add_stream(self, stream: Stream) -> None:
        self.streams[stream.number] = stream
        stream.instance.streams.append(stream)
        if len(stream.instance.streams) > 1 and stream.instance.recent is None:
            stream.instance.recent = []

    def _rows(self) -> list[StreamRow]:
        return [_row(stream) for stream in self.streams.values()]

    def _runs(self) -> dict[str, int]:
        return {
            name: instance.began_run for name, instance in self.instances.items() if instance.began_run >= 0
        }

    def _save_soon(self) -> None:
        self.loop.alarm("settings", time.monotonic() + _SAVE_S, self._save)

    def _save(self) -> None:
        self.loop.silence("settings")
        try:
            settings.save(self.folder, self.shelf.total_bytes, self.instances.values())
        except OSError as error:
            log.say(f"cannot keep the settings: {error.strerror}")

    def _has_place(self) -> bool:
        return os.path.exists(f"{self.folder}/{INDEX}")

    def _rotate(self, stream: Stream) -> bool:
        return self.mover.rotate(stream)

    def _compressed(self, segment: Segment, size: int) -> None:
        self.shelf.compressed(segment, size)

    def _copy_rotated(self, instance_name: str, name: str) -> None:
        """Another file was begun for a stream in another format."""
        instance = self.instances.get(instance_name)
        stream = instance.stream(name) if instance is not None else None
        if stream is not None:
            self.shelf.look_at_copies(stream)
            self.shelf.check(time.time())

    # ---- what the guardian asks

    def capture(self, message: Any, fd: int) -> None:
        """Capture from this pipe; one of the same name must be the same one."""
        name, run = message["name"], message["run"]
        self.mover.came(fd)
        if not is_instance(message["instance"]) or message["stream"] not in STREAMS:
            log.say(f"the guardian: cannot capture {message['stream']!r:.40} of {message['instance']!r:.80}")
            os.close(fd)
            return
        try:
            policy = policy_in(message["policy"])
        except PolicyError as error:
            log.say(f"{name}: {error}; treated as if it had none")
            policy = default_policy()
        known = self._by_name.get(name)
        if known is not None:
            if os.path.sameopenfile(known.fd, fd):
                os.close(fd)
                known.stream.treat_by(policy)
                self.derived.settle(self.streams.values())
                return
            log.say(f"{name} is another pipe than before: both are captured")
        stream = self.stream(message["instance"], message["stream"], policy)
        self._began(stream.instance, run, message["at"])
        pipe = Pipe(fd, name, stream, run, message["at"], is_own=False)
        self._by_name[name] = pipe
        self.mover.add(pipe)

    def stream(self, instance_name: str, name: str, policy: Policy) -> Stream:
        """The stream of this name, made if need be, treated by `policy` from now on."""
        instance = self._instance(instance_name)
        stream = instance.stream(name)
        if stream is None:
            stream = Stream(self._number(), instance, name, policy, 0)
            self._add_stream(stream)
            self.index.fact({"fact": "streams", "streams": [_row(stream)]})
            self.mover.soon()
            self._save_soon()
        elif stream.policy is not policy:
            self._save_soon()
        stream.treat_by(policy)
        stream.is_forgotten = False
        self.derived.settle((stream,))
        return stream

    def _began(self, instance: Instance, run: int, at: float) -> None:
        """Tell that a run began, once: also when its pipes come to us again.

        An instance that was removed and has come back counts its runs from 1 again.
        """
        is_known = run <= max(instance.began_run, instance.ended_run)
        if is_known and not at > instance.began_at + _SAME_RUN_S > _SAME_RUN_S:
            return
        if is_known or instance.began_run < 0:
            instance.count_anew()
            delete_lasts(instance.folder, run)
        instance.began_run = run
        instance.began_at = at
        offsets = instance.offsets()
        for stream in instance.streams:
            stream.run_start = stream.offset
        self.index.fact(
            {
                "fact": "began",
                "instance": instance.name,
                "run": run,
                "at": at or time.time(),
                "offsets": offsets,
            }
        )
        self.mover.soon()

    def run_ended(self, message: Any) -> None:
        """Take what is in the pipes of this run, tell where it ended, keep its last lines if it failed."""
        instance = self.instances.get(message["instance"])
        run = message["run"]
        if instance is None or run <= instance.ended_run:
            return
        for stream in instance.streams:
            for pipe in list(stream.pipes):
                if pipe.run == run:
                    self.mover.drain(pipe)
        instance.ended_run = run
        self.index.fact(
            {
                "fact": "ended",
                "instance": instance.name,
                "run": run,
                "at": message["at"],
                "status": message["status"],
                "offsets": instance.offsets(),
            }
        )
        self.mover.soon()
        if message["status"] == 0:
            instance.first_failure = 0
            return
        from droned.logs import lasts  # where nothing fails nobody needs it

        try:
            lasts.failed(instance, run, message["status"], message["at"])
        except OSError as error:
            log.say(f"cannot keep the last lines of {instance.name}: {error.strerror}")

    def forget(self, instance: str) -> None:
        """What it wrote is kept only as long as policies say."""
        known = self.instances.get(instance)
        if known is None:
            return
        for stream in known.streams:
            stream.is_forgotten = True
        if not any(stream.pipes for stream in known.streams):
            known.count_anew()

    def go(self) -> None:
        """Exit after this turn."""
        self.loop.is_over = True

    def guardians_pipes(self) -> list[Pipe]:
        """What is captured for the guardian."""
        return [pipe for pipe in self.mover.pipes.values() if not pipe.is_own]

    # ---- what clients ask

    def own(self, fd: int, instance: str, policy: Policy) -> None:
        """Capture from a pipe of the daemon's own."""
        self._own_pipes += 1
        stream = self.stream(instance, "output", policy)
        for known in stream.pipes:
            if os.path.sameopenfile(known.fd, fd):  # the same daemon has connected again
                os.close(fd)
                return
        name = f"own:{instance}:{self._own_pipes}"
        pipe = Pipe(fd, name, stream, 0, 0.0, is_own=True)
        self._by_name[name] = pipe
        self.mover.add(pipe)

    def settle(self, total_bytes: int | None, policies: dict[str, Policy]) -> None:
        """Treat these instances, and all together, so from now on."""
        self.shelf.total_bytes = total_bytes
        for name, policy in policies.items():
            instance = self.instances.get(name)
            for stream in instance.streams if instance is not None else ():
                stream.treat_by(policy)
        self.derived.settle(self.streams.values())
        self._save_soon()
        now = time.time()
        self.shelf.check_ages(now)
        self.shelf.check(now)


def _row(stream: Stream) -> StreamRow:
    return [stream.number, stream.instance.name, stream.name, stream.offset]

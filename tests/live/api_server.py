"""The API service alone, over made-up records, for the tests that need a real socket and a real reactor.

    python -m tests.live.api_server SOCKET FOLDER [--instances N] [--reactor NAME] [--header-s S] [--files N]

Says `ready` on standard output once it listens. Each line of standard input is
a command, answered by one line: `events N` makes N commits with one event
each, `crash APP/LABEL` changes a record, `stop` ends the service in order.
What is committed stands in FOLDER/journal.jsonl, and a server that starts on
the same folder goes on from there.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
from collections.abc import Awaitable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.error import ReactorNotRunning
from zope.interface import implementer

from droned.commands.dispatcher import Caller, Dispatcher, Receipt
from droned.commands.requests import Request
from droned.drivers.clock import ReactorTimers, SystemClock
from droned.drivers.pools import NamedPool
from droned.errors import DronedError
from droned.journal.codec import decode_commit, encode_commit
from droned.models.events import EventType, Occurrence
from droned.models.policy import AppSpec, Launch
from droned.models.ports import IJournal
from droned.models.records import AppRecord, Exit, InstanceRecord, State, Wanted
from droned.models.registry import Commit, Moment, Registry
from droned.services.api import ApiService
from droned.web.channel import Limits
from tests.web.harness import ScriptedLogs

SIZE = 1_000


@implementer(IJournal)
class FileJournal:
    """A journal of JSON lines; enough to resume from."""

    is_degraded = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("ab", buffering=0)

    def append(self, commit: Commit) -> None:
        self._file.write(encode_commit(commit) + b"\n")

    def when_durable(self, version: int) -> Awaitable[bool]:
        return succeed(True)

    def read(
        self, since: int, until: int | None, containing: str = ""
    ) -> Awaitable[Iterator[Mapping[str, object]]]:
        return succeed(each for each in self._read(since, until) if containing in str(each).replace("'", '"'))

    def head(self) -> int:
        """The last version, 0 when there is none."""
        versions = [record["version"] for record in self._read(0, None)]
        return versions[-1] if versions else 0

    def _read(self, since: int, until: int | None) -> Iterator[dict[str, Any]]:
        with self._path.open("rb") as lines:
            for line in lines:
                record = decode_commit(line)
                if record["version"] > since and (until is None or record["version"] <= until):
                    yield record


class Server:
    """The service and what it stands on."""

    def __init__(self, options: argparse.Namespace, reactor: Any) -> None:
        self.reactor = reactor
        self.clock = SystemClock()
        self.timers = ReactorTimers(reactor)
        self.journal = FileJournal(options.folder / "journal.jsonl")
        self.registry = Registry(failed=lambda subscriber: None)
        self.registry.restore(self.journal.head(), ())
        self.registry.subscribe(self.journal.append)
        self.seen: list[str] = []
        dispatcher = Dispatcher(lambda: False)
        dispatcher.register("restart", self._restart)
        self._fill(options.instances)
        self.pool = NamedPool("api", 2, reactor)
        self.service = ApiService(
            registry=self.registry,
            dispatcher=dispatcher,
            journal=self.journal,
            clock=self.clock,
            timers=self.timers,
            reactor=reactor,
            pool=self.pool,
            run=self._run,
            socket_path=options.socket,
            server_name="web1",
            daemon_status=lambda: {"pid": os.getpid()},
            log_paths=lambda key: {},
            output_begins=lambda key: [],
            logs=ScriptedLogs(),
            limits=Limits(header_s=options.header_s),
        )

    def command(self, line: str) -> str:
        """Do what a line of standard input says; the answer."""
        verb, _, rest = line.partition(" ")
        if verb == "events":
            for number in range(int(rest)):
                self._commit([], [(f"event {number} {'x' * 200}", "web-000/0")])
        elif verb == "crash":
            record = self.registry.instance(rest)
            assert record is not None
            ended = Exit(run=record.run, at=self.clock.wall(), reason="exited 1", code=1)
            after = replace(record, state=State.BACKOFF, exit=ended, pid=None)
            self._commit([("instance", rest, after)], [("exited 1", rest)])
        elif verb == "stop":
            self.reactor.callLater(0.05, lambda: ensureDeferred(self._stop()))
        return f"done {self.registry.version}"

    async def run(self) -> None:
        """Listen, and say so."""
        try:
            await self.service.startService()
        except DronedError as error:
            print(error, flush=True)
            self._end()
        else:
            print("ready", flush=True)

    def _run(self, work: Any, what: str) -> None:
        ensureDeferred(work)

    async def _stop(self) -> None:
        await self.service.stopService()
        self._end()

    def _end(self) -> None:
        ensureDeferred(self._end_later())

    async def _end_later(self) -> None:
        await self.pool.stop(5.0)
        try:
            self.reactor.stop()
        except ReactorNotRunning:
            self.reactor.callWhenRunning(self.reactor.stop)

    async def _restart(self, request: Request, caller: Caller) -> Receipt:
        done: Deferred[None] = Deferred()
        self.reactor.callLater(0.01, done.callback, None)
        await done
        result = {"actor": caller.actor, "targets": list(request.targets), "uid": caller.uid}
        return Receipt(version=self.registry.version, durable=True, action=None, result=result)

    def _fill(self, instances: int) -> None:
        names = [f"web-{number:03}" for number in range((instances + 9) // 10)]
        labels = tuple(str(number) for number in range(10))
        launch = Launch(command=("/usr/bin/python3", "-m", "http.server"), directory="/srv/web")
        apps = [
            AppRecord(name=name, spec=AppSpec(name=name, launch=launch, labels=labels), revision=1)
            for name in names
        ]
        records = [
            InstanceRecord(
                key=f"{name}/{label}",
                app=name,
                label=label,
                wanted=Wanted.UP,
                state=State.RUNNING,
                ready=True,
                run=3,
                pid=48213,
                start_time=1,
                started_at=self.clock.wall(),
                revision=1,
                exit=Exit(run=2, at=self.clock.wall(), reason="exited 1", code=1),
            )
            for name in names
            for label in labels
        ][:instances]
        changes = [("app", app.name, app) for app in apps] + [
            ("instance", record.key, record) for record in records
        ]
        self._commit(changes, [("in control", "server")])

    def _commit(self, changes: list[Any], events: list[tuple[str, str]]) -> None:
        moment = Moment(wall=self.clock.wall(), mono=self.clock.mono(), draw=0.5)
        occurrences = [
            Occurrence(type=EventType.INSTANCE_CRASHED, subject=subject, text=text)
            for text, subject in events
        ]
        self.registry.commit(changes, occurrences, moment=moment, actor="droned", cause=0)


def main() -> None:
    """Run until told to stop, or until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--instances", type=int, default=SIZE)
    parser.add_argument("--reactor", default="epoll")
    parser.add_argument("--header-s", type=float, default=10.0)
    parser.add_argument("--files", type=int)
    options = parser.parse_args()
    if options.files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (options.files, options.files))

    from twisted.application.reactors import installReactor

    reactor: Any = installReactor(options.reactor)
    from twisted.internet.stdio import StandardIO
    from twisted.protocols.basic import LineReceiver

    server = Server(options, reactor)

    class Commands(LineReceiver):
        delimiter = b"\n"

        def lineReceived(self, line: bytes) -> None:
            self.sendLine(server.command(line.decode()).encode())

        def connectionLost(self, reason: object = None) -> None:
            os._exit(0)

    StandardIO(Commands())
    reactor.callWhenRunning(lambda: ensureDeferred(server.run()))
    reactor.run()
    sys.stdout.flush()


if __name__ == "__main__":
    main()

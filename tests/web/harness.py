"""An API in memory: a registry with made-up records, a journal that the test controls, and clients."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.testing import StringTransportWithDisconnection
from zope.interface import implementer

from droned.commands.dispatcher import Caller, Dispatcher, Receipt
from droned.commands.requests import Request
from droned.commands.table import Role
from droned.journal.codec import decode_commit, encode_commit
from droned.models.events import EventType, Occurrence
from droned.models.policy import AppSpec, Launch
from droned.models.ports import IJournal, IPool
from droned.models.records import AppRecord, InstanceRecord, Record
from droned.models.registry import Commit, Moment, Registry
from droned.web.channel import ApiChannel, Limits
from droned.web.feed import EventFeed
from droned.web.past import Past
from droned.web.resource import Api
from droned.web.root import root
from droned.web.site import ApiSite
from droned.web.status import StatusBodies
from tests.fakes.clock import FakeClock

P = ParamSpec("P")
T = TypeVar("T")
HOST = "Host: droned\r\n"


@implementer(IPool)
class InlinePool:
    """Runs work at once."""

    name = "inline"

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        return succeed(call(*args, **kwargs))


@implementer(IPool)
class SteppedPool:
    """Runs one piece of work each time the test says so."""

    name = "stepped"

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        done: Deferred[T] = Deferred()
        self.waiting.append(lambda: done.callback(call(*args, **kwargs)))
        return done

    def step(self) -> None:
        self.waiting.pop(0)()


@implementer(IJournal)
class ScriptedJournal:
    """Remembers every commit; says that it is on disk at once, or when the test does."""

    def __init__(self) -> None:
        self.records: list[bytes] = []
        self.is_degraded = False
        self.is_held = False
        self.fault: Exception | None = None
        self.reads: list[tuple[int, int | None]] = []
        self._waiting: list[Deferred[bool]] = []

    def append(self, commit: Commit) -> None:
        self.records.append(encode_commit(commit))

    def when_durable(self, version: int) -> Awaitable[bool]:
        if not self.is_held:
            return succeed(not self.is_degraded)
        waiting: Deferred[bool] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def write(self) -> None:
        """Everything is on disk now."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(True)

    def read(
        self, since: int, until: int | None, containing: str = ""
    ) -> Awaitable[Iterator[Mapping[str, object]]]:
        self.reads.append((since, until))
        if self.fault is not None:
            raise self.fault
        decoded = (decode_commit(record) for record in self.records if containing.encode() in record)
        return succeed(
            record
            for record in decoded
            if record["version"] > since and (until is None or record["version"] <= until)
        )


class ScriptedReading:
    """A reader that prints what the test says."""

    def __init__(
        self, question: Mapping[str, object], received: Callable[[bytes], None], ended: Callable[[int], None]
    ) -> None:
        self.question = question
        self.prints = received
        self.ends = ended
        self.is_paused = self.is_killed = False

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def kill(self) -> None:
        self.is_killed = True


class ScriptedLogs:
    """Captured output as the test has it."""

    def __init__(self) -> None:
        self.readings: list[ScriptedReading] = []
        self.fault: Exception | None = None
        self.lines: dict[int, list[dict[str, str]]] = {}
        self.gone: tuple[str, ...] = ()
        """Instances that are in no configuration, of which there is output."""

    def read(
        self, question: Mapping[str, object], received: Callable[[bytes], None], ended: Callable[[int], None]
    ) -> ScriptedReading:
        if self.fault is not None:
            raise self.fault
        self.readings.append(ScriptedReading(question, received, ended))
        return self.readings[-1]

    async def usage(self) -> Mapping[str, object]:
        if self.fault is not None:
            raise self.fault
        instances = {"web/0": {"bytes": 1, "segments": 2, "lost_bytes": 0}}
        return {"instances": instances, "index_bytes": 9, "total_bytes": 10}

    async def kept(self) -> tuple[str, ...]:
        return self.gone

    async def last_lines(self, instance: str, runs: Sequence[int]) -> Mapping[int, list[dict[str, str]]]:
        return {run: self.lines[run] for run in runs if run in self.lines}


@dataclass
class Visit:
    """Whoever is at the other end."""

    role: Role | None = Role.ADMIN
    uid: int = 0

    async def caller(self) -> Caller:
        assert self.role is not None
        return Caller(actor="root", uid=self.uid, role=self.role)


@dataclass
class Reply:
    """One answer as a client reads it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class NarrowTransport(StringTransportWithDisconnection):
    """A transport whose buffer is full once it holds more than `most` bytes."""

    most: int | None = None

    def write(self, data: bytes) -> None:
        super().write(data)
        self._look()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        super().writeSequence(data)
        self._look()

    def _look(self) -> None:
        if self.most is not None and len(self.value()) > self.most:
            channel: Any = self.protocol
            channel.pauseProducing()


class Client:
    """One connection; what it was answered so far is in `replies`."""

    def __init__(self, place: Place) -> None:
        self.transport = NarrowTransport()
        self.channel: ApiChannel = place.site.buildProtocol(UNIXAddress(b"/run/droned.sock"))
        self.transport.protocol = self.channel
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes | str) -> None:
        self.channel.dataReceived(data.encode() if isinstance(data, str) else data)

    @property
    def raw(self) -> bytes:
        return bytes(self.transport.value())

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
        self.send(f"{method} {path} HTTP/1.1\r\n{HOST}{lines}{length}\r\n".encode() + body)

    def get(self, path: str, **headers: str) -> Reply:
        """One whole exchange."""
        self.transport.clear()
        self.ask("GET", f"/api/v1{path}", b"", **headers)
        return self.reply()

    def post(self, document: object, **headers: str) -> Reply:
        self.transport.clear()
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        headers.setdefault("Content_Type", "application/json")
        self.ask("POST", "/api/v1/actions", body, **headers)
        return self.reply()

    def reply(self) -> Reply:
        [reply] = replies(self.raw)
        return reply

    def is_open(self) -> bool:
        """Whether nobody has hung up."""
        return bool(self.transport.connected)


def replies(raw: bytes) -> list[Reply]:
    """All answers in what a server sent; a chunked one may be unfinished."""
    found = []
    while raw:
        head, _, raw = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while raw:
                size, _, raw = raw.partition(b"\r\n")
                piece, raw = raw[: int(size, 16)], raw[int(size, 16) + 2 :]
                body += piece
                if not piece:
                    break
        else:
            length = int(headers.get("content-length", "0"))
            body, raw = raw[:length], raw[length:]
        found.append(Reply(status=int(first.split()[1]), headers=headers, body=body))
    return found


@dataclass
class Place:
    """One droned's API with all that it stands on."""

    apps: Sequence[tuple[str, tuple[str, ...]]] = (("web", ("0", "1")), ("db", ("0",)))
    kept: int = 4_000
    limits: Limits = field(default_factory=Limits)
    visit: Visit = field(default_factory=Visit)
    pool: IPool = field(default_factory=InlinePool)
    life: str = "a1"

    def __post_init__(self) -> None:
        self.clock = FakeClock()
        self.journal = ScriptedJournal()
        self.registry = Registry(failed=self._failed)
        self.registry.subscribe(self.journal.append)
        self.requests: list[tuple[Request, Caller]] = []
        self.receipt: Receipt | Exception = Receipt(version=1, durable=True, action=None)
        self.dispatcher = Dispatcher(lambda: self.journal.is_degraded)
        for name in ("restart", "stop", "kill", "daemon-reload", "logs-rotate", "logs-clear"):
            self.dispatcher.register(name, self._command)
        self.commit(
            [("app", name, app(name, labels)) for name, labels in self.apps]
            + [
                ("instance", f"{name}/{label}", InstanceRecord(key=f"{name}/{label}", app=name, label=label))
                for name, labels in self.apps
                for label in labels
            ],
            [Occurrence(type=EventType.CONFIGURATION_LOADED, subject="server", text="loaded")],
        )
        self.logs = ScriptedLogs()
        self.daemon: dict[str, object] = {"pid": 7, "socket": "/run/droned.sock", "degraded": []}
        self.serve()

    def serve(self) -> None:
        """Begin to serve, as a daemon does that has just replayed its journal."""
        self.feed = EventFeed(
            registry=self.registry,
            journal=self.journal,
            clock=self.clock,
            timers=self.clock,
            run=self._run,
            kept=self.kept,
        )
        self.status = StatusBodies(self.registry, "web1", self.clock.wall(), self.life)
        self.api = Api(
            server="web1",
            registry=self.registry,
            dispatcher=self.dispatcher,
            timers=self.clock,
            status=self.status,
            feed=self.feed,
            past=Past(self.registry, self.feed, self.journal, self.pool),
            daemon_status=lambda: self.daemon,
            log_paths=lambda key: {"stdout": f"/logs/{key}/stdout", "stderr": f"/logs/{key}/stderr"},
            output_begins=lambda key: [{"run": 3, "stdout": 0, "stderr": 40}],
            logs=self.logs,
            clock=self.clock,
        )
        self.root = root(self.api)
        self.site = ApiSite(
            self.root.resource,
            welcome=lambda transport: self.visit,
            clock=self.clock,
            timers=self.clock,
            reactor=self.clock.reactor,
            limits=self.limits,
        )

    def client(self) -> Client:
        return Client(self)

    def commit(
        self,
        changes: Sequence[tuple[str, str, Record | None]] = (),
        occurrences: Sequence[Occurrence] = (),
        cause: int = 0,
        actor: str = "root",
    ) -> int:
        """One commit; its version."""
        moment = Moment(wall=self.clock.wall(), mono=self.clock.mono(), draw=0.5)
        return self.registry.commit(changes, occurrences, moment=moment, actor=actor, cause=cause).version

    def happens(self, text: str, subject: str = "web/0", **more: Any) -> int:
        """A commit with one event, told to everybody; a good second after the one before."""
        self.clock.advance(1.125)
        kind = more.pop("type", EventType.INSTANCE_STARTED)
        version = self.commit((), [Occurrence(type=kind, subject=subject, text=text)], **more)
        self.turn()
        return version

    def turn(self) -> None:
        """One turn of the reactor."""
        self.clock.advance(0.0)

    async def _command(self, request: Request, caller: Caller) -> Receipt:
        self.requests.append((request, caller))
        if isinstance(self.receipt, Exception):
            raise self.receipt
        return self.receipt

    def _failed(self, subscriber: object) -> None:
        raise AssertionError(f"{subscriber} raised")

    def _run(self, work: Any, what: str) -> None:
        ensureDeferred(work)


def app(name: str, labels: tuple[str, ...] = ("0",), **more: Any) -> AppRecord:
    """An app's record."""
    spec = AppSpec(
        name=name, launch=Launch(command=("sleep", "1000")), labels=labels, origin="droned.yaml:3:3"
    )
    return AppRecord(name=name, spec=spec, revision=1, **more)

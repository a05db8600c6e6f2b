"""A whole spine in memory: registry, supervision, processes and operations over fakes."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import Deferred

from droned.commands.dispatcher import Caller, Dispatcher
from droned.commands.requests import Request, request_digest
from droned.commands.table import Role
from droned.models.policy import AppSpec, Configuration, Launch
from droned.models.records import AppRecord, InstanceRecord, ServerRecord
from droned.models.registry import Moment, Registry
from droned.services.configuring import Applied, Configuring
from droned.services.issue_book import IssueBook
from droned.services.operations import Operations
from droned.services.processes import Processes
from droned.services.supervision import Supervision
from tests.fakes.clock import FakeClock
from tests.fakes.spawner import FakeSpawner

T = TypeVar("T")
ROOT = Caller(actor="root", uid=0, role=Role.ADMIN)


def app(name: str = "web", **fields: Any) -> AppSpec:
    """An app that executes `true`; `fields` as in AppSpec."""
    return AppSpec(name=name, launch=Launch(command=("true",)), **fields)


def ended(run: int, status: int | None = 0, leftovers: int = 0) -> dict[str, Any]:
    """What the guardian tells of an end, without the instance."""
    return {"type": "ended", "run": run, "status": status, "at": 1.0, "leftovers": leftovers}


class Spine:
    """What the tests drive."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.clock = FakeClock()
        self.registry = Registry(failed=lambda subscriber: self.failures.append("subscriber"))
        self.spawner = FakeSpawner()
        self.durable_up_to: int | None = None
        """None: everything is durable at once; else the last version on disk."""
        self.is_degraded = False
        self.waiting: list[tuple[int, Deferred[bool]]] = []
        self.is_startable = False
        self.settings: list[Any] = []
        self.supervision = Supervision(
            registry=self.registry,
            spawner=self.spawner,
            when_durable=self.when_durable,
            clock=self.clock,
            timers=self.clock,
            sleep=self.clock.sleep,
            run=self.run,
            launch_of=self.launch_of,
            look_at=self.look_at,
            log_failure=self.failures.append,
        )
        self.issues = IssueBook(self.registry, self.supervision.moment)
        self.outputs: list[tuple[str, int, Sequence[int] | None]] = []
        self.processes = Processes(
            registry=self.registry,
            supervision=self.supervision,
            spawner=self.spawner,
            issues=self.issues,
            output_began=lambda *began: self.outputs.append(began),
        )
        self.dispatcher = Dispatcher(lambda: False)
        ids = itertools.count(1)
        self.operations = Operations(
            registry=self.registry,
            supervision=self.supervision,
            server_name="here",
            new_id=lambda: f"action-{next(ids)}",
            when_durable=self.when_durable,
            is_degraded=lambda: False,
        )
        self.operations.register(self.dispatcher)
        self.configuration: Configuration | Exception = Configuration(apps={})
        self.configuring = Configuring(
            registry=self.registry,
            supervision=self.supervision,
            issues=self.issues,
            load=self.load,
            settings_changed=self.settings.append,
        )
        server = ServerRecord(key="server", name="here", boot_id="boot-1")
        moment = Moment(wall=0.0, mono=0.0, draw=0.5)
        self.registry.commit((("server", "server", server),), (), moment=moment, actor="test", cause=0)

    # --- ports

    def run(self, work: Awaitable[object], what: str) -> None:
        """Run a coroutine as far as it goes."""
        assert isinstance(work, Coroutine)
        Deferred.fromCoroutine(work).addErrback(lambda failure: self.failures.append(f"{what}: {failure}"))

    async def when_durable(self, version: int) -> bool:
        """As the journal's."""
        if self.is_degraded:
            return False
        if self.durable_up_to is None or version <= self.durable_up_to:
            return True
        waiting: Deferred[bool] = Deferred()
        self.waiting.append((version, waiting))
        return await waiting

    def make_durable(self, version: int) -> None:
        """The journal is on disk up to `version`."""
        self.durable_up_to = version
        still = []
        for wanted, waiting in self.waiting:
            if wanted <= version:
                waiting.callback(True)
            else:
                still.append((wanted, waiting))
        self.waiting = still

    def launch_of(self, app: AppRecord, record: InstanceRecord) -> Mapping[str, object]:
        """What would be executed."""
        return {"argv": list(app.spec.launch.command), "instance": record.key}

    async def look_at(self, app: AppRecord, record: InstanceRecord) -> bool:
        """Whether the missing thing is there now."""
        return self.is_startable

    async def load(self) -> Configuration:
        """The configuration of the test."""
        if isinstance(self.configuration, Exception):
            raise self.configuration
        return self.configuration

    # --- shorthands

    def configure(self, *apps: AppSpec) -> Applied:
        """Put these apps in force; what that changed."""
        self.configuration = Configuration(apps={each.name: each for each in apps})
        return result_of(self.configuring.reload("test"))

    def tell(self, instance: str, message: dict[str, Any]) -> None:
        """The guardian tells something of an instance."""
        self.processes.received({"instance": instance, **message})

    def spawned(self, instance: str, pid: int = 100) -> None:
        """The last ordered run of the instance executes its program."""
        run = max(run for key, run in self.spawner.spawned if key == instance)
        self.tell(
            instance, {"type": "spawned", "run": run, "pid": pid, "start_time": 1, "at": self.clock.wall()}
        )

    def up(self, instance: str, pid: int = 100) -> None:
        """The instance comes up and stays up for its grace."""
        self.spawned(instance, pid)
        self.clock.advance(1.0)

    def command(
        self, name: str, *targets: str, key: str | None = None, **arguments: object
    ) -> Awaitable[Any]:
        """Give a command as root."""
        request = Request(
            command=name,
            targets=targets,
            all_targets=False,
            arguments=arguments,
            reason="",
            idempotency_key=key,
            digest=request_digest(name, targets, False, arguments),
        )
        return self.dispatcher.dispatch(request, ROOT)

    def record(self, key: str) -> InstanceRecord:
        """The instance's record."""
        record = self.registry.instance(key)
        assert record is not None
        return record

    def put(self, key: str, **fields: Any) -> None:
        """Change a record behind everybody's back: a state that would take long to reach."""
        change = ("instance", key, replace(self.record(key), **fields))
        self.registry.commit((change,), (), moment=self.supervision.moment(), actor="test", cause=0)


def result_of(work: Awaitable[T]) -> T:
    """The result of a coroutine or Deferred that must be done by now; raises its failure."""
    deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)  # type: ignore[arg-type]
    results: list[T] = []
    failures: list[Any] = []
    deferred.addCallbacks(results.append, failures.append)
    if failures:
        failures[0].raiseException()
    assert results, "it has not fired yet"
    return results[0]

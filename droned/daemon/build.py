"""The daemon put together: the only file that sees every part.

Nothing decides here: each part is made once and handed what it needs.
`run.py` brings the parts up in order and takes them down.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from droned.commands.dispatcher import Dispatcher
from droned.config import launch_order, load
from droned.daemon.limits import most_instances, most_pidfds, too_many
from droned.daemon.log import DaemonLog
from droned.daemon.options import RunOptions
from droned.drivers.clock import ReactorTimers, SystemClock
from droned.drivers.config_files import read_sources
from droned.drivers.guardian import GuardianLink
from droned.drivers.journal_files import JournalFiles
from droned.drivers.journal_folder import Folder
from droned.drivers.journal_history import JournalHistory
from droned.drivers.local_socket import try_to_listen
from droned.drivers.log_link import LogLink
from droned.drivers.log_reader import LogReader, reader_command
from droned.drivers.looks import is_startable
from droned.drivers.output_files import OutputFiles
from droned.drivers.pools import NamedPool
from droned.drivers.stop_note import leave_note, take_note_away
from droned.drivers.successor import HeldRuns
from droned.errors import CannotRun, ConfigurationError, DronedError
from droned.models.daemon_log import OwnLogSettings
from droned.models.events import EventType, Occurrence
from droned.models.policy import Configuration, DaemonSettings, LogPolicy
from droned.models.records import AppRecord, InstanceRecord, IssueKind
from droned.models.registry import Registry
from droned.models.sinks import Sink
from droned.services.configuring import Configuring
from droned.services.forward import ForwardService, OneSink
from droned.services.issue_book import IssueBook
from droned.services.journal import JournalService
from droned.services.logs import LogsService
from droned.services.operations import Operations
from droned.services.plugins import Service, Services
from droned.services.processes import GuardianSpawner, Processes
from droned.services.stall import StallWatch
from droned.services.supervision import Supervision
from droned.web.documents import rfc3339

DISK_REMEDY = "make room or mend the disk; apps run on, and droned writes again by itself"
DAMAGE_REMEDY = "what was damaged is set aside beside the journal; look at the disk, then at the history"
ROOM_REMEDY = (
    "raise its hard limit on open files: from its next start on by LimitNOFILE= of the unit or ulimit -Hn; "
    "now by prlimit --nofile=N:N --pid of the guardian, then dronectl daemon restart; apps run on"
)
SERVICE_REMEDY = "see droned's log; a reload tries it again (HUP to the guardian), apps run on"


class Parts:
    """Every part of one daemon."""

    log = Logger(namespace="droned")

    def __init__(
        self,
        options: RunOptions,
        release: str,
        reactor: Any,
        environ: MutableMapping[str, str],
        own_log: DaemonLog,
    ) -> None:
        self.own_log = own_log
        self.options = options
        self.release = release
        self.reactor = reactor
        self.server_name = socket.gethostname().partition(".")[0].lower() or "localhost"
        self.started_at = time.time()
        self.clock = SystemClock()
        self.timers = ReactorTimers(reactor)
        self.pool = NamedPool("files", 2, reactor)
        self.journal_pool = NamedPool("journal", 1, reactor)
        self.registry = Registry(failed=self._subscriber_failed)
        self.runs = HeldRuns(most_pidfds())
        self.link = GuardianLink.from_environment(environ, reactor=reactor, release=release, runs=self.runs)
        # Without what was the guardian's; a copy, because os.environ decodes whenever it is looked into.
        self.environ: Mapping[str, str] = dict(environ)
        self.spawner = GuardianSpawner(self.link.send, self.link.flush)
        self.journal = self._journal()
        self.output = OutputFiles(options.state_dir)
        self.registry.subscribe(self.output.follow)
        self.supervision = Supervision(
            registry=self.registry,
            spawner=self.spawner,
            when_durable=self.journal.when_durable,
            clock=self.clock,
            timers=self.timers,
            sleep=self.timers.sleep,
            run=self.run,
            launch_of=self.launch_of,
            look_at=self._look_at,
            log_failure=self.log_failure,
        )
        self.issues = IssueBook(self.registry, self.supervision.moment)
        self.processes = Processes(
            registry=self.registry,
            supervision=self.supervision,
            spawner=self.spawner,
            issues=self.issues,
            output_began=self.output.note,
        )
        self.configuring = Configuring(
            registry=self.registry,
            supervision=self.supervision,
            issues=self.issues,
            load=self.load,
            settings_changed=self.settings_changed,
        )
        self.dispatcher = Dispatcher(lambda: self.journal.is_degraded)
        self.operations = Operations(
            registry=self.registry,
            supervision=self.supervision,
            server_name=self.server_name,
            new_id=new_action_id,
            when_durable=self.journal.when_durable,
            is_degraded=lambda: self.journal.is_degraded,
            most_instances=most_instances(options.reactor),
        )
        self.logs = LogsService(
            registry=self.registry,
            link=LogLink(self.output.folder, reactor=reactor),
            new_reader=self.new_reader,
            files=self.output,
            issues=self.issues,
            dispatcher=self.dispatcher,
            server_name=self.server_name,
            when_durable=self.journal.when_durable,
            clock=self.clock,
            timers=self.timers,
            pool=self.pool,
            run=self.run,
            moment=self.supervision.moment,
        )
        self.forward = ForwardService(make=self._make_sink, keep_only=self._keep_sinks, run=self.run)
        self.names_pool = NamedPool("names", 2, reactor)
        self._has_sinks = False
        self.stall = StallWatch(self.timers, self.clock.mono)
        self.link.on_ping(self.stall.pinged)
        self.services: Services | None = None
        self._settings = DaemonSettings()
        self._damage: dict[str, None] = {}

    def _journal(self) -> JournalService:
        folder = Folder(f"{self.options.state_dir}/journal")
        return JournalService(
            files=JournalFiles(folder, self.release),
            history=JournalHistory(folder),
            pool=self.journal_pool,
            timers=self.timers,
            clock=self.clock,
            runner=self.run,
            release=self.release,
            keep_s=DaemonSettings().journal.keep_s,
            snapshot=self.registry.snapshot,
            failed=self._journal_failed,
            recovered=self._journal_recovered,
            damaged=self.journal_damaged,
        )

    # --- what parts are handed

    def run(self, work: Awaitable[object], what: str) -> None:
        """Run a coroutine or Deferred without waiting for it; its failure goes to the log."""
        running = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)  # type: ignore[arg-type]  # an Awaitable of ours is a coroutine
        running.addErrback(lambda failure: self.log.failure("failed: {what}", failure, what=what))

    def log_failure(self, what: str) -> None:
        """Log the exception being handled."""
        self.log.failure("failed: {what}", what=what)

    def _subscriber_failed(self, subscriber: object) -> None:
        self.log.failure("a subscriber of the registry failed: {what}", what=repr(subscriber))

    async def load(self) -> Configuration:
        """Read and check the configuration in a thread; raises ConfigurationError."""
        return await self.pool.run(self._load)

    def _load(self) -> Configuration:
        sources = read_sources(self.options.config, uid=os.getuid())
        configuration = load(sources, self.options.sets, self.environ)
        count = sum(len(spec.labels) for spec in configuration.apps.values())
        problem = too_many(count, self.options.reactor)
        if problem is not None:
            raise ConfigurationError(f"cannot use the configuration: {problem}")
        path = self._socket_of(configuration.settings)
        if self.services is not None and self.services["api"].state == "running" and path != self.socket_path:
            try:
                try_to_listen(path)
            except CannotRun as error:
                raise ConfigurationError(f"cannot use the configuration: {error}") from error
        return configuration

    def settings_changed(self, settings: DaemonSettings) -> None:
        """Put the `droned:` part of a configuration in force."""
        has_moved = self._socket_of(settings) != self.socket_path
        self._settings = settings
        self.supervision.set_budget(settings.start_budget)
        self.journal.keep_s = settings.journal.keep_s
        self.configure_log(settings.log)
        self.logs.set_total(settings.logs.total_bytes)
        self.forward.configure(settings.forward)
        if self.services is not None:
            self.run(self.services.start_failed(settings, self), "starting the services that failed")
            if has_moved:
                self.run(self.services.restart("api", settings, self), "listening on another socket")

    def configure_log(self, settings: OwnLogSettings) -> None:
        """Have droned's own log written as `settings` say."""
        before = self.own_log.reader
        try:
            self.own_log.configure(settings)
        except OSError as error:
            self.log.error("cannot write this log to files: {error}", error=error.strerror)
        if self.own_log.reader != before:
            self.logs.set_own(self.own_log.reader, self.own_log.taken)

    async def _make_sink(self, sink: Sink, is_new: bool) -> OneSink:
        # Imported when there is one, and in a thread: it takes its time, and room in every daemon.
        sinks = await self.pool.run(import_module, "droned.daemon.sinks")
        await self.pool.run(sinks.import_for, sink)
        self._has_sinks = True
        since = self.clock.wall() if is_new else self.started_at
        made: OneSink = sinks.make_forwarding(self, sink, since)
        return made

    async def _keep_sinks(self, names: Collection[str]) -> None:
        """Forget what is known of sinks that are gone."""
        for issue in tuple(self.registry.snapshot().issues.values()):
            if issue.kind is IssueKind.FORWARDING and issue.subject not in names:
                self.issues.close(IssueKind.FORWARDING, issue.subject, "the sink is gone")
        if names or self._has_sinks:
            from droned.drivers.sink_positions import SinkPositions

            await self.pool.run(SinkPositions(self.output.folder).forget_all_but, names)

    @property
    def socket_path(self) -> str:
        """Where the local API listens: option or environment, else configuration, else the default."""
        return self._socket_of(self._settings)

    def _socket_of(self, settings: DaemonSettings) -> str:
        if self.options.socket_is_given or settings.socket is None:
            return self.options.socket
        return settings.socket

    async def leave_note(self, actor: str, reason: str) -> None:
        """Leave word beside the socket that the daemon is stopped on purpose; failing that, in the log."""
        try:
            await self.pool.run(
                leave_note,
                self.socket_path,
                self.options.state_dir,
                at=time.time(),
                actor=actor,
                reason=reason,
            )
        except (OSError, ValueError, DronedError):
            self.log_failure("leaving word of the stop")

    async def come_back(self, settings: DaemonSettings) -> None:
        """Take away what the daemon before us left word of; `settings` were in force then."""
        await self.pool.run(take_note_away, self._socket_of(settings))

    def launch_of(self, app: AppRecord, record: InstanceRecord) -> Mapping[str, object]:
        """What the guardian is told to execute for an instance."""
        launch = launch_order(app.spec, record.label, self.server_name, self.environ)
        if app.spec.logs.direct:
            try:
                self.output.prepare(app.name)
            except OSError as error:
                # The start then fails with a reason of its own, and is tried again.
                self.log.error(
                    "cannot make the log folder of {app}: {error}", app=app.name, error=error.strerror
                )
        return {**launch, **self.output.order(record.key, app.spec.logs)}

    def log_paths(self, instance: str) -> dict[str, str]:
        """Where the newest output of an instance is found, by stream."""
        policy = self._log_policy(instance)
        return {} if policy is None else self.output.paths(instance, policy)

    def output_begins(self, instance: str) -> list[dict[str, int | None]]:
        """Where in its direct files the output of an instance's last runs begins."""
        policy = self._log_policy(instance)
        return self.output.begins(instance) if policy is not None and policy.direct else []

    def _log_policy(self, instance: str) -> LogPolicy | None:
        record = self.registry.instance(instance)
        app = None if record is None else self.registry.app(record.app)
        return None if app is None else app.spec.logs

    def new_reader(self, received: Callable[[bytes], None], ended: Callable[[int], None]) -> LogReader:
        """A reader of captured logs that is still to be begun."""
        return LogReader(reactor=self.reactor, command=reader_command(), received=received, ended=ended)

    async def _look_at(self, app: AppRecord, record: InstanceRecord) -> bool:
        launch = launch_order(app.spec, record.label, self.server_name, self.environ)
        return await self.pool.run(is_startable, launch)

    # --- what parts tell

    def service_changed(self, service: Service, before: str) -> None:
        """Remember what became of a service, and open or close its issue."""
        subject = service.name
        if service.state == "failed":
            text = f"the service {subject} does not run: {service.note}"
            failed = Occurrence(type=EventType.SERVICE_FAILED, subject=subject, text=service.note)
            self.issues.open(IssueKind.SERVICE_FAILED, subject, text, SERVICE_REMEDY, (failed,))
        elif service.state == "running":
            running = Occurrence(type=EventType.SERVICE_STARTED, subject=subject, text="running")
            self.issues.close(IssueKind.SERVICE_FAILED, subject, "it runs", (running,))

    def _journal_failed(self, text: str) -> None:
        told_ = Occurrence(type=EventType.JOURNAL_ERROR, subject="journal", text=text)
        self.issues.open(IssueKind.JOURNAL_CANNOT_WRITE, "journal", text, DISK_REMEDY, (told_,))

    def _journal_recovered(self, text: str) -> None:
        told_ = Occurrence(type=EventType.JOURNAL_RECOVERED, subject="journal", text=text)
        self.issues.close(IssueKind.JOURNAL_CANNOT_WRITE, "journal", "it writes again", (told_,))

    def journal_damaged(self, *texts: str) -> None:
        """Open the issue of a damaged journal: all damage that this daemon met, a line each."""
        self._damage.update(dict.fromkeys(texts))
        told = [Occurrence(type=EventType.JOURNAL_ERROR, subject="journal", text=text) for text in texts]
        self.issues.open(IssueKind.JOURNAL_DAMAGED, "journal", "\n".join(self._damage), DAMAGE_REMEDY, told)

    def watch_room(self) -> None:
        """Open or close the issue of a daemon that has too few descriptors, now and when it comes to that."""
        self.runs.on_crowded = self._crowded
        if self.runs.is_crowded:
            self._crowded()
        else:
            self.issues.close(IssueKind.DESCRIPTORS, "daemon", "there are enough")

    def _crowded(self) -> None:
        text = (
            f"too few descriptors: droned holds proof of {self.runs.most} processes only; how others end is "
            "unknown if that happens while there is no guardian"
        )
        self.issues.open(IssueKind.DESCRIPTORS, "daemon", text, ROOM_REMEDY)

    def daemon_status(self) -> dict[str, object]:
        """`dronectl daemon status -o json`."""
        return {
            "pid": os.getpid(),
            "guardian_pid": self.link.guardian_pid,
            "logs_pid": self.link.logs_pid,
            "version": self.release,
            "started_at": rfc3339(self.started_at),
            "socket": self.socket_path,
            "state_dir": self.options.state_dir,
            "config": self.options.config,
            "services": [] if self.services is None else self.services.shown(),
            "reactor_lag_s": round(self.stall.lag_s, 6),
            "degraded": self._degraded(),
            "server": self.server_name,
            "boot_id": self.link.boot_id,
            "issues": len(self.registry.records("issue")),
            "registry_version": self.registry.version,
        }

    def _degraded(self) -> list[str]:
        reasons = []
        if self.journal.is_degraded:
            reasons.append("journal")
        if self.link.is_unresponsive:
            reasons.append("guardian")
        if self.logs.is_unreachable:
            reasons.append("logs")
        return reasons


def new_action_id() -> str:
    """An id for an action: sorts by time, 26 lower-case hexadecimal characters."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(7)}"

"""One life of the daemon: from the guardian's welcome to its own end.

The order of a start: welcome and table from the guardian; the journal opened
and the configuration read, both in threads and at once; the registry restored;
then the services, of which `supervision` takes over what the table holds,
applies the configuration and begins what is wanted. What the journal and the
table tell is believed over the files: a configuration that cannot be used
stops only a droned that has nothing to fall back on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

from msgspec.structs import replace
from twisted.application.service import IService, Service
from twisted.internet.defer import ensureDeferred

from droned.daemon.build import Parts
from droned.daemon.ending import HAS_PROCESS, Ending
from droned.daemon.limits import raise_descriptor_limit, too_many
from droned.daemon.log import begin_log
from droned.daemon.options import RunOptions
from droned.daemon.orders import Orders
from droned.drivers import memory
from droned.drivers.local_socket import try_to_listen
from droned.errors import CannotRun, ConfigurationError, DronedError
from droned.lifecycle import inputs
from droned.models.events import EventType, Occurrence
from droned.models.policy import Configuration, DaemonSettings
from droned.models.records import InstanceRecord, IssueKind, ServerRecord, State
from droned.models.registry import Commit
from droned.services.held import Hold
from droned.services.journal import journal_plugin
from droned.services.plugins import Plugin, Services
from droned.services.supervision import SELF, Given

SETTLE_AFTER_S = 3.0
READY_AT_LAST_S = 20.0
"""So long after supervision runs, a service that still starts holds up nobody."""
LEFT_BEHIND = frozenset({State.STOPPED, State.STOPPING, State.FAILED})
"""States in which a wanted instance can be found whose daemon was killed in an ordered stop."""
HANG_S = 5.0
"""A thread that still runs so long after the end of everything is left behind."""


class Daemon:
    """Brings the parts up and takes them down."""

    def __init__(
        self, parts: Parts, tell: Callable[[Commit], None], extra_plugins: Iterable[Any] = ()
    ) -> None:
        """`tell` writes commits to droned's log; `extra_plugins` start after the built-in services."""
        self._parts = parts
        self._tell = tell
        self._configuration: Configuration | ConfigurationError | None = None
        self._rows: Sequence[Mapping[str, Any]] = ()
        self._damage: tuple[str, ...] = ()
        self.exit_status = 0
        self._is_ready = self._is_closing = False
        self._ending = Ending(
            registry=parts.registry,
            supervision=parts.supervision,
            send=parts.link.send,
            timers=parts.timers,
            run=parts.run,
            when_durable=parts.journal.when_durable,
            guardian_id=lambda: parts.link.guardian_id,
            close=self.close,
            refuse_commands=parts.dispatcher.close,
            exit_when=parts.options.exit_when,
        )
        self._orders = Orders(
            registry=parts.registry,
            ending=self._ending,
            configuring=parts.configuring,
            send=parts.link.send,
            moment=parts.supervision.moment,
            when_durable=parts.journal.when_durable,
            leave_note=parts.leave_note,
        )
        parts.services = Services(
            [
                journal_plugin(parts.journal),
                Plugin("supervision", lambda context: SupervisionService(self), needs=("journal",)),
                Plugin("logs", lambda context: parts.logs, needs=("supervision",)),
                Plugin("api", self._make_api),
                Plugin("forward", lambda context: parts.forward),
                Plugin("stall-watch", lambda context: parts.stall),
                *extra_plugins,
            ],
            changed=parts.service_changed,
            log_failure=parts.log_failure,
        )

    async def begin(self) -> None:
        """Come into control; ends the daemon when that cannot be."""
        try:
            await self._begin()
        except DronedError as error:
            if not self._is_closing:
                self._give_up(str(error), error.exit_status)
        except Exception:  # noqa: BLE001  # a named border: the daemon's own start
            self._parts.log_failure("the start of the daemon")
            self._give_up("cannot start; see the log", os.EX_SOFTWARE)

    async def _begin(self) -> None:
        parts = self._parts
        parts.link.begin(self._received)
        reading = ensureDeferred(parts.load()).addBoth(self._configuration_read)
        self._rows = await parts.link.table()
        head = parts.link.head
        opened = await parts.journal.open(head, parts.link.progress)
        parts.registry.restore(opened.version, opened.records)
        parts.registry.subscribe(parts.journal.append)
        parts.registry.subscribe(self._tell)
        parts.journal.on_durable(parts.processes.durable)
        self._damage = opened.damage
        self._make_server()
        await parts.come_back(self._server().settings)
        await reading
        parts.configure_log(self._settings().log)
        problem = too_many(len(parts.registry.records("instance")), parts.options.reactor)
        if problem is not None:
            raise CannotRun(f"cannot go on with what is there: {problem}")
        if not parts.registry.records("app"):
            await self._refuse_what_cannot_be()
        services = parts.services
        assert services is not None
        await services.start(self._server().settings, parts)
        if self._is_closing:
            return  # it was told to go meanwhile
        if services["supervision"].state != "running":
            raise CannotRun(f"cannot supervise: {services['supervision'].note}")
        self._say_ready()
        parts.timers.call_later(SETTLE_AFTER_S, memory.settle)

    def _say_ready(self) -> None:
        """Tell the guardian that the start is over, once: all services run, or one takes its time."""
        if not self._is_ready and not self._is_closing:
            self._is_ready = True
            self._parts.link.send({"type": "ready"})
            self._tell_status()

    async def _make_api(self, context: Parts) -> IService:
        """The API, its code imported in a thread: whatever is to be started is under way by then."""
        plugin = (await context.pool.run(import_module, "droned.services.api")).plugin
        problems = plugin.check(self._server().settings)
        if problems:
            raise CannotRun("; ".join(problems))
        made: IService = plugin.make(context)
        return made

    def _configuration_read(self, result: Any) -> None:
        """Keep the configuration, or why there is none."""
        failure = getattr(result, "value", None)
        if isinstance(failure, Exception) and not isinstance(failure, ConfigurationError):
            result.raiseException()
        self._configuration = failure or result

    async def _refuse_what_cannot_be(self) -> None:
        """With nothing to fall back on, nothing is started when only half of what was asked could be had.

        Raises CannotRun. A droned that has apps goes on without a configuration, and without a socket.
        """
        parts = self._parts
        if isinstance(self._configuration, ConfigurationError):
            # Every problem on a line of its own.
            raise CannotRun(self._configuration.whole)
        assert self._configuration is not None
        parts.settings_changed(self._configuration.settings)
        await parts.pool.run(try_to_listen, parts.socket_path)

    def _make_server(self) -> None:
        if "server" not in self._parts.registry.records("server"):
            server = ServerRecord(key="server", name=self._parts.server_name)
            self._put_server(server, ())

    def _server(self) -> ServerRecord:
        record = self._parts.registry.records("server")["server"]
        assert isinstance(record, ServerRecord)
        return record

    def _settings(self) -> DaemonSettings:
        """Those of the configuration that was read, else the last good ones."""
        read = self._configuration
        return read.settings if isinstance(read, Configuration) else self._server().settings

    def _put_server(self, server: ServerRecord, occurrences: Iterable[Occurrence]) -> None:
        parts = self._parts
        change = ("server", "server", server)
        parts.registry.commit((change,), occurrences, moment=parts.supervision.moment(), actor=SELF, cause=0)

    # --- supervision as a service

    def take_control(self) -> None:
        """Take over the guardian's table, put the configuration in force, begin what is wanted."""
        parts = self._parts
        server = self._server()
        boot_id = parts.link.boot_id
        is_new_boot = server.boot_id not in ("", boot_id)
        begins = server.is_down or is_new_boot
        parts.processes.take_over(self._rows, is_new_boot=is_new_boot)
        parts.settings_changed(self._settings())
        started = Occurrence(
            type=EventType.SERVER_STARTED, subject="server", text=f"droned {parts.release} is in control"
        )
        # The last process may have ended while there was no daemon. A guardian that was started anew
        # with nothing left to stop, on the other hand, is somebody's wish to begin again.
        is_same_life = server.stopping_under == parts.link.guardian_id
        goes_on_stopping = server.is_stopping and not is_new_boot and (is_same_life or self._has_processes())
        after = replace(server, boot_id=boot_id, is_down=False, is_stopping=goes_on_stopping)
        self._put_server(after, (started,))
        present = tuple(parts.registry.records("instance"))
        if isinstance(self._configuration, Configuration):
            parts.configuring.apply(self._configuration, SELF)
        elif self._configuration is not None:
            parts.configuring.refuse(self._configuration, SELF)
        if goes_on_stopping:
            self._ending.shut_down("a stop that was already going on", server.stopping_code, hold=Hold.NO)
        elif not parts.link.shuts_down:
            given = list(self._beginnings(present, is_beginning=begins))
            if given:
                parts.supervision.commit(given, actor=SELF, cause=self._server().cause)
        parts.supervision.resume()
        parts.watch_room()
        parts.operations.register(parts.dispatcher)
        self._orders.register(parts.dispatcher)
        if self._damage:
            parts.journal_damaged(*self._damage)
        else:
            parts.issues.close(IssueKind.JOURNAL_DAMAGED, "journal", "it is sound")

    def _has_processes(self) -> bool:
        return any(
            isinstance(record, InstanceRecord) and record.state in HAS_PROCESS
            for record in self._parts.registry.records("instance").values()
        )

    def listen_to_guardian(self) -> None:
        """Take what the guardian tells from now on: other services may be long in starting, or hang."""
        self._parts.link.deliver()
        self._parts.timers.call_later(READY_AT_LAST_S, self._say_ready)

    def _beginnings(self, keys: Iterable[str], *, is_beginning: bool) -> Iterable[Given]:
        """Those to be begun: all of them, or what a stop that did not come to its end has left behind."""
        for key in keys:
            record = self._parts.registry.instance(key)
            app = None if record is None else self._parts.registry.app(record.app)
            if record is not None and app is not None and (is_beginning or record.state in LEFT_BEHIND):
                yield (record, app, inputs.Begin())

    # --- what the guardian and the system say

    def _received(self, message: Mapping[str, Any]) -> None:
        """One message of the guardian's, in order; none comes before the table was taken over."""
        match message["type"]:
            case "shutdown":
                # The guardian remembers it, and tells every daemon.
                self._ending.shut_down(message["reason"], hold=Hold.NO)
            case "reload":
                self._parts.run(self._reload(), "reading the configuration")
            case "replace":
                self._ending.replace()
            case "guardian_replaced":
                self._guardian_replaced()
            case _:
                self._parts.processes.received(message)

    async def _reload(self) -> None:
        if self._parts.journal.is_degraded:
            # What is defined has to be remembered; as for a command, the answer is no.
            self._parts.log.error("cannot read the configuration again: the journal cannot write")
            return
        try:
            await self._parts.configuring.reload("signal HUP")
        except ConfigurationError:
            pass  # told by an event and an issue
        self._parts.link.send({"type": "ready"})

    def _guardian_replaced(self) -> None:
        text = "the guardian was lost; a new one is in its place, apps run on"
        server = self._server()
        if server.is_stopping:
            server = replace(server, stopping_under=self._parts.link.guardian_id)
        self._put_server(server, (Occurrence(type=EventType.GUARDIAN_REPLACED, subject="server", text=text),))

    def _tell_status(self) -> None:
        count = len(self._parts.registry.records("instance"))
        self._parts.link.send({"type": "status", "text": f"in control of {count} instances"})

    def terminated(self) -> None:
        """TERM to the daemon itself: go in order; the guardian starts another."""
        self._ending.restart()

    # --- the end

    async def close(self) -> None:
        """Stop the services and the reactor; apps are not touched."""
        parts = self._parts
        self._is_closing = True
        if parts.services is not None:
            await parts.services.stop()
        parts.link.close()
        for pool in (parts.pool, parts.journal_pool):
            await pool.stop(HANG_S)
        parts.reactor.stop()

    def _give_up(self, text: str, status: int) -> None:
        print(f"droned: {text}", file=sys.stderr, flush=True)
        self.exit_status = status
        self._parts.reactor.stop()


class SupervisionService(Service):
    """Supervision as the daemon's service: in control from its start to its stop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    def startService(self) -> None:  # Twisted's name
        """Come into control."""
        super().startService()
        self._daemon.take_control()
        self._daemon.listen_to_guardian()

    def stopService(self) -> None:  # Twisted's name
        """Perform nothing more."""
        super().stopService()
        self._daemon._parts.supervision.close()


def run_daemon(options: RunOptions, release: str, reactor: Any, extra_plugins: Iterable[Any] = ()) -> int:
    """Run the daemon until its end; its exit status. `extra_plugins` start after the built-in services."""
    log = begin_log()
    memory.use_one_heap()
    raise_descriptor_limit(options.reactor)
    if os.environ.pop("DRONED_SAFE_MODE", ""):
        extra_plugins = ()  # the guardian has seen daemon after daemon die
    daemon = Daemon(Parts(options, release, reactor, os.environ, log), log.tell, extra_plugins)

    def start() -> None:
        signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(daemon.terminated))
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        ensureDeferred(daemon.begin())

    reactor.callWhenRunning(start)
    reactor.run()
    sys.stdout.flush()
    # Threads that hang, in a name look-up or on a dead disk, are left behind.
    os._exit(daemon.exit_status)

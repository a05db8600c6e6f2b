"""The service that answers on the local socket."""

from __future__ import annotations

import os
import pwd
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from zope.interface import implementer

from droned.commands.callers import Peer, actor_text, role_of
from droned.commands.dispatcher import Caller, Dispatcher
from droned.commands.table import Role
from droned.drivers.local_socket import LocalPort, listen, peer_of, socket_group
from droned.errors import NotNow
from droned.models.places import LONGEST_SOCKET_PATH
from droned.models.policy import DaemonSettings
from droned.models.ports import IClock, IPool, IServicePlugin, ITimers, Runner
from droned.models.registry import Registry
from droned.web.channel import Limits
from droned.web.feed import Durability, EventFeed
from droned.web.past import Journal, Past
from droned.web.resource import Api, LogSource
from droned.web.root import Root, root
from droned.web.site import ApiSite
from droned.web.status import StatusBodies


class ApiJournal(Journal, Durability, Protocol):
    """What the API asks of the journal."""


class ApiContext(Protocol):
    """What the service needs of the daemon."""

    registry: Registry
    dispatcher: Dispatcher
    journal: ApiJournal
    clock: IClock
    timers: ITimers
    reactor: Any
    """Adopts the connections and watches the listening socket."""
    pool: IPool
    """For reading the journal's records and looking up names."""
    run: Runner
    socket_path: str
    server_name: str
    daemon_status: Callable[[], Mapping[str, object]]
    log_paths: Callable[[str], Mapping[str, str]]
    """Where the newest output of an instance is found, by stream: `{"stdout": PATH, "stderr": PATH}`."""
    output_begins: Callable[[str], Sequence[Mapping[str, int | None]]]
    """Where in direct files the output of its last runs begins: `run`, and an offset by stream."""
    logs: LogSource


class LocalVisitor:
    """Who is at the other end of a connection to the local socket."""

    def __init__(self, peer: Peer | None, role: Role | None, names: UserNames) -> None:
        self._peer = peer
        self.role = role
        self._names = names

    async def caller(self) -> Caller:
        """They as a command's actor."""
        role = self.role if self.role is not None else Role.READ
        if self._peer is None:
            return Caller(actor="somebody on this host", uid=None, role=role)
        return Caller(actor=await self._names.actor(self._peer.uid), uid=self._peer.uid, role=role)


class UserNames:
    """Names of this host's users as events show them; looked up in a thread, once each."""

    def __init__(self, pool: IPool) -> None:
        self._pool = pool
        self._actors = {0: actor_text(0, None)}

    async def actor(self, uid: int) -> str:
        """`root`, `alice (uid 1000)`."""
        actor = self._actors.get(uid)
        if actor is not None:
            return actor
        try:
            name = await self._pool.run(_user_name, uid)
        except NotNow:  # the pool has too much to do; the number will do
            return actor_text(uid, None)
        return self._actors.setdefault(uid, actor_text(uid, name))


class ApiService(Service):
    """Listens on the local socket and answers there."""

    name = "api"

    def __init__(
        self,
        *,
        registry: Registry,
        dispatcher: Dispatcher,
        journal: ApiJournal,
        clock: IClock,
        timers: ITimers,
        reactor: Any,
        pool: IPool,
        run: Runner,
        socket_path: str,
        server_name: str,
        daemon_status: Callable[[], Mapping[str, object]],
        log_paths: Callable[[str], Mapping[str, str]],
        output_begins: Callable[[str], Sequence[Mapping[str, int | None]]],
        logs: LogSource,
        limits: Limits,
    ) -> None:
        self._timers = timers
        self._reactor = reactor
        self._pool = pool
        self._clock = clock
        self._socket_path = socket_path
        self._limits = limits
        self._names = UserNames(pool)
        self._status = StatusBodies(registry, server_name, clock.wall(), secrets.token_hex(4))
        self._feed = EventFeed(registry=registry, journal=journal, clock=clock, timers=timers, run=run)
        self._past = Past(registry, self._feed, journal, pool)
        self._api = Api(
            server=server_name,
            registry=registry,
            dispatcher=dispatcher,
            timers=timers,
            status=self._status,
            feed=self._feed,
            past=self._past,
            daemon_status=daemon_status,
            log_paths=log_paths,
            output_begins=output_begins,
            logs=logs,
            clock=clock,
        )
        self._port: LocalPort | None = None
        self._site: ApiSite | None = None
        self._root: Root | None = None

    @property
    def note(self) -> str:
        """Its state in words, for `daemon status`."""
        connections = self._site.connections if self._site is not None else 0
        return f"{self._socket_path}, {connections} connection{'' if connections == 1 else 's'}"

    def startService(self) -> Deferred[None]:
        """Listen; CannotRun when the socket cannot be had."""
        super().startService()
        return Deferred.fromCoroutine(self._start())

    def stopService(self) -> Deferred[None]:
        """Take no more connections and end those that are there, answers under way first."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _start(self) -> None:
        local = listen(self._socket_path, await self._pool.run(socket_group))
        own_uid = os.geteuid()

        def welcome(transport: Any) -> LocalVisitor:
            peer = peer_of(transport.socket)
            role = Role.ADMIN if peer is None else role_of(peer, own_uid=own_uid, socket_gid=local.gid)
            return LocalVisitor(peer, role, self._names)

        self._root = root(self._api)
        self._site = ApiSite(
            self._root.resource,
            welcome=welcome,
            clock=self._clock,
            timers=self._timers,
            reactor=self._reactor,
            limits=self._limits,
        )
        self._port = LocalPort(local, self._site, self._reactor, self._timers.call_later)
        self._port.start()

    async def _stop(self) -> None:
        if self._port is not None:
            self._port.stop()
            self._port = None
        if self._root is not None:
            self._root.finish()
            self._root = None
        if self._site is not None:
            await self._site.farewell()
            self._site = None
        self._feed.stop()
        self._past.stop()
        self._status.stop()


@implementer(IServicePlugin)
class ApiPlugin:
    """How the daemon comes to its API."""

    name = "api"
    needs: tuple[str, ...] = ()
    """Nothing: when all else fails, status must be answered."""

    def check(self, settings: DaemonSettings) -> list[str]:
        """What is wrong with the socket's path, as far as that can be told from its text."""
        path = settings.socket
        if path is None:
            return []
        if not path.startswith("/"):
            return [f'cannot listen on "{path}": the path of the socket must be absolute']
        if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
            return [f"cannot listen on {path}: a socket's path has at most {LONGEST_SOCKET_PATH} bytes"]
        return []

    def make(self, context: ApiContext) -> ApiService:
        """The service, with what `context` has for it."""
        return ApiService(
            registry=context.registry,
            dispatcher=context.dispatcher,
            journal=context.journal,
            clock=context.clock,
            timers=context.timers,
            reactor=context.reactor,
            pool=context.pool,
            run=context.run,
            socket_path=context.socket_path,
            server_name=context.server_name,
            daemon_status=context.daemon_status,
            log_paths=context.log_paths,
            output_begins=context.output_begins,
            logs=context.logs,
            limits=Limits(),
        )


plugin = ApiPlugin()
"""The registration."""


def _user_name(uid: int) -> str | None:
    """Runs in a thread: asking for a name can mean asking another host."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return None

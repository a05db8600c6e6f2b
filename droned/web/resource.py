"""What every resource of the API shares: role, method, query, and what becomes of what it raises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from droned.commands.dispatcher import Dispatcher
from droned.commands.table import COMMANDS, Role, check_query
from droned.errors import NoSuchTarget, NotAllowed, WrongMethod
from droned.models.ports import IClock, ITimers
from droned.models.registry import Registry
from droned.web.feed import EventFeed
from droned.web.past import Past
from droned.web.request import Answer, ApiRequest
from droned.web.status import StatusBodies

_log = Logger()
Query = Mapping[str, Any]
Work = Coroutine[Any, Any, Answer | None]


class Reading(Protocol):
    """A reader at work."""

    def pause(self) -> None:
        """Take nothing of it until `resume`."""
        ...

    def resume(self) -> None:
        """Go on."""
        ...

    def kill(self) -> None:
        """Nobody wants its answer any more."""
        ...


class LogSource(Protocol):
    """What is asked about captured output."""

    def read(
        self,
        question: Mapping[str, object],
        received: Callable[[bytes], None],
        ended: Callable[[int], None],
    ) -> Reading:
        """Start a reader: `received` is given what it prints, `ended` its wait status. Raises Busy."""
        ...

    def usage(self) -> Awaitable[Mapping[str, object]]:
        """The room that everything takes."""
        ...

    def kept(self) -> Awaitable[Collection[str]]:
        """The instances, those of no configuration too, of which there is captured output."""
        ...

    def last_lines(
        self, instance: str, runs: Sequence[int]
    ) -> Awaitable[Mapping[int, Sequence[Mapping[str, str]]]]:
        """The last lines of those of these runs of which they are kept."""
        ...


class Api(Struct, frozen=True, kw_only=True):
    """What the resources work with."""

    server: str
    """This server's own name."""
    registry: Registry
    dispatcher: Dispatcher
    timers: ITimers
    status: StatusBodies
    feed: EventFeed
    past: Past
    daemon_status: Callable[[], Mapping[str, object]]
    log_paths: Callable[[str], Mapping[str, str]]
    """Where the newest output of an instance is found: paths by the name of the stream."""
    output_begins: Callable[[str], Sequence[Mapping[str, int | None]]]
    """Where in direct files the output of its last runs begins: `run`, and an offset by stream."""
    logs: LogSource
    clock: IClock

    def head(self) -> dict[str, object]:
        """What every answer about this server begins with."""
        return {"server": self.server, "version": self.registry.version, "at": self.status.at}


class ApiResource(Resource):
    """A resource that answers GET with what a reading command of the table gives.

    A subclass names its `command` and defines `get`; one that takes POST sets
    `post`. They answer now or by a coroutine; None says that the request has
    been answered by other means (a stream).
    """

    command: ClassVar[str]
    post: Callable[[ApiRequest], Work] | None = None

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api
        self._row = COMMANDS[self.command]
        self._no_query = check_query(self._row, {})

    def get(self, request: ApiRequest, query: Query) -> Answer | Work | None:
        """The answer to GET and HEAD; `query` has the checked arguments of the command."""
        raise NotImplementedError

    def getChild(self, path: bytes, request: Any) -> Resource:
        """There is nothing below, unless a subclass says so."""
        return Missing(self.api)

    def render(self, request: ApiRequest) -> int:
        """Answer, now or later; whatever is raised becomes a problem document."""
        if request.method in (b"GET", b"HEAD"):
            self._render_get(request)
        elif request.method == b"POST" and self.post is not None:
            self._later(request, self.post(request))
        else:
            allowed = ["GET", "HEAD", *(["POST"] if self.post is not None else [])]
            raise WrongMethod(
                f"cannot {request.method.decode('latin-1')} {request.path.decode('latin-1')}: "
                f"it takes {', '.join(allowed)}",
                allowed=allowed,
            )
        return NOT_DONE_YET

    def _render_get(self, request: ApiRequest) -> None:
        require(request, self._row.role)
        query = check_query(self._row, request.query()) if request.args else self._no_query
        result = self.get(request, query)
        if isinstance(result, Answer):
            request.reply(result)
        elif result is not None:
            waiting = self._later(request, result)
            # A question whose asker has gone need not be answered. (A command is done all the same.)
            request.notifyFinish().addErrback(lambda _: waiting.cancel())

    def _later(self, request: ApiRequest, work: Work) -> Deferred[None]:
        return Deferred.fromCoroutine(self._reply(request, work))

    async def _reply(self, request: ApiRequest, work: Awaitable[Answer | None]) -> None:
        try:
            given = await work
            if given is not None:
                request.reply(given)
        except CancelledError:
            pass
        except Exception:  # noqa: BLE001  # a named border: one request never harms another
            request.fail(Failure())


class Missing(Resource):
    """What is not there."""

    isLeaf = True

    def __init__(self, api: Api) -> None:
        super().__init__()
        self.api = api

    def render(self, request: ApiRequest) -> int:
        """404, for every method."""
        require(request, Role.READ)
        raise NoSuchTarget(f"cannot find {request.path.decode('latin-1')[:200]}")


class Branch(Resource):
    """A part of a path that only leads on."""

    def __init__(self, api: Api, children: Mapping[bytes, Resource]) -> None:
        super().__init__()
        self.api = api
        for name, child in children.items():
            self.putChild(name, child)

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Nothing but the children."""
        return Missing(self.api)

    def render(self, request: ApiRequest) -> int:
        """404 as well."""
        return Missing(self.api).render(request)


def require(request: ApiRequest, role: Role) -> None:
    """NotAllowed unless the one who asks has that role."""
    present = request.visitor.role
    if present is None:
        raise NotAllowed("cannot let you in: you are neither root nor in the group of droned's socket")
    if not present.includes(role):
        raise NotAllowed(f"cannot do this: it needs the role {role}, and yours is {present}")


def text_of(part: bytes) -> str:
    """A part of a path as text; what is no UTF-8 keeps its bytes as escapes and matches nothing."""
    return part.decode("utf-8", "backslashreplace")

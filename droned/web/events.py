"""`/events`: what happened, as a page or as a stream."""

from __future__ import annotations

from typing import Any, Protocol

from droned.commands.arguments import WHOLE_VERSION, Position, position_text, read_position, shown
from droned.commands.nearness import hint, near_names
from droned.commands.targets import TargetPattern
from droned.errors import BadRequest
from droned.models.events import Event, EventType
from droned.models.ports import ITimers
from droned.web.framing import Framing, JsonLines, ServerSentEvents
from droned.web.past import Wants
from droned.web.request import Answer, ApiRequest, answer
from droned.web.resource import Api, ApiResource, Query, Work
from droned.web.shapes import event_shape
from droned.web.stream import EventStream

HEARTBEAT_S = 15.0


class Stream(Protocol):
    """An answer that goes on."""

    def heartbeat(self) -> None:
        """Tell the client that we are there."""
        ...

    def finish(self) -> None:
        """End it in order."""
        ...


class Streams:
    """Every open stream, and the heartbeat that they share."""

    def __init__(self, timers: ITimers) -> None:
        self._timers = timers
        self._streams: set[Stream] = set()
        self._call: Any = None

    def add(self, stream: Stream) -> None:
        """Keep the stream alive until it leaves."""
        self._streams.add(stream)
        if self._call is None:
            self._call = self._timers.call_later(HEARTBEAT_S, self._beat)

    def leave(self, stream: Stream) -> None:
        """The stream is over."""
        self._streams.discard(stream)
        if not self._streams and self._call is not None:
            self._call.cancel()
            self._call = None

    def finish(self) -> None:
        """End every stream in order."""
        for stream in tuple(self._streams):
            stream.finish()

    def _beat(self) -> None:
        self._call = self._timers.call_later(HEARTBEAT_S, self._beat)
        for stream in tuple(self._streams):
            stream.heartbeat()


class Events(ApiResource):
    """The events of this server."""

    command = "events"

    def __init__(self, api: Api, streams: Streams) -> None:
        super().__init__(api)
        self._streams = streams

    def get(self, request: ApiRequest, query: Query) -> Answer | Work:
        """A page of events, or a stream of them if the client accepts one or asks to follow."""
        wants = wanted(query["type"], request.query().get("target", []), self.api.server)
        since: Position | None = query["since"]
        framing = _framing(request, query["follow"])
        if framing is None:
            return self._page(wants, since, query["limit"])
        if request.method == b"HEAD":
            return Answer(body=b"", content_type=framing.content_type)
        return self._stream(request, framing, wants, _last_id(request) or since)

    async def _page(self, wants: Wants, since: Position | None, limit: int) -> Answer:
        if since is None:
            found = await self.api.past.last_events(wants, limit)
            events, place = found.events, (self.api.feed.version, WHOLE_VERSION)
        else:
            events, place = await self.api.past.next_events(wants, since, limit)
        return answer(
            {
                **self.api.head(),
                "events": [event_shape(event) for event in events],
                "next": position_text(place),
            }
        )

    async def _stream(
        self, request: ApiRequest, framing: Framing, wants: Wants, position: Position | None
    ) -> None:
        stream = EventStream(
            request, self.api.feed, self.api.past, framing, wants, position, self._streams.leave
        )
        self._streams.add(stream)
        await stream.run()


def wanted(types: tuple[str, ...], targets: list[str], server: str) -> Wants:
    """Whether an event is of one of these types and about one of these targets; empty is any."""
    for name in types:
        if name not in EventType.__members__.values():
            near = near_names(name, list(EventType))
            raise BadRequest(f'cannot find an event type "{name}"{hint(near)}', near=list(near))
    patterns = [TargetPattern.parse(target, server) for target in targets]

    def wants(event: Event) -> bool:
        if types and event.type not in types:
            return False
        return not patterns or any(pattern.is_about(event.subject) for pattern in patterns)

    return wants


def _framing(request: ApiRequest, is_followed: bool) -> Framing | None:
    accepted = request.header(b"Accept") or ""
    if "text/event-stream" in accepted:
        return ServerSentEvents()
    return JsonLines() if is_followed or "application/x-ndjson" in accepted else None


def _last_id(request: ApiRequest) -> Position | None:
    text = request.header(b"Last-Event-ID")
    if not text:
        return None
    position = read_position(text)
    if position is None:
        raise BadRequest(f"cannot resume from {shown(text)}: an id of ours is VERSION.INDEX, as 88214.0")
    return position

"""`/logs` and what is below it: what instances wrote, and the room that it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from droned.commands.arguments import shown
from droned.commands.moments import When
from droned.commands.requests import read_object, read_request
from droned.commands.table import STREAMS, Role
from droned.commands.targets import apps_and_instances, in_configuration_order
from droned.errors import BadRequest, NoSuchTarget, WrongMethod
from droned.web.actions import json_body
from droned.web.documents import encode, rfc3339
from droned.web.events import Streams
from droned.web.log_stream import DIRECT, LogFraming, LogLines, LogMessages, LogStream
from droned.web.request import Answer, ApiRequest, answer
from droned.web.resource import Api, ApiResource, Query, Work, require

_POSITION = re.compile(r"[0-9]{1,19}", re.ASCII)


class Logs(ApiResource):
    """What instances wrote, as a stream of lines."""

    command = "logs"

    def __init__(self, api: Api, streams: Streams) -> None:
        super().__init__(api)
        self._streams = streams
        self.putChild(b"usage", Usage(api))
        self.putChild(b"rotate", Rotate(api))
        self.putChild(b"clear", Clear(api))

    def get(self, request: ApiRequest, query: Query) -> Answer | Work:
        """JSON lines, or server-sent events for a client that accepts them."""
        is_for_browsers = "text/event-stream" in (request.header(b"Accept") or "")
        framing = LogMessages() if is_for_browsers else LogLines()
        if query["run"] is not None and query["previous"]:
            raise BadRequest("cannot take both run and previous: each names one run")
        after = _last_id(request)
        question = {
            "streams": list(query["stream"] or STREAMS),
            "after": query["after"] if after is None else after,
            "last": query["last"],
            "run": query["run"],
            "is_previous": query["previous"],
            "grep": query["grep"],
            "is_inverted": query["invert"],
            "ignore_case": query["ignore_case"],
            "follow": query["follow"],
        }
        return self._answer(request, framing, question, query["since"], query["until"])

    async def _answer(
        self,
        request: ApiRequest,
        framing: LogFraming,
        question: Mapping[str, object],
        since: When | None,
        until: When | None,
    ) -> Answer | None:
        apps, instances = await self._meant(request.query().get("target", []))
        if request.method == b"HEAD":
            return Answer(body=b"", content_type=framing.content_type)
        question = {"apps": list(apps), "instances": list(instances), **question}
        direct = self._direct(apps, instances)
        await self._stream(request, framing, question, since, until, direct)
        return None

    def _direct(self, apps: Sequence[str], instances: Sequence[str]) -> list[dict[str, object]]:
        """The events about what is asked for by name and not captured."""
        snapshot = self.api.registry.snapshot()
        named = {*apps, *(key.partition("/")[0] for key in instances)}
        direct = {
            name for name in named if (app := snapshot.apps.get(name)) is not None and app.spec.logs.direct
        }
        if not direct:
            return []
        return [
            {"event": DIRECT, "instance": key, "files": dict(self.api.log_paths(key))}
            for key in in_configuration_order(snapshot)
            if (name := snapshot.instances[key].app) in direct and (name in apps or key in instances)
        ]

    async def _meant(self, targets: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
        """Apps and instances. A target of which nothing is known is looked for in what is kept."""
        snapshot, server = self.api.registry.snapshot(), self.api.server
        try:
            return apps_and_instances(targets, snapshot, server)
        except NoSuchTarget:
            return apps_and_instances(targets, snapshot, server, kept=await self.api.logs.kept())

    async def _stream(
        self,
        request: ApiRequest,
        framing: LogFraming,
        question: Mapping[str, object],
        since: When | None,
        until: When | None,
        direct: Sequence[Mapping[str, object]],
    ) -> None:
        begin, end = await self._second(since), await self._second(until)
        if begin is not None and begin > self.api.clock.wall():
            raise BadRequest(f"cannot begin at {rfc3339(begin)}: that is yet to come")
        if begin is not None and end is not None and begin > end:
            raise BadRequest(f"cannot begin at {rfc3339(begin)} and end before, at {rfc3339(end)}")
        question = {**question, "since": begin, "until": end}
        stream = LogStream(request, framing, self._streams.leave, direct)
        self._streams.add(stream)
        try:
            await stream.run(lambda received, ended: self.api.logs.read(question, received, ended))
        except BaseException:
            self._streams.leave(stream)
            raise

    async def _second(self, when: When | None) -> float | None:
        """The wall second that is meant; BadRequest for a version of which nobody knows the moment."""
        if when is None:
            return None
        if when.at is not None:
            return when.at
        clock = self.api.clock
        if when.is_boot:
            return float(clock.wall() - clock.mono())
        if when.ago_s is not None:
            return float(clock.wall() - when.ago_s)
        assert when.version is not None
        at = await self.api.past.moment_of(when.version)
        if at is None:
            raise BadRequest(
                f"cannot find the moment of version {when.version}: the journal has no such version "
                f"(the last one is {self.api.registry.version})"
            )
        return at


class Usage(ApiResource):
    """The room that captured output takes."""

    command = "logs-usage"

    def get(self, request: ApiRequest, query: Query) -> Work:
        """By instance, and all in all."""
        return self._get()

    async def _get(self) -> Answer:
        return answer({**self.api.head(), **await self.api.logs.usage()})


class Order(ApiResource):
    """A changing command about logs under a path of its own, for POST with `targets`, `all` and `reason`."""

    def __init__(self, api: Api) -> None:
        super().__init__(api)
        self.post = self._post

    def get(self, request: ApiRequest, query: Query) -> None:
        """Refused: it is an order."""
        raise WrongMethod(f"cannot GET this: {self.command} is for POST", allowed=["POST"])

    async def _post(self, request: ApiRequest) -> Answer:
        require(request, Role.READ)  # the command's own role is the dispatcher's question
        document = read_object(json_body(request))
        if "command" in document:
            raise BadRequest(f"cannot take a command here: this is {self.command}")
        asked = read_request(encode({**document, "command": self.command}), None)
        receipt = await self.api.dispatcher.dispatch(asked, await request.visitor.caller())
        return answer({"version": receipt.version, "durable": receipt.durable, **receipt.result})


class Rotate(Order):
    """Begins new segments."""

    command = "logs-rotate"


class Clear(Order):
    """Deletes what was captured."""

    command = "logs-clear"


def _last_id(request: ApiRequest) -> int | None:
    text = request.header(b"Last-Event-ID")
    if not text:
        return None
    if not _POSITION.fullmatch(text):
        raise BadRequest(f"cannot resume from {shown(text)}: an id of ours is a position, as 4711")
    return int(text)

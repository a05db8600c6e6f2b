"""`/instances` and what is below it: status, describe, why, history."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource

from droned.commands.targets import no_such, resolve
from droned.models.records import InstanceRecord
from droned.web.request import Answer, ApiRequest, answer
from droned.web.resource import Api, ApiResource, Missing, Query, Work, text_of
from droned.web.shapes import event_shape, exit_in_full, instance_row, issue_shape

DESCRIBED_EXITS = 5
DESCRIBED_EVENTS = 10


class Instances(ApiResource):
    """The status: every instance, or those that targets name."""

    command = "status"

    def get(self, request: ApiRequest, query: Query) -> Answer | None:
        """The rows, from bytes that are kept; 304 when the client has this version already."""
        status = self.api.status
        if _has(request, status.etag):
            return Answer(body=b"", status=304, headers=status.headers)
        if request.args:
            return Answer(body=self._part(request, query), headers=status.headers)
        if request.takes_whole_answers:
            request.send(status.response())
            return None
        return Answer(body=status.body_of(status.order), headers=status.headers)

    def getChild(self, path: bytes, request: Any) -> Resource:
        """The app's part of an instance's path."""
        return AppPart(self.api, text_of(path))

    def _part(self, request: ApiRequest, query: Query) -> bytes:
        targets = request.query().get("target", [])
        keys = self.api.status.order
        if targets:
            keys = resolve(targets, self.api.registry.snapshot(), self.api.server)
        after = query["after"]
        if after is not None:
            if after not in keys:
                raise no_such("instance", after, keys)
            keys = keys[keys.index(after) + 1 :]
        limit = query["limit"]
        if limit is not None and limit < len(keys):
            return self.api.status.body_of(keys[:limit], keys[limit - 1] if limit else after)
        return self.api.status.body_of(keys)


class AppPart(Resource):
    """`/instances/APP`: leads to its labels only."""

    def __init__(self, api: Api, app: str) -> None:
        super().__init__()
        self._api = api
        self._app = app

    def getChild(self, path: bytes, request: Any) -> Resource:
        """The instance of that label."""
        return Description(self._api, f"{self._app}/{text_of(path)}")

    def render(self, request: ApiRequest) -> int:
        """404: instances are listed by `/instances?target=APP`."""
        return Missing(self._api).render(request)


class InstanceResource(ApiResource):
    """Something about one instance."""

    def __init__(self, api: Api, key: str) -> None:
        super().__init__(api)
        self.key = key

    def record(self) -> InstanceRecord:
        """The instance's record; NoSuchTarget with near names when there is none."""
        record = self.api.registry.instance(self.key)
        if record is None:
            raise no_such("instance", self.key, self.api.registry.records("instance"))
        return record


class Description(InstanceResource):
    """`describe`: all that is known about an instance."""

    command = "describe"

    def get(self, request: ApiRequest, query: Query) -> Work:
        """Its row, its app, its issues, its last exits and events."""
        return self._describe(self.record())

    def getChild(self, path: bytes, request: Any) -> Resource:
        """`why` and `history`."""
        kind = {b"why": Why, b"history": History}.get(path)
        return Missing(self.api) if kind is None else kind(self.api, self.key)

    async def _describe(self, record: InstanceRecord) -> Answer:
        found = await self.api.past.about(record, DESCRIBED_EVENTS, DESCRIBED_EXITS)
        record = self.record()  # it may have moved on meanwhile
        exits = found.exits
        if record.exit is not None and (not exits or exits[-1]["run"] != record.exit.run):
            exits = [*exits, exit_in_full(record.exit)][-DESCRIBED_EXITS:]
        exits = await self._with_last_lines(exits)
        app = self.api.registry.app(record.app)
        snapshot = self.api.registry.snapshot()
        subjects = (record.key, f"app {record.app}", record.app)
        return answer(
            {
                **self.api.head(),
                "instance": instance_row(record, self.api.server),
                "app": None
                if app is None
                else {"revision": app.revision, "origin": app.spec.origin, "spec": app.spec},
                "issues": [
                    issue_shape(each) for each in snapshot.issues.values() if each.subject in subjects
                ],
                "exits": exits,
                "events": [event_shape(event) for event in found.events],
                "logs": dict(self.api.log_paths(record.key)),
                "output_begins": self.api.output_begins(record.key),
                "complete": found.is_complete,
            }
        )

    async def _with_last_lines(self, exits: list[dict[str, object]]) -> list[dict[str, object]]:
        """The exits, each with the last lines of its run where they are kept."""
        runs = [run for each in exits if isinstance(run := each["run"], int)]
        kept = await self.api.logs.last_lines(self.key, runs)
        return [
            {**each, "last_lines": kept[run]} if isinstance(run := each["run"], int) and run in kept else each
            for each in exits
        ]


class Why(InstanceResource):
    """`why`: the chain of causes that made an instance what it is."""

    command = "why"

    def get(self, request: ApiRequest, query: Query) -> Work:
        """The events, newest first, each the cause of the one before."""
        self.record()
        return self._why()

    async def _why(self) -> Answer:
        chain = await self.api.past.why(self.key)
        exit_ = self.record().exit
        kept = {} if exit_ is None else await self.api.logs.last_lines(self.key, [exit_.run])
        last_lines = [] if exit_ is None else kept.get(exit_.run, [])
        return answer(
            {
                **self.api.head(),
                "instance": instance_row(self.record(), self.api.server),
                "chain": [event_shape(event) for event in chain],
                "last_lines": last_lines,
            }
        )


class History(InstanceResource):
    """`history`: what happened to an instance."""

    command = "history"

    def get(self, request: ApiRequest, query: Query) -> Work:
        """The last events, oldest first. The instance need not be there any more."""
        return self._history(query)

    async def _history(self, query: Query) -> Answer:
        found = await self.api.past.last_events(
            lambda event: event.subject == self.key, query["limit"], query["since"] or (0, 0), self.key
        )
        if not found.events:
            self.record()
        return answer(
            {
                **self.api.head(),
                "events": [event_shape(event) for event in found.events],
                "complete": found.is_complete,
            }
        )


def _has(request: ApiRequest, etag: bytes) -> bool:
    """Whether the client says that it has this version (RFC 9110 §13.1.2, weak comparison)."""
    for value in request.requestHeaders.getRawHeaders(b"If-None-Match") or ():
        if any(tag.strip().removeprefix(b"W/") in (b"*", etag) for tag in value.split(b",")):
            return True
    return False

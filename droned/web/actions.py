"""`/actions`: changing commands come in here, and can be waited for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource

from droned.commands.requests import read_request
from droned.commands.table import Role
from droned.commands.targets import no_such
from droned.errors import BadRequest
from droned.models.records import ActionRecord, ActionState
from droned.models.registry import Commit
from droned.web.documents import JSON, encode
from droned.web.request import Answer, ApiRequest, answer
from droned.web.resource import Api, ApiResource, Query, Work, require, text_of
from droned.web.shapes import action_shape

PATH = "/api/v1/actions"


class Waits:
    """Questions that are answered when something changed; all of them end with the site."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._waiting: set[Deferred[None]] = set()

    async def until(self, concerns: Callable[[Commit], bool], most_s: float) -> None:
        """Come back in the turn after a commit that `concerns` us, or after `most_s` seconds."""
        timers = self._api.timers
        done: Deferred[None] = Deferred()
        calls: list[Any] = []

        def wake() -> None:
            if not done.called:
                done.callback(None)

        def look(commit: Commit) -> None:
            # Not at once: what belongs to the same cause is often committed in the same turn.
            if len(calls) == 1 and concerns(commit):
                calls.append(timers.call_later(0.0, wake))

        calls.append(timers.call_later(most_s, wake))
        unsubscribe = self._api.registry.subscribe(look)
        self._waiting.add(done)
        try:
            await done
        finally:
            self._waiting.discard(done)
            unsubscribe()
            for call in calls:
                call.cancel()

    def finish(self) -> None:
        """Answer everybody now."""
        for done in tuple(self._waiting):
            if not done.called:
                done.callback(None)


class Actions(ApiResource):
    """Every action that is still remembered; POST makes a new one."""

    command = "actions"

    def __init__(self, api: Api, waits: Waits) -> None:
        super().__init__(api)
        self._waits = waits
        self.post = self._post

    def get(self, request: ApiRequest, query: Query) -> Answer:
        """All of them, oldest first."""
        actions = self.api.registry.snapshot().actions.values()
        return answer({**self.api.head(), "actions": [action_shape(each) for each in actions]})

    def getChild(self, path: bytes, request: Any) -> Resource:
        """One action."""
        return Action(self.api, text_of(path), self._waits)

    async def _post(self, request: ApiRequest) -> Answer:
        require(request, Role.READ)  # the command's own role is the dispatcher's question
        asked = read_request(json_body(request), request.header(b"Idempotency-Key"))
        receipt = await self.api.dispatcher.dispatch(asked, await request.visitor.caller())
        action = self.api.registry.records("action").get(receipt.action or "")
        body = encode(
            {
                "version": receipt.version,
                "durable": receipt.durable,
                "action": action_shape(action) if isinstance(action, ActionRecord) else None,
                "result": receipt.result,
            }
        )
        place = () if receipt.action is None else ((b"Location", f"{PATH}/{receipt.action}".encode("ascii")),)
        return Answer(body=body, status=202, content_type=JSON, headers=place)


def json_body(request: ApiRequest) -> bytes:
    """The body; BadRequest unless the client says that it is JSON."""
    kind = (request.header(b"Content-Type") or "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequest(f'cannot take a body of type "{kind[:80]}": it must be application/json')
    return request.body()


class Action(ApiResource):
    """One action."""

    command = "actions"

    def __init__(self, api: Api, key: str, waits: Waits) -> None:
        super().__init__(api)
        self._key = key
        self._waits = waits

    def get(self, request: ApiRequest, query: Query) -> Work:
        """The action and its instances; with `wait`, once it or one of them changed after `since`."""
        return self._get(query["wait"], query["since"])

    async def _get(self, wait_s: float, since: int | None) -> Answer:
        record = self._record()
        seen = self.api.registry.version if since is None else since
        keys = {item.instance for item in record.items}
        if wait_s > 0 and record.state is ActionState.RUNNING and self._latest(record) <= seen:

            def concerns(commit: Commit) -> bool:
                return any(
                    (change.kind == "action" and change.key == self._key)
                    or (change.kind == "instance" and change.key in keys)
                    for change in commit.changes
                )

            await self._waits.until(concerns, wait_s)
            record = self._record()
        head = encode(
            {
                "version": self.api.registry.version,
                "at": self.api.status.at,
                "action": action_shape(record),
            }
        )
        rows = self.api.status.rows(item.instance for item in record.items)
        return Answer(body=head[:-1] + b',"instances":' + rows + b"}")

    def _record(self) -> ActionRecord:
        actions = self.api.registry.records("action")
        record = actions.get(self._key)
        if not isinstance(record, ActionRecord):
            raise no_such("action", self._key, actions)
        return record

    def _latest(self, record: ActionRecord) -> int:
        """The version at which the action or one of its instances last changed."""
        instances = (self.api.registry.instance(item.instance) for item in record.items)
        return max(record.cause, *(each.cause for each in instances if each is not None), 0)

"""What the changing commands do: from a request to one commit, and to its receipt.

A command is one version of the registry, whatever the number of instances:
its action and all that it changes are in the journal together, or not at all.
So a client that never got its receipt can ask again with the same idempotency
key: either nothing had happened, or it gets the action of before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from msgspec.structs import replace

from droned.commands.dispatcher import Caller, Dispatcher, Receipt
from droned.commands.requests import Request
from droned.commands.targets import no_such, resolve
from droned.errors import BadRequest, KeyReused
from droned.lifecycle import inputs
from droned.lifecycle.actions import begin_items, with_items
from droned.models.events import EventType, Occurrence
from droned.models.records import ActionRecord, ActionState, InstanceRecord, Record
from droned.models.registry import Commit, Registry
from droned.plan.convergence import Convergence, to_scale
from droned.services.held import Hold
from droned.services.supervision import Given, Supervision

ACTIONS_KEPT = 1000
ITEMS_KEPT = 5000
"""Instances that ended actions tell of, all together; older actions keep only their result."""
ACTION_KEPT_S = 86_400.0
"""Seconds that an ended action is remembered, and its idempotency key with it; `ACTIONS_KEPT` at most."""


class Operations:
    """The functions of the commands about instances, registered with the dispatcher."""

    def __init__(
        self,
        *,
        registry: Registry,
        supervision: Supervision,
        server_name: str,
        new_id: Callable[[], str],
        when_durable: Callable[[int], Awaitable[bool]],
        is_degraded: Callable[[], bool],
        most_instances: int | None = None,
    ) -> None:
        """`most_instances` is how many this daemon can look after; None is any number."""
        self._registry = registry
        self._supervision = supervision
        self._server_name = server_name
        self._new_id = new_id
        self._when_durable = when_durable
        self._is_degraded = is_degraded
        self._most_instances = most_instances

    def register(self, dispatcher: Dispatcher) -> None:
        """Let the commands be called."""
        plain: Mapping[str, inputs.Input] = {
            "start": inputs.Start(),
            "stop": inputs.Stop(),
            "restart": inputs.Restart(),
            "enable": inputs.Enable(),
            "disable": inputs.Disable(),
        }
        for name, given in plain.items():
            dispatcher.register(name, self._plain(given))
        dispatcher.register("kill", self._kill)
        dispatcher.register("scale", self._scale)

    def _plain(self, given: inputs.Input) -> Callable[[Request, Caller], Awaitable[Receipt]]:
        async def operate(request: Request, caller: Caller) -> Receipt:
            return await self._operate(request, caller, given)

        return operate

    async def _kill(self, request: Request, caller: Caller) -> Receipt:
        number = cast(int, request.arguments["signal"])
        to = cast(str, request.arguments["to"])
        return await self._operate(request, caller, inputs.SendSignal(number=number, to=to))

    async def _operate(self, request: Request, caller: Caller, given: inputs.Input) -> Receipt:
        """Give every target the same input."""
        again = self._same_as_before(request)
        if again is not None:
            return await self._receipt(again.cause, again)
        snapshot = self._registry.snapshot()
        keys = resolve(request.targets, snapshot, self._server_name, all_targets=request.all_targets)
        steps: list[Given] = []
        for key in keys:
            record = self._registry.instance(key)
            app = None if record is None else self._registry.app(record.app)
            if record is not None and app is not None:
                steps.append((record, app, given))
        return await self._commit(request, caller, steps)

    async def _scale(self, request: Request, caller: Caller) -> Receipt:
        again = self._same_as_before(request)
        if again is not None:
            return await self._receipt(again.cause, again)
        counts = cast(Mapping[str, int], request.arguments["counts"])
        snapshot = self._registry.snapshot()
        for name in counts:
            app = snapshot.apps.get(name)
            if app is None or app.is_removed:
                raise no_such("app", name, snapshot.apps)
        self._refuse_too_many(counts)
        moment = self._supervision.moment()
        to = to_scale(snapshot, counts, self._registry.version + 1, moment)
        return await self._commit(
            request,
            caller,
            list(to.inputs),
            changes=changes_of(to),
            occurrences=to.occurrences,
            hold=Hold.ALWAYS,
            result={"counts": dict(counts)},
        )

    def _refuse_too_many(self, counts: Mapping[str, int]) -> None:
        """Raises BadRequest when these apps, so scaled, and the others are more than can be looked after."""
        records = self._registry.records("instance").values()
        others = sum(isinstance(each, InstanceRecord) and each.app not in counts for each in records)
        count = others + sum(counts.values())
        if self._most_instances is not None and count > self._most_instances:
            raise BadRequest(
                f"cannot scale to {count} instances: with this reactor droned looks after "
                f"{self._most_instances} at most"
            )

    async def _commit(
        self,
        request: Request,
        caller: Caller,
        steps: Sequence[Given],
        *,
        changes: Sequence[tuple[str, str, Record | None]] = (),
        occurrences: Sequence[Occurrence] = (),
        hold: Hold = Hold.WHILE_WRITABLE,
        result: Mapping[str, object] | None = None,
    ) -> Receipt:
        moment = self._supervision.moment()
        leaving = {record.key for record, _, given in steps if isinstance(given, inputs.Remove)}
        concerned = [record for record, _, _ in steps]
        action = ActionRecord(
            key=self._new_id(),
            command=request.command,
            targets=request.targets,
            actor=caller.actor,
            reason=request.reason,
            began_at=moment.wall,
            items=begin_items(request.command, concerned, leaving=leaving),
            idempotency_key=request.idempotency_key,
            request_digest=request.digest,
            durable=not self._is_degraded(),
        )
        action = with_items(action, {}, moment)
        told = Occurrence(
            type=EventType.COMMAND_ACCEPTED,
            subject=_subject(request, concerned),
            text=f"{request.command} {_targets(request)}by {caller.actor}"
            + (f": {request.reason}" if request.reason else ""),
            data={"action": action.key, "command": request.command, "reason": request.reason},
        )
        done: Commit = self._supervision.commit(
            steps,
            actor=caller.actor,
            cause=0,
            action=action,
            changes=[*self._old_actions(moment.wall), *changes],
            occurrences=(told, *occurrences),
            hold=hold,
            moment=moment,
        )
        return await self._receipt(done.version, action, result)

    async def _receipt(
        self, version: int, action: ActionRecord, result: Mapping[str, object] | None = None
    ) -> Receipt:
        durable = await self._when_durable(version)
        return Receipt(version=version, durable=durable, action=action.key, result=result or {})

    def _same_as_before(self, request: Request) -> ActionRecord | None:
        """The action that this idempotency key has already set going; KeyReused for another request."""
        if request.idempotency_key is None:
            return None
        for record in self._registry.records("action").values():
            assert isinstance(record, ActionRecord)
            if record.idempotency_key == request.idempotency_key:
                if record.request_digest != request.digest:
                    raise KeyReused(
                        f"cannot {request.command}: the idempotency key {request.idempotency_key} "
                        f"was used for another request ({record.command})"
                    )
                return record
        return None

    def _old_actions(self, now: float) -> Iterable[tuple[str, str, ActionRecord | None]]:
        """Drop the actions that have ended and are old or too many; of large ones keep the result alone."""
        ended = [
            record
            for record in self._registry.records("action").values()
            if isinstance(record, ActionRecord) and record.state is not ActionState.RUNNING
        ]
        items = 0
        for place, record in enumerate(reversed(ended)):
            items += len(record.items)
            if place >= ACTIONS_KEPT or now - (record.ended_at or now) > ACTION_KEPT_S:
                yield ("action", record.key, None)
            elif items > ITEMS_KEPT and record.items:
                yield ("action", record.key, replace(record, items=()))


def changes_of(to: Convergence) -> list[tuple[str, str, Any]]:
    """The records that a convergence puts in place before its instances are stepped."""
    return [*(("app", app.name, app) for app in to.apps), *(("app", name, None) for name in to.gone)]


def _targets(request: Request) -> str:
    if request.all_targets:
        return "all "
    return " ".join(request.targets) + (" " if request.targets else "")


def _subject(request: Request, concerned: Sequence[InstanceRecord]) -> str:
    return concerned[0].key if len(concerned) == 1 else _targets(request).strip() or "server"

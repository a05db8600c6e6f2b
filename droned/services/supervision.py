"""Supervision: the one place where inputs become commits and commits become effects.

The spine of the daemon. An input goes through `lifecycle.step`, the outcome
is committed to the registry (with the issues and actions that it moves), and
only then are its effects performed. Commit first, in memory; what has to wait
for the disk is the business of those who ask (receipts, acknowledgements) and
of changes of class `define`, whose effects are held until they are durable.

Timers are not effects: the record says what it waits for (`due`), and this
service keeps one reactor call for it. So whoever restores a record, after a
kill -9 or a reboot, has its timers too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, assert_never

from droned.errors import DronedError
from droned.lifecycle import budget as budgets
from droned.lifecycle import inputs
from droned.lifecycle.failed_starts import REFUSED
from droned.lifecycle.issues import issue_changes, issue_key
from droned.lifecycle.outcome import Outcome
from droned.lifecycle.table import step
from droned.models.events import Occurrence
from droned.models.policy import StartBudget
from droned.models.ports import Runner
from droned.models.records import (
    ActionRecord,
    ActionState,
    AppRecord,
    Due,
    InstanceRecord,
    IssueRecord,
    Record,
)
from droned.models.registry import Commit, Moment, Registry
from droned.plan.convergence import is_outdated, next_replacement
from droned.services.held import HeldEffects, Hold
from droned.services.open_actions import OpenActions
from droned.services.telling import action_ended, named_input

SELF = "droned"
"""The actor of what droned does by itself."""

STOPS = (inputs.Stop, inputs.ShutDown)
"""What must work whether or not the journal can write."""

HELD_AGAIN_S = 1.0
"""How often held effects ask again whether the journal has recovered."""


LaunchOf = Callable[[AppRecord, InstanceRecord], Mapping[str, object]]
LookAt = Callable[[AppRecord, InstanceRecord], Awaitable[bool]]
Given = tuple[InstanceRecord, AppRecord, inputs.Input]
RecordChange = tuple[str, str, Record | None]


class Supervision:
    """Feeds inputs to instances, commits what follows and performs it."""

    def __init__(
        self,
        *,
        registry: Registry,
        spawner: Any,
        when_durable: Callable[[int], Awaitable[bool]],
        clock: Any,
        timers: Any,
        sleep: Callable[[float], Awaitable[None]],
        run: Runner,
        launch_of: LaunchOf,
        look_at: LookAt,
        log_failure: Callable[[str], None],
    ) -> None:
        """`spawner` is an ISpawner, `clock` an IClock, `timers` an ITimers.

        `launch_of` gives the guardian's launch of an instance, `look_at` tells
        whether what a start missed is there now, `log_failure` is called in
        the `except` of a failed input.
        """
        self._registry = registry
        self._spawner = spawner
        self._when_durable = when_durable
        self._clock = clock
        self._timers = timers
        self._sleep = sleep
        self._run = run
        self._launch_of = launch_of
        self._look_at = look_at
        self._log_failure = log_failure
        self._queue: deque[Callable[[], None]] = deque()
        self._is_busy = False
        self._calls: dict[str, tuple[Due, Any]] = {}
        self._held = HeldEffects(self._performed, self._taken_back)
        self._bucket = budgets.Bucket()
        self._budget: StartBudget | None = None
        self._actions = OpenActions()
        self._rolling: set[str] = set()
        self._runs_there: frozenset[tuple[str, int]] = frozenset()
        self._is_closed = False

    # --- what the daemon sets

    def set_budget(self, budget: StartBudget | None) -> None:
        """Brake automatic restarts by this budget from now on."""
        self._budget = budget

    def resume(self) -> None:
        """Arm the timers and take up the actions and replacements of the records that are there."""
        for key in tuple(self._registry.records("instance")):
            self._arm(key)
        self._resume_actions()
        for name in tuple(self._registry.records("app")):
            self.replace_outdated(name)

    def _resume_actions(self) -> None:
        """Bring the actions that were running up to date with what their instances have become."""
        running = [
            action
            for action in self._registry.records("action").values()
            if isinstance(action, ActionRecord) and action.state is ActionState.RUNNING
        ]
        for action in running:
            self._actions.add(action)
        moment = self.moment()
        keys = dict.fromkeys(item.instance for action in running for item in action.items)
        moved = self._actions.move(((key, self._registry.instance(key)) for key in keys), moment)
        if moved:
            ended = [action_ended(each) for each in moved.values() if each.state is not ActionState.RUNNING]
            changes = [("action", key, each) for key, each in moved.items()]
            self._registry.commit(changes, ended, moment=moment, actor=SELF, cause=0)

    def close(self) -> None:
        """Perform nothing and feed nothing more: the daemon is going."""
        self._is_closed = True
        for _, call in self._calls.values():
            call.cancel()
        self._calls.clear()

    @property
    def is_closed(self) -> bool:
        """Whether nothing is fed any more: what is told now is for the next daemon."""
        return self._is_closed

    def taking_over(self, runs: Iterable[tuple[str, int]]) -> None:
        """These runs exist at the guardian: an order for one of them is not given again."""
        self._runs_there = frozenset(runs)

    # --- inputs

    def moment(self) -> Moment:
        """The moment of now, with a new number drawn."""
        mono = self._clock.mono()
        return Moment(
            wall=self._clock.wall(),
            mono=mono,
            draw=self._clock.draw(),
            budget_wait_s=budgets.wait_s(self._budget, self._bucket, mono),
        )

    def feed(self, key: str, given: inputs.Input, actor: str = SELF) -> None:
        """Give one instance an input; what arrives meanwhile waits its turn."""
        self._queue.append(lambda: self._take(key, given, actor))
        self._drain()

    def _drain(self) -> None:
        if self._is_busy:
            return
        self._is_busy = True
        try:
            while self._queue:
                work = self._queue.popleft()
                try:
                    work()
                except Exception:  # noqa: BLE001  # a named border: one bad input never stops the queue
                    self._log_failure("an input")
        finally:
            self._is_busy = False

    def _take(self, key: str, given: inputs.Input, actor: str) -> None:
        record = self._registry.instance(key)
        app = None if record is None else self._registry.app(record.app)
        if record is None or app is None or self._is_closed:
            return
        self.commit(((record, app, given),), actor=actor, cause=record.cause)

    def commit(
        self,
        given: Sequence[Given],
        *,
        actor: str,
        cause: int,
        action: ActionRecord | None = None,
        changes: Sequence[RecordChange] = (),
        occurrences: Sequence[Occurrence] = (),
        hold: Hold = Hold.NO,
        moment: Moment | None = None,
    ) -> Commit:
        """Step all of these instances and make it one version, with `changes` before and their effects after.

        `action` is the new action that these steps execute; `hold` says whether
        the effects wait for the disk. Raises what a refused step raises, before
        anything has changed.
        """
        moment = moment or self.moment()
        outcomes = [(record, app, step(record, app, what, moment)) for record, app, what in given]
        made: list[RecordChange] = list(changes)
        told: list[Occurrence] = list(occurrences)
        for record, app, outcome in outcomes:
            made.append(("instance", record.key, outcome.record))
            told += outcome.occurrences
            issues, issue_events = issue_changes(
                self._registry.instance(record.key),
                outcome.record,
                app,
                moment,
                present=self._issue(record.key),
            )
            made += issues
            told += issue_events
        made += self._app_drops(outcomes)
        if action is not None:
            self._actions.add(action)
        moved = self._actions.move(((record.key, outcome.record) for record, _, outcome in outcomes), moment)
        if action is not None:
            moved.setdefault(action.key, action)
        for key, each in moved.items():
            made.append(("action", key, each))
            if each.state is not ActionState.RUNNING:
                told.append(action_ended(each))
        done = self._registry.commit(
            made, told, moment=moment, actor=actor, cause=cause, given=named_input(given)
        )
        stops = {record.key for record, _, what in given if isinstance(what, STOPS)}
        self._follow(done, outcomes, hold, stops)
        return done

    def _issue(self, key: str) -> IssueRecord | None:
        issue = self._registry.records("issue").get(issue_key(key))
        assert issue is None or isinstance(issue, IssueRecord)
        return issue

    def _app_drops(self, outcomes: Iterable[tuple[InstanceRecord, AppRecord, Outcome]]) -> list[RecordChange]:
        """The apps whose last instance goes with this commit, if they left the configuration."""
        gone = {record.key for record, _, outcome in outcomes if outcome.record is None}
        leaving = {app.name for record, app, _ in outcomes if record.key in gone and app.is_removed}
        if not leaving:
            return []
        for key, record in self._registry.records("instance").items():
            assert isinstance(record, InstanceRecord)
            if record.app in leaving and key not in gone:
                leaving.discard(record.app)
        return [("app", name, None) for name in leaving]

    # --- what follows a commit

    def _follow(
        self,
        done: Commit,
        outcomes: Sequence[tuple[InstanceRecord, AppRecord, Outcome]],
        hold: Hold,
        stops: Container[str],
    ) -> None:
        apps: set[str] = set()
        held: list[str] = []
        for record, app, outcome in outcomes:
            self._arm(record.key)
            is_stop = record.key in stops
            if self._held.take(record.key, done.version, outcome.effects, hold, is_stop=is_stop):
                held.append(record.key)
            if app.name in self._rolling:
                apps.add(app.name)
        if held:
            self._run(self._release(held, done.version, hold), "effects that wait for the disk")
        for name in apps:
            self._queue.append(partial(self.replace_outdated, name))
        if apps:
            self._drain()

    async def _release(self, keys: Sequence[str], version: int, hold: Hold) -> None:
        """Let go what is held for these instances once `version` is on disk, or cannot be put there."""
        while not (is_on_disk := await self._when_durable(version)) and hold is Hold.ALWAYS:
            if self._is_closed:
                return
            await self._sleep(HELD_AGAIN_S)
        self._held.let_go(keys, version, is_on_disk=is_on_disk)
        # Whoever waits for the same version gets the receipt next: the order is on its way before it.
        self._spawner.flush()

    def _taken_back(self, key: str, run: int) -> None:
        """A start that was never ordered was stopped: nobody holds its run."""
        self._queue.append(partial(self._take, key, inputs.Vanished(run=run), SELF))
        self._timers.call_later(0.0, self._drain)

    def _arm(self, key: str) -> None:
        """Keep the one reactor call that the record's `due` asks for."""
        record = self._registry.instance(key)
        due = None if record is None else record.due
        armed = self._calls.get(key)
        if armed is not None:
            if armed[0] == due:
                return
            armed[1].cancel()
            del self._calls[key]
        if due is not None:
            delay_s = max(0.0, due.at_mono - self._clock.mono())
            self._calls[key] = (due, self._timers.call_later(delay_s, lambda: self._elapsed(key, due)))

    def _elapsed(self, key: str, due: Due) -> None:
        self._calls.pop(key, None)
        self.feed(key, inputs.Elapsed(kind=due.kind))

    def _performed(self, effect: inputs.Effect) -> None:
        """Perform one effect; one that cannot be is no reason to leave the others out."""
        try:
            self._perform(effect)
        except Exception:  # noqa: BLE001  # a named border: an effect never takes the others with it
            self._log_failure(f"an effect on {effect.instance}")
            if isinstance(effect, inputs.Spawn):
                failed = inputs.StartFailed(run=effect.run, stage=REFUSED, errno=0, at=self._clock.wall())
                self._queue.append(partial(self._take, effect.instance, failed, SELF))
                self._timers.call_later(0.0, self._drain)

    def _perform(self, effect: inputs.Effect) -> None:
        if self._is_closed:
            return
        match effect:
            case inputs.Spawn():
                self._spawn(effect)
            case inputs.Signal():
                self._spawner.signal(effect.instance, effect.run, effect.number, effect.to)
            case inputs.Look():
                self._run(self._look(effect.instance), f"look for what {effect.instance} misses")
            case inputs.Forget():
                self._spawner.forget(effect.instance)
            case _:
                assert_never(effect)

    def _spawn(self, effect: inputs.Spawn) -> None:
        if (effect.instance, effect.run) in self._runs_there:
            return
        if effect.automatic:
            self._bucket = budgets.take(self._budget, self._bucket, self._clock.mono())
        record = self._registry.instance(effect.instance)
        app = None if record is None else self._registry.app(record.app)
        if record is None or app is None:
            return
        self._spawner.spawn(effect.instance, effect.run, self._launch_of(app, record))

    async def _look(self, key: str) -> None:
        record = self._registry.instance(key)
        app = None if record is None else self._registry.app(record.app)
        if record is None or app is None:
            return
        try:
            is_there = await self._look_at(app, record)
        except DronedError:
            return
        if is_there:
            self.feed(key, inputs.Cleared())

    # --- replacing outdated processes

    def replace_outdated(self, name: str) -> None:
        """Replace the next outdated process of the app, when no other of its instances is on the way."""
        app = self._registry.app(name)
        if app is None or app.is_removed:
            self._rolling.discard(name)
            return
        mine = [
            record
            for record in self._registry.records("instance").values()
            if isinstance(record, InstanceRecord) and record.app == name
        ]
        if any(is_outdated(record, app) for record in mine):
            self._rolling.add(name)
        else:
            self._rolling.discard(name)
            return
        key = next_replacement(app, mine)
        if key is not None:
            record = self._registry.instance(key)
            assert record is not None
            given = ((record, app, inputs.Replace()),)
            self.commit(given, actor=SELF, cause=app.cause, hold=Hold.WHILE_WRITABLE)

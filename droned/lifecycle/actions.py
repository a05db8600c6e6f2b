"""How far an action is: its items are judged by the records that the steps leave behind.

Rules of this module:

* `running` is reached by a run later than `after_run` that counts as running.
  It has failed as soon as such a run ended, or another command keeps the
  instance from coming up. When another command starts it anew, the goal moves
  on to the run that follows.
* `stopped` is reached in every state without a process and without a start to
  come. It has failed when something starts the instance again.
* An action has ended when all of its items have: succeeded only if all did.

A command on a thousand instances has a thousand items: judge each alone
(`judge`), and put them into the record in batches (`with_items`), not one
commit an item.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType

from msgspec.structs import replace

from droned.lifecycle.words import seconds
from droned.models.records import (
    ActionItem,
    ActionRecord,
    ActionState,
    Exit,
    Goal,
    InstanceRecord,
    State,
    Then,
    Wanted,
)
from droned.models.registry import Moment

GOALS: Mapping[str, Goal] = MappingProxyType(
    {
        "start": Goal.RUNNING,
        "restart": Goal.RUNNING,
        "scale": Goal.RUNNING,
        "stop": Goal.STOPPED,
        "enable": Goal.NONE,
        "disable": Goal.NONE,
        "kill": Goal.NONE,
    }
)
"""What each command of the command table wants of an instance."""

AT_REST = frozenset({State.STOPPED, State.EXITED, State.FAILED, State.UNKNOWN})


def begin_items(
    command: str, records: Iterable[InstanceRecord], *, leaving: Container[str] = ()
) -> tuple[ActionItem, ...]:
    """The items of a command, from the records as they were before its steps.

    `leaving` has the keys of those that the command removes (`scale`): they
    are to be stopped. What holds already has succeeded at once; the caller
    puts the items into a record with `with_items`, which ends it when all
    have. Raises ValueError for a command without a goal.
    """
    if command not in GOALS:
        raise ValueError(f'cannot follow the command "{command}" on instances')
    return tuple(
        _begin(Goal.STOPPED if record.key in leaving else GOALS[command], command, record)
        for record in records
    )


def judge(item: ActionItem, after: InstanceRecord | None) -> ActionItem:
    """The item after its instance became `after` (None: it is gone).

    The same object when nothing changed; an ended item never changes again.
    """
    if item.state is not ActionState.RUNNING:
        return item
    match item.goal:
        case Goal.RUNNING:
            return _judge_running(item, after)
        case Goal.STOPPED:
            return _judge_stopped(item, after)
        case Goal.NONE:
            return _now(item, ActionState.SUCCEEDED, "done")


def with_items(action: ActionRecord, items: Mapping[str, ActionItem], moment: Moment) -> ActionRecord:
    """The action with these items (by instance) in place of its own; ended when all of them have.

    The same object when nothing changed.
    """
    if action.state is not ActionState.RUNNING:
        return action
    changed = tuple(items.get(item.instance, item) for item in action.items)
    states = {item.state for item in changed}
    if ActionState.RUNNING in states:
        return action if changed == action.items else replace(action, items=changed)
    state = ActionState.FAILED if ActionState.FAILED in states else ActionState.SUCCEEDED
    return replace(action, items=changed, state=state, ended_at=moment.wall)


def _begin(goal: Goal, command: str, record: InstanceRecord) -> ActionItem:
    is_up = record.state in (State.STARTING, State.RUNNING)
    counts_as_it_is = is_up and command != "restart"
    item = ActionItem(
        instance=record.key,
        goal=goal,
        after_run=record.run - 1 if counts_as_it_is else record.run,
    )
    if goal is Goal.RUNNING:
        is_there = record.state is State.RUNNING and counts_as_it_is
        return _judge_running(item, record) if is_there else item
    if goal is Goal.STOPPED and record.state not in AT_REST:
        return item
    return judge(item, record)


def _judge_running(item: ActionItem, after: InstanceRecord | None) -> ActionItem:
    if after is None:
        return _now(item, ActionState.FAILED, "it was removed")
    is_new = after.run > item.after_run
    match after.state:
        case State.RUNNING if is_new:
            return _now(item, ActionState.SUCCEEDED, f"running, pid {after.pid}")
        case State.STARTING | State.RUNNING:
            ended = after.exit
            if is_new and ended is not None and ended.run > item.after_run:
                return _now(item, ActionState.FAILED, f"{_how(ended, after)}; started again")
            return _now(item, ActionState.RUNNING, f"starting, run {after.run}" if is_new else item.text)
        case State.STOPPING:
            return _judge_running_while_stopping(item, after, is_new)
        case State.WAITING:
            return _now(item, ActionState.RUNNING, after.note or "waiting")
        case State.BACKOFF if is_new:
            later = f"; next start in {seconds(_left_s(after))}" if after.due is not None else ""
            return _now(item, ActionState.FAILED, _how(after.exit, after) + later)
        case State.EXITED | State.FAILED | State.UNKNOWN if is_new:
            why = f"; {after.note}" if after.note and not _says(after.exit, after.note) else ""
            return _now(item, ActionState.FAILED, _how(after.exit, after) + why)
        case State.STOPPED:
            return _now(item, ActionState.FAILED, "stopped" + _by_whom(after))
        case State.BACKOFF | State.EXITED | State.FAILED | State.UNKNOWN:
            return _now(item, ActionState.FAILED, f"it is {after.state} and was not started")


def _judge_running_while_stopping(item: ActionItem, after: InstanceRecord, is_new: bool) -> ActionItem:
    if after.then is Then.START and after.wanted is Wanted.UP:
        moved = replace(item, after_run=after.run) if is_new else item
        return _now(moved, ActionState.RUNNING, "stopping, then starts")
    if after.then is Then.POLICY and is_new:
        return _now(item, ActionState.FAILED, f"{_how(after.exit, after)}; {after.note}")
    if after.then is Then.POLICY:
        return _now(item, ActionState.RUNNING, after.note)
    if after.then is Then.REMOVE:
        return _now(item, ActionState.FAILED, "it is being removed")
    return _now(item, ActionState.FAILED, "it is being stopped" + _by_whom(after))


def _judge_stopped(item: ActionItem, after: InstanceRecord | None) -> ActionItem:
    if after is None:
        return _now(item, ActionState.SUCCEEDED, "stopped and removed")
    if after.state in AT_REST:
        how = f" ({after.exit.reason})" if after.exit is not None and after.exit.run == after.run else ""
        return _now(item, ActionState.SUCCEEDED, f"{after.state}{how}")
    if after.state is State.STOPPING:
        if after.then is Then.START and after.wanted is Wanted.UP:
            return _now(item, ActionState.FAILED, "another command starts it again")
        return _now(item, ActionState.RUNNING, f"stopping{f', {after.note}' if after.note else ''}")
    if after.wanted is Wanted.UP:
        return _now(item, ActionState.FAILED, f"it was started again: run {after.run} is {after.state}")
    return item


def _now(item: ActionItem, state: ActionState, text: str) -> ActionItem:
    if item.state is state and item.text == text:
        return item
    return replace(item, state=state, text=text)


def _how(exit_: Exit | None, record: InstanceRecord) -> str:
    """How the run ended, and after how long where that is known."""
    if exit_ is None:
        return f"it is {record.state}"
    if exit_.run != record.run or record.started_at is None or exit_.stage is not None or exit_.is_unseen:
        return exit_.reason
    return f"{exit_.reason} after {seconds(max(0.0, exit_.at - record.started_at))}"


def _says(exit_: Exit | None, note: str) -> bool:
    return exit_ is not None and exit_.reason == note


def _left_s(record: InstanceRecord) -> float:
    return max(0.0, record.due.at - record.since) if record.due is not None else 0.0


def _by_whom(record: InstanceRecord) -> str:
    return " by another command" if record.wanted is Wanted.DOWN else " while droned shuts down"

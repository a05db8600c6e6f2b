"""What a step gives back, and the few ways to build it that every rule shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from droned.lifecycle.inputs import Effect, Signal
from droned.lifecycle.words import signal_name
from droned.models.events import NO_FACTS, EventType, Occurrence
from droned.models.policy import SignalTo, StopStep
from droned.models.records import AppRecord, Due, DueKind, InstanceRecord, State, Then
from droned.models.registry import Moment

UNKILLABLE_AGAIN_S = 5.0
"""A tree that outlives the last step gets it again this often."""

LAST_RESORT = StopStep(signal=9, to=SignalTo.TREE, for_s=None)
"""What follows the configured steps when they leave something alive."""


class Outcome(Struct, frozen=True, kw_only=True):
    """The record after a step (None: it is gone), what happened, and what is to be done."""

    record: InstanceRecord | None
    occurrences: tuple[Occurrence, ...] = ()
    effects: tuple[Effect, ...] = ()


def unchanged(record: InstanceRecord) -> Outcome:
    """Nothing follows."""
    return Outcome(record=record)


def happened(
    record: InstanceRecord, kind: EventType, text: str, data: Mapping[str, object] = NO_FACTS
) -> Occurrence:
    """An event about this instance."""
    return Occurrence(type=kind, subject=record.key, text=text, data=data)


def due_in(kind: DueKind, delay_s: float, moment: Moment) -> Due:
    """`kind` comes `delay_s` seconds from now."""
    return Due(kind=kind, at_mono=moment.mono + delay_s, at=moment.wall + delay_s)


def settled(
    record: InstanceRecord, state: State, moment: Moment, note: str = "", **more: Any
) -> InstanceRecord:
    """The record at rest in `state`: no process, nothing pending but what `more` says."""
    rest: dict[str, Any] = {
        "due": None,
        "stop_step": None,
        "then": Then.REST,
        "pid": None,
        "start_time": None,
    }
    return replace(record, state=state, since=moment.wall, ready=False, note=note, **(rest | more))


def is_in_setup(record: InstanceRecord) -> bool:
    """Whether its present run was ordered and nothing has been heard of it yet."""
    return record.pid is None and (record.exit is None or record.exit.run != record.run)


def step_at(app: AppRecord, index: int) -> StopStep:
    """Stop step number `index`; after the configured ones, the last resort."""
    steps = app.spec.stop
    return steps[index] if index < len(steps) else LAST_RESORT


def stop_with(
    record: InstanceRecord, app: AppRecord, index: int, moment: Moment, **more: Any
) -> tuple[InstanceRecord, Signal, str]:
    """Take stop step `index`: the record waiting for it, the signal, and the step in words.

    A step to the main process of which only the tree is left goes to the tree.
    """
    step = step_at(app, index)
    is_main_gone = record.pid is None and not is_in_setup(record)
    to = SignalTo.TREE if step.to is SignalTo.MAIN and is_main_gone else step.to
    due = due_in(DueKind.STOP, UNKILLABLE_AGAIN_S if step.for_s is None else step.for_s, moment)
    taken = replace(record, state=State.STOPPING, ready=False, stop_step=index, due=due, **more)
    signal = Signal(instance=record.key, run=record.run, number=step.signal, to=to)
    return taken, signal, f"{signal_name(step.signal)} to {to}"

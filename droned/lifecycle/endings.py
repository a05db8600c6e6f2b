"""Rules for coming up by itself and for coming down: launch, stop, and what follows an end.

Each function takes the record, its app and the moment and gives an
`Outcome`; `rules.py` binds them to inputs and `table.py` to states.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from droned.lifecycle import restart
from droned.lifecycle.failed_starts import LOOK_EVERY_S, due_of_failed, is_missing
from droned.lifecycle.inputs import Forget, Spawn
from droned.lifecycle.outcome import (
    Outcome,
    due_in,
    happened,
    settled,
    step_at,
    stop_with,
)
from droned.lifecycle.words import seconds
from droned.models.events import EventType, Occurrence
from droned.models.policy import Leftovers, SignalTo
from droned.models.records import AppRecord, DueKind, Exit, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment

BUDGET_NOTE = "start budget"
"""The reason of a `backoff` that waits for the host's start budget."""

BUDGET_SPREAD_S = 10.0
"""Longest time over which those who wait for the start budget spread their next look at it."""

BACKGROUND_NOTE = "it seems to put itself in the background; run it in the foreground"
UNKILLABLE_NOTE = "does not end, not even by KILL"
KILL = 9


def launch(record: InstanceRecord, app: AppRecord, moment: Moment, *, automatic: bool = False) -> Outcome:
    """Order the next run."""
    run = record.run + 1
    started = replace(
        record,
        state=State.STARTING,
        since=moment.wall,
        ready=False,
        run=run,
        revision=app.revision,
        pid=None,
        start_time=None,
        started_at=None,
        started_mono=None,
        restarts=record.restarts + automatic,
        due=None,
        stop_step=None,
        then=Then.REST,
        note="",
    )
    text = f"starting run {run}" + (" (automatic restart)" if automatic else "")
    return Outcome(
        record=started,
        occurrences=(happened(record, EventType.INSTANCE_STARTING, text, {"run": run}),),
        effects=(Spawn(instance=record.key, run=run, automatic=automatic),),
    )


def launch_automatic(record: InstanceRecord, app: AppRecord, moment: Moment) -> Outcome:
    """Order the next run as soon as the start budget allows.

    The budget tells everyone who waits the same time. Those for whom it was
    not enough spread over some times what they have waited, so that a
    thousand of them are not asked a thousand times for each that may go.
    """
    if not moment.budget_wait_s:
        return launch(record, app, moment, automatic=True)
    if record.state is State.BACKOFF and record.note == BUDGET_NOTE:
        spread_s = min(BUDGET_SPREAD_S, max(0.0, 4.0 * (moment.wall - record.since)))
        due = due_in(DueKind.START, moment.budget_wait_s + moment.draw * spread_s, moment)
        return Outcome(record=replace(record, due=due))
    due = due_in(DueKind.START, moment.budget_wait_s, moment)
    waiting = settled(record, State.BACKOFF, moment, BUDGET_NOTE, due=due)
    told = happened(record, EventType.INSTANCE_BACKOFF, "waits for the start budget of this host")
    return Outcome(record=waiting, occurrences=(told,))


def begin_stop(
    record: InstanceRecord, app: AppRecord, moment: Moment, then: Then, why: str, first_step: int = 0
) -> Outcome:
    """Take the first stop step; `then` follows when nothing of the tree is left."""
    stopping, signal, words = stop_with(
        record, app, first_step, moment, since=moment.wall, then=then, note=why
    )
    text = f"stopping: {words}" + (f" ({why})" if why else "")
    return Outcome(
        record=stopping,
        occurrences=(happened(record, EventType.INSTANCE_STOPPING, text),),
        effects=(signal,),
    )


def next_stop_step(record: InstanceRecord, app: AppRecord, moment: Moment) -> Outcome:
    """The present step did not end the tree: take the next, or the last one again."""
    present = record.stop_step or 0
    was_last_resort = step_at(app, present).signal == KILL and step_at(app, present).to is SignalTo.TREE
    index = min(present + 1, len(app.spec.stop))
    note = UNKILLABLE_NOTE if was_last_resort else record.note
    stopping, signal, words = stop_with(record, app, index, moment, note=note)
    if was_last_resort and record.note == UNKILLABLE_NOTE:
        # Told once: a process that the kernel holds may stay for days.
        return Outcome(record=stopping, effects=(signal,))
    text = f"{note}: {words} again" if was_last_resort else f"still there: {words}"
    return Outcome(
        record=stopping,
        occurrences=(happened(record, EventType.INSTANCE_STOPPING, text),),
        effects=(signal,),
    )


def finish_stop(record: InstanceRecord, app: AppRecord, moment: Moment) -> Outcome:
    """Nothing of the tree is left: go where the stop was meant to lead."""
    if record.then is Then.POLICY and record.wanted is Wanted.UP and record.exit is not None:
        return after_end(record, app, record.exit, moment)
    stopped = _stopped(record, moment)
    if record.then is Then.REMOVE:
        outcome = remove(record)
    elif record.then is Then.START and record.wanted is Wanted.UP:
        outcome = launch(record, app, moment)
    else:
        return Outcome(record=settled(record, State.STOPPED, moment), occurrences=(stopped,))
    return replace(outcome, occurrences=(stopped, *outcome.occurrences))


def _stopped(record: InstanceRecord, moment: Moment) -> Occurrence:
    """The event of a stop that is over, with how the run ended."""
    exit_ = record.exit
    if exit_ is None or exit_.run != record.run:
        return happened(record, EventType.INSTANCE_STOPPED, "stopped")
    text = f"stopped ({exit_.reason})"
    return happened(record, EventType.INSTANCE_STOPPED, text, _facts(record, exit_, moment))


def remove(record: InstanceRecord) -> Outcome:
    """The instance is gone for good."""
    return Outcome(
        record=None,
        occurrences=(happened(record, EventType.INSTANCE_REMOVED, "removed"),),
        effects=(Forget(instance=record.key),),
    )


def main_ended(
    record: InstanceRecord, app: AppRecord, exit_: Exit, leftovers: int, moment: Moment
) -> Outcome:
    """The main process ended by itself: first the rest of its tree, then the restart decision."""
    lasted_s = restart.ran_s(record, exit_, moment)
    is_background = bool(leftovers) and exit_.code == 0 and lasted_s < app.spec.start.grace_s
    ended = replace(
        record, exit=exit_, pid=None, start_time=None, note=BACKGROUND_NOTE if is_background else ""
    )
    if not leftovers or app.spec.leftovers is Leftovers.KEEP:
        return after_end(ended, app, exit_, moment)
    note = ended.note or "ending what is left of its tree"
    first = max(0, len(app.spec.stop) - 2)
    outcome = begin_stop(ended, app, moment, Then.POLICY, note, first)
    text = f"{exit_.reason} after {seconds(lasted_s)}, {leftovers} of its processes live on: {note}"
    return replace(outcome, occurrences=(happened(record, EventType.INSTANCE_STOPPING, text),))


def after_end(record: InstanceRecord, app: AppRecord, exit_: Exit, moment: Moment) -> Outcome:
    """Ask the restart decision and go there; `record` still tells how long it ran."""
    if is_missing(exit_):
        return _failed(record, app, exit_, exit_.reason, moment)
    match restart.decide(app.spec.restart, record, exit_, moment):
        case restart.Leave(reason=reason) if exit_.stage is not None:
            return _failed(record, app, exit_, reason, moment)
        case restart.Leave(reason=reason):
            return _left(record, app, exit_, reason, moment)
        case restart.GiveUp(reason=reason):
            return _failed(record, app, exit_, f"gave up: {reason}", moment)
        case restart.Again() as again:
            return _again(record, app, exit_, again, moment)


def state_at_rest(exit_: Exit | None) -> State:
    """The state of an instance that is left as this end left it."""
    if exit_ is None or exit_.is_unseen:
        return State.STOPPED if exit_ is None else State.UNKNOWN
    return State.EXITED if exit_.stage is None else State.FAILED


def _left(record: InstanceRecord, app: AppRecord, exit_: Exit, reason: str, moment: Moment) -> Outcome:
    left = settled(record, state_at_rest(exit_), moment, _kept_note(record) or reason)
    story = _story(record, exit_, moment)
    return Outcome(
        record=left, occurrences=(_told_end(record, app, exit_, f"{story}; {reason}", moment, {}),)
    )


def _failed(
    record: InstanceRecord,
    app: AppRecord,
    exit_: Exit,
    why: str,
    moment: Moment,
) -> Outcome:
    due = due_of_failed(record, app, moment)
    if due is None:
        later = "only a command starts it again"
    elif due.kind is DueKind.LOOK:
        later = f"droned looks every {seconds(LOOK_EVERY_S)} whether that changed"
    else:
        later = f"tried again in {seconds(due.at_mono - moment.mono)}"
    begin = "cannot start: " if exit_.stage is not None else ""
    story = _story(record, exit_, moment)
    parts = (story, later) if why == exit_.reason else (story, why, later)
    text = begin + "; ".join(parts)
    facts = _facts(record, exit_, moment)
    return Outcome(
        record=settled(record, State.FAILED, moment, why, due=due),
        occurrences=(happened(record, EventType.INSTANCE_FAILED, text, facts),),
    )


def _again(
    record: InstanceRecord, app: AppRecord, exit_: Exit, again: restart.Again, moment: Moment
) -> Outcome:
    delay_s = again.delay_s
    when = f"next start in {seconds(delay_s)} (try {again.tries})" if delay_s else "next start at once"
    facts = {"delay_s": round(delay_s, 3), "tries": again.tries}
    story = _story(record, exit_, moment)
    ended = _told_end(record, app, exit_, f"{story}; {when}", moment, facts)
    if not delay_s:
        counted = replace(record, tries=again.tries, recent_mono=again.recent_mono)
        started = launch_automatic(counted, app, moment)
        return replace(started, occurrences=(ended, *started.occurrences))
    due = due_in(DueKind.START, delay_s, moment)
    note = _kept_note(record) or exit_.reason
    waiting = settled(
        record, State.BACKOFF, moment, note, due=due, tries=again.tries, recent_mono=again.recent_mono
    )
    return Outcome(record=waiting, occurrences=(ended,))


def _kept_note(record: InstanceRecord) -> str:
    """The one note that says more than how the run ended."""
    return BACKGROUND_NOTE if record.note == BACKGROUND_NOTE else ""


def _story(record: InstanceRecord, exit_: Exit, moment: Moment) -> str:
    if record.started_mono is None or exit_.stage is not None or exit_.is_unseen:
        return exit_.reason
    return f"{exit_.reason} after {seconds(restart.ran_s(record, exit_, moment))}"


def _facts(record: InstanceRecord, exit_: Exit, moment: Moment) -> dict[str, object]:
    facts: dict[str, object] = {
        "run": exit_.run,
        "ran_s": None if exit_.is_unseen else round(restart.ran_s(record, exit_, moment), 3),
        "code": exit_.code,
        "signal": exit_.signal,
    }
    if exit_.stage is not None:
        facts |= {"stage": exit_.stage, "errno": exit_.errno}
    return facts


def _told_end(
    record: InstanceRecord,
    app: AppRecord,
    exit_: Exit,
    text: str,
    moment: Moment,
    more: Mapping[str, object],
) -> Occurrence:
    """The event of an end that is not a giving up."""
    if exit_.is_unseen:
        kind = EventType.INSTANCE_LOST
    elif restart.is_success(app.spec.restart, exit_):
        kind = EventType.INSTANCE_EXITED
    else:
        kind = EventType.INSTANCE_CRASHED
    return happened(record, kind, text, {**_facts(record, exit_, moment), **more})

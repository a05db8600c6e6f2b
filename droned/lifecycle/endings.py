"""Rules for coming up by itself and for coming down: launch, stop, and what follows an end.

Each function takes the record, its app and the moment and gives an
`Outcome`; `rules.py` binds them to inputs and `table.py` to states.
"""

from __future__ import annotations

import errno as errnos
from dataclasses import replace

from droned.lifecycle import restart
from droned.lifecycle.inputs import Forget, Spawn
from droned.lifecycle.outcome import (
    Outcome,
    due_in,
    happened,
    settled,
    stop_with,
)
from droned.lifecycle.words import seconds
from droned.models.events import EventType
from droned.models.policy import Leftovers
from droned.models.records import AppRecord, DueKind, Exit, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment

LOOK_EVERY_S = 30.0
"""How often droned looks whether a missing user, folder or executable is there."""

MISSING_STAGES = frozenset({"user", "group", "groups", "directory", "exec"})
MISSING_ERRNOS = frozenset({errnos.ENOENT, errnos.ENOTDIR, errnos.EACCES})


def is_missing(exit_: Exit) -> bool:
    """Whether the start failed for something that a person must put there."""
    return exit_.stage in MISSING_STAGES and exit_.errno in MISSING_ERRNOS


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
    """Order the next run as soon as the start budget allows."""
    if not moment.budget_wait_s:
        return launch(record, app, moment, automatic=True)
    due = due_in(DueKind.START, moment.budget_wait_s, moment)
    note = "start budget"
    waiting = settled(record, State.BACKOFF, moment, note, due=due)
    text = f"waits {seconds(moment.budget_wait_s)} for the start budget"
    return Outcome(record=waiting, occurrences=(happened(record, EventType.INSTANCE_BACKOFF, text),))


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
    index = (record.stop_step or 0) + 1
    is_over = index > len(app.spec.stop)
    index = min(index, len(app.spec.stop))
    note = "does not end, not even by KILL" if is_over else record.note
    stopping, signal, words = stop_with(record, app, index, moment, note=note)
    return Outcome(
        record=stopping,
        occurrences=(happened(record, EventType.INSTANCE_STOPPING, f"still there: {words}"),),
        effects=(signal,),
    )


def finish_stop(record: InstanceRecord, app: AppRecord, moment: Moment) -> Outcome:
    """Nothing of the tree is left: go where the stop was meant to lead."""
    if record.then is Then.REMOVE:
        return remove(record)
    if record.then is Then.START and record.wanted is Wanted.UP:
        return launch(record, app, moment)
    if record.then is Then.POLICY and record.wanted is Wanted.UP and record.exit is not None:
        return after_end(record, app, record.exit, moment)
    how = f" ({record.exit.reason})" if record.exit is not None and record.exit.run == record.run else ""
    return Outcome(
        record=settled(record, State.STOPPED, moment),
        occurrences=(happened(record, EventType.INSTANCE_STOPPED, f"stopped{how}"),),
    )


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
    ran_s = 0.0 if record.started_mono is None else moment.mono - record.started_mono
    ended = replace(record, exit=exit_, pid=None, start_time=None)
    if not leftovers or app.spec.leftovers is Leftovers.KEEP:
        return after_end(ended, app, exit_, moment)
    note = "ending what is left of its tree"
    if exit_.code == 0 and ran_s < app.spec.start.grace_s:
        note = "it seems to put itself in the background; run it in the foreground"
    first = max(0, len(app.spec.stop) - 2)
    outcome = begin_stop(ended, app, moment, Then.POLICY, note, first)
    text = f"{exit_.reason} after {seconds(ran_s)}, {leftovers} of its processes live on: {note}"
    return replace(outcome, occurrences=(happened(record, EventType.INSTANCE_STOPPING, text),))


def after_end(record: InstanceRecord, app: AppRecord, exit_: Exit, moment: Moment) -> Outcome:
    """Ask the restart decision and go there; `record` still tells how long it ran."""
    ran_s = 0.0 if record.started_mono is None else max(0.0, moment.mono - record.started_mono)
    story = exit_.reason + (f" after {seconds(ran_s)}" if record.started_mono is not None else "")
    facts: dict[str, object] = {
        "run": exit_.run,
        "ran_s": round(ran_s, 3),
        "code": exit_.code,
        "signal": exit_.signal,
    }
    if exit_.stage is not None:
        facts |= {"stage": exit_.stage, "errno": exit_.errno}
    kept_note = record.note if record.note.startswith("it seems") else ""
    if is_missing(exit_):
        due = due_in(DueKind.LOOK, LOOK_EVERY_S, moment) if record.enabled else None
        failed = settled(record, State.FAILED, moment, exit_.reason, due=due)
        text = (
            f"cannot start: {exit_.reason}; droned looks every {seconds(LOOK_EVERY_S)} whether that changed"
        )
        return Outcome(record=failed, occurrences=(happened(record, EventType.INSTANCE_FAILED, text, facts),))
    kind = EventType.INSTANCE_LOST if exit_.is_unseen else EventType.INSTANCE_CRASHED
    match restart.decide(app.spec.restart, record, exit_, moment):
        case restart.Leave(reason=reason):
            state = State.UNKNOWN if exit_.is_unseen else State.EXITED
            if restart.is_success(app.spec.restart, exit_):
                kind = EventType.INSTANCE_EXITED
            left = settled(record, state, moment, kept_note or reason)
            return Outcome(record=left, occurrences=(happened(record, kind, f"{story}; {reason}", facts),))
        case restart.GiveUp(reason=reason, retry_s=retry_s):
            retry = retry_s if record.enabled else None
            due = None if retry is None else due_in(DueKind.RETRY, retry, moment)
            later = "only a command starts it again" if retry is None else f"tried again in {seconds(retry)}"
            failed = settled(record, State.FAILED, moment, f"gave up: {reason}", due=due)
            text = f"{story}; gave up: {reason}; {later}"
            return Outcome(
                record=failed, occurrences=(happened(record, EventType.INSTANCE_FAILED, text, facts),)
            )
        case restart.Again(delay_s=delay_s, tries=tries, recent_mono=recent):
            counted = replace(record, tries=tries, recent_mono=recent)
            if restart.is_success(app.spec.restart, exit_):
                kind = EventType.INSTANCE_EXITED
            when = "next start at once" if not delay_s else f"next start in {seconds(delay_s)} (try {tries})"
            ended = happened(
                record, kind, f"{story}; {when}", facts | {"delay_s": round(delay_s, 3), "tries": tries}
            )
            if not delay_s:
                again = launch_automatic(counted, app, moment)
                return replace(again, occurrences=(ended, *again.occurrences))
            due = due_in(DueKind.START, delay_s, moment)
            waiting = settled(counted, State.BACKOFF, moment, kept_note or exit_.reason, due=due)
            return Outcome(record=waiting, occurrences=(ended,))

"""What observations do: one rule for each way in which what was seen can be taken.

A rule is `(record, app, given, moment) -> Outcome`. Rules read nothing else.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from droned.lifecycle import inputs
from droned.lifecycle.endings import (
    begin_stop,
    finish_stop,
    launch_automatic,
    main_ended,
    next_stop_step,
    state_at_rest,
)
from droned.lifecycle.failed_starts import LOOK_EVERY_S, REFUSED, exit_of_failed_start
from droned.lifecycle.outcome import (
    Outcome,
    due_in,
    happened,
    is_in_setup,
    settled,
    stop_with,
    unchanged,
)
from droned.lifecycle.words import exit_of_status
from droned.models.events import EventType
from droned.models.policy import SignalTo
from droned.models.records import AppRecord, Due, DueKind, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment

HEARD_WITHIN_S = 2.0
"""How long a signal that is sent again by a new daemon is given at least, if its step has so long."""


def same(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """Nothing changes: the input is of the past or already true."""
    return unchanged(record)


def up(record: InstanceRecord, app: AppRecord, given: inputs.Spawned, moment: Moment) -> Outcome:
    """The process runs its program; after the grace it counts as running."""
    if record.pid is not None:
        return unchanged(record)
    if not app.spec.start.grace_s:
        return running(_with_process(record, given, moment), app, given, moment)
    due = due_in(DueKind.GRACE, app.spec.start.grace_s, moment)
    return unchanged(_with_process(record, given, moment, due))


def up_after_all(record: InstanceRecord, app: AppRecord, given: inputs.Spawned, moment: Moment) -> Outcome:
    """Its run was given up, and lives: a process that is there is never ignored."""
    living = inputs.Found(run=given.run, pid=given.pid, start_time=given.start_time, spawned_at=given.at)
    return found(record, app, living, moment)


def note_process(record: InstanceRecord, app: AppRecord, given: inputs.Spawned, moment: Moment) -> Outcome:
    """It is on its way down already; the signal may have come before its program could hear it."""
    if not is_in_setup(record):
        return unchanged(record)
    noted = _with_process(record, given, moment)
    stopping, effect, _ = stop_with(noted, app, record.stop_step or 0, moment)
    return Outcome(record=stopping, effects=(effect,))


def _with_process(
    record: InstanceRecord, given: inputs.Spawned, moment: Moment, due: Due | None = None
) -> InstanceRecord:
    return replace(
        record,
        pid=given.pid,
        start_time=given.start_time,
        started_at=given.at,
        started_mono=moment.mono,
        due=due,
    )


def running(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """It has been up long enough."""
    now = replace(record, state=State.RUNNING, since=moment.wall, ready=True, due=None, note="")
    return Outcome(
        record=now, occurrences=(happened(record, EventType.INSTANCE_STARTED, f"running, pid {record.pid}"),)
    )


def start_failed(
    record: InstanceRecord, app: AppRecord, given: inputs.StartFailed, moment: Moment
) -> Outcome:
    """No program was executed: stage and errno say why."""
    if _is_order_given_twice(record, given):
        return unchanged(record)
    return main_ended(record, app, exit_of_failed_start(record, app, given), 0, moment)


def failed_while_stopping(
    record: InstanceRecord, app: AppRecord, given: inputs.StartFailed, moment: Moment
) -> Outcome:
    """It was to go down anyway."""
    if _is_order_given_twice(record, given):
        return unchanged(record)
    exit_ = exit_of_failed_start(record, app, given)
    return finish_stop(replace(record, exit=exit_, pid=None, start_time=None), app, moment)


def _is_order_given_twice(record: InstanceRecord, given: inputs.StartFailed) -> bool:
    """Whether the guardian refused an order for a run that it had started before."""
    return given.stage == REFUSED and record.pid is not None


def ended(record: InstanceRecord, app: AppRecord, given: inputs.Ended, moment: Moment) -> Outcome:
    """The main process ended, unasked."""
    exit_ = exit_of_status(given.run, given.status, given.at)
    return main_ended(record, app, exit_, given.leftovers, moment)


def ended_after_all(record: InstanceRecord, app: AppRecord, given: inputs.Ended, moment: Moment) -> Outcome:
    """How the run ended is known after it was taken for unseen; what followed from that stands."""
    end = record.exit
    if given.status is None or end is None or end.run != given.run or not end.is_unseen:
        return unchanged(record)
    seen = exit_of_status(given.run, given.status, given.at)
    state = state_at_rest(seen) if record.state is State.UNKNOWN else record.state
    told = happened(record, EventType.INSTANCE_EXITED, f"run {given.run} {seen.reason}, as is known now")
    return Outcome(record=replace(record, exit=seen, state=state), occurrences=(told,))


def ended_as_asked(record: InstanceRecord, app: AppRecord, given: inputs.Ended, moment: Moment) -> Outcome:
    """The main process ended in the course of a stop; what is left of its tree is stopped as well.

    `leftovers: keep` is about ends that nobody asked for: a stop is over when
    nothing of the tree is left.
    """
    exit_ = exit_of_status(given.run, given.status, given.at)
    down = replace(record, exit=exit_, pid=None, start_time=None)
    if not given.leftovers:
        return finish_stop(down, app, moment)
    index = record.stop_step or 0
    while index < len(app.spec.stop) and app.spec.stop[index].to is SignalTo.MAIN:
        index += 1
    if index == record.stop_step:
        return unchanged(down)
    stopping, effect, words = stop_with(down, app, index, moment)
    text = f"{exit_.reason}, {given.leftovers} of its processes live on: {words}"
    return Outcome(
        record=stopping,
        occurrences=(happened(record, EventType.INSTANCE_STOPPING, text),),
        effects=(effect,),
    )


def tree_gone(record: InstanceRecord, app: AppRecord, given: inputs.TreeGone, moment: Moment) -> Outcome:
    """Nothing is left of it; while its main process has not been reaped, that is to come."""
    if record.pid is not None or is_in_setup(record):
        return unchanged(record)
    return finish_stop(record, app, moment)


def found(record: InstanceRecord, app: AppRecord, given: inputs.Found, moment: Moment) -> Outcome:
    """A living process that this daemon did not see start: take it over."""
    has_process = record.state in (State.STARTING, State.RUNNING, State.STOPPING)
    is_known = has_process and record.run == given.run
    if is_known and record.pid is not None:
        return unchanged(record)
    began_mono = moment.mono - max(0.0, moment.wall - given.spawned_at)
    taken = replace(
        record,
        run=given.run,
        pid=given.pid,
        start_time=given.start_time,
        started_at=given.spawned_at,
        started_mono=began_mono,
        revision=record.revision if is_known else app.revision,
    )
    told = happened(record, EventType.INSTANCE_FOUND, f"found running, pid {given.pid}", {"run": given.run})
    goes_down = record.then in (Then.REST, Then.REMOVE)
    if record.state is State.STOPPING and (is_known or goes_down):
        # The journal's last moments may be lost, and with them what this process was told.
        stopping, effect, _ = stop_with(taken, app, record.stop_step or 0 if is_known else 0, moment)
        return Outcome(record=stopping, occurrences=(told,), effects=(effect,))
    if record.wanted is Wanted.DOWN:
        began = begin_stop(taken, app, moment, Then.REST, "it is not wanted")
        return replace(began, occurrences=(told, *began.occurrences))
    left_s = app.spec.start.grace_s - (moment.mono - began_mono)
    if left_s <= 0.0:
        now = running(replace(taken, stop_step=None, then=Then.REST), app, given, moment)
        return replace(now, occurrences=(told, *now.occurrences))
    starting = settled(
        taken,
        State.STARTING,
        moment,
        due=due_in(DueKind.GRACE, left_s, moment),
        pid=given.pid,
        start_time=given.start_time,
    )
    return Outcome(record=starting, occurrences=(told,))


def stop_again(record: InstanceRecord, app: AppRecord, given: inputs.TakenOver, moment: Moment) -> Outcome:
    """Go on with the stop from its step: the signal again, which may have died with the daemon before us.

    What is left of the step's time stays, but no less than a moment to hear
    the signal in.
    """
    stopping, effect, words = stop_with(record, app, record.stop_step or 0, moment)
    if record.due is not None and stopping.due is not None:
        heard_s = min(HEARD_WITHIN_S, stopping.due.at_mono - moment.mono)
        is_late = record.due.at_mono < moment.mono + heard_s
        stopping = replace(stopping, due=due_in(DueKind.STOP, heard_s, moment) if is_late else record.due)
    text = f"a new daemon goes on with the stop: {words} again"
    return Outcome(
        record=stopping,
        occurrences=(happened(record, EventType.INSTANCE_STOPPING, text),),
        effects=(effect,),
    )


def vanished(record: InstanceRecord, app: AppRecord, given: inputs.Vanished, moment: Moment) -> Outcome:
    """Nobody holds its run: the order never arrived, or its end was not seen."""
    if is_in_setup(record):
        effect = inputs.Spawn(instance=record.key, run=record.run, automatic=False)
        return Outcome(record=record, effects=(effect,))
    return main_ended(record, app, exit_of_status(record.run, None, moment.wall), 0, moment)


def vanished_while_stopping(
    record: InstanceRecord, app: AppRecord, given: inputs.Vanished, moment: Moment
) -> Outcome:
    """Nobody holds its run, and it was to go down anyway."""
    down = record
    if record.pid is not None:
        down = replace(record, exit=exit_of_status(record.run, None, moment.wall))
    return finish_stop(replace(down, pid=None, start_time=None), app, moment)


def stop_longer(record: InstanceRecord, app: AppRecord, given: inputs.Elapsed, moment: Moment) -> Outcome:
    """The present stop step's time is over."""
    return next_stop_step(record, app, moment)


def start_again(record: InstanceRecord, app: AppRecord, given: inputs.Elapsed, moment: Moment) -> Outcome:
    """The back-off is over."""
    return launch_automatic(record, app, moment)


def retry(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """A failed instance's next chance, or another look at what it misses."""
    if isinstance(given, inputs.Elapsed) and given.kind is DueKind.LOOK:
        due = due_in(DueKind.LOOK, LOOK_EVERY_S, moment)
        return Outcome(record=replace(record, due=due), effects=(inputs.Look(instance=record.key),))
    return launch_automatic(replace(record, tries=0, recent_mono=()), app, moment)


def cleared(record: InstanceRecord, app: AppRecord, given: inputs.Cleared, moment: Moment) -> Outcome:
    """What was missing is there now."""
    if record.due is None or record.due.kind is not DueKind.LOOK:
        return unchanged(record)
    return retry(record, app, given, moment)

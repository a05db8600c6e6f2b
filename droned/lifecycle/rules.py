"""The rules that the table's cells name: one function each, from input to outcome.

A rule is `(record, app, given, moment) -> Outcome`. Rules read nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from droned.errors import NotNow
from droned.lifecycle import inputs
from droned.lifecycle.endings import (
    LOOK_EVERY_S,
    begin_stop,
    finish_stop,
    launch,
    launch_automatic,
    main_ended,
    next_stop_step,
    remove,
)
from droned.lifecycle.outcome import Outcome, due_in, happened, settled, stop_with, unchanged
from droned.lifecycle.words import exit_of_status, failed_start_reason, signal_name
from droned.models.events import EventType
from droned.models.policy import Leftovers, SignalTo
from droned.models.records import AppRecord, DueKind, Exit, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment


def same(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """Nothing changes: the input is of the past or already true."""
    return unchanged(record)


def refused(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """The command makes no sense in this state; raises NotNow."""
    raise NotNow(
        f"cannot signal {record.key}: it is {record.state}, there is no process", state=str(record.state)
    )


# --- commands


def start(record: InstanceRecord, app: AppRecord, given: inputs.Start, moment: Moment) -> Outcome:
    """Come up now, with a clean slate of tries."""
    return launch(replace(record, wanted=Wanted.UP, tries=0, recent_mono=()), app, moment)


def want_up(record: InstanceRecord, app: AppRecord, given: inputs.Start, moment: Moment) -> Outcome:
    """It is up or coming up already."""
    return unchanged(replace(record, wanted=Wanted.UP))


def start_after(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """It is on its way down: come up again when its tree is gone."""
    return unchanged(replace(record, wanted=Wanted.UP, tries=0, recent_mono=(), then=Then.START))


def replace_after(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """It is on its way down; if that leads up again, it does so with what is configured then."""
    return unchanged(record)


def stop(record: InstanceRecord, app: AppRecord, given: inputs.Stop, moment: Moment) -> Outcome:
    """Go down, by the configured steps."""
    return begin_stop(replace(record, wanted=Wanted.DOWN), app, moment, Then.REST, "")


def stop_waiting(record: InstanceRecord, app: AppRecord, given: inputs.Stop, moment: Moment) -> Outcome:
    """It was only waiting to come up: it is stopped at once."""
    stopped = settled(replace(record, wanted=Wanted.DOWN), State.STOPPED, moment)
    return Outcome(
        record=stopped,
        occurrences=(happened(record, EventType.INSTANCE_STOPPED, f"stopped (was {record.state})"),),
    )


def want_down(record: InstanceRecord, app: AppRecord, given: inputs.Stop, moment: Moment) -> Outcome:
    """It is down already."""
    return unchanged(replace(record, wanted=Wanted.DOWN))


def rest_after(record: InstanceRecord, app: AppRecord, given: inputs.Stop, moment: Moment) -> Outcome:
    """It is on its way down, and stays there now."""
    then = Then.REMOVE if record.then is Then.REMOVE else Then.REST
    return unchanged(replace(record, wanted=Wanted.DOWN, then=then))


def restart(record: InstanceRecord, app: AppRecord, given: inputs.Restart, moment: Moment) -> Outcome:
    """Stop while still wanted."""
    fresh = replace(record, wanted=Wanted.UP, tries=0, recent_mono=())
    return begin_stop(fresh, app, moment, Then.START, "restart")


def renew(record: InstanceRecord, app: AppRecord, given: inputs.Replace, moment: Moment) -> Outcome:
    """Stop and start again with what is configured now."""
    return begin_stop(record, app, moment, Then.START, "its configuration changed")


def try_again(record: InstanceRecord, app: AppRecord, given: inputs.Replace, moment: Moment) -> Outcome:
    """What made it fail may have changed with its configuration."""
    if record.wanted is Wanted.DOWN or not record.enabled:
        return unchanged(record)
    return launch(replace(record, tries=0, recent_mono=()), app, moment)


def signal(record: InstanceRecord, app: AppRecord, given: inputs.SendSignal, moment: Moment) -> Outcome:
    """Pass a signal on; what it leads to is observed."""
    text = f"{signal_name(given.number)} sent to {given.to}"
    effect = inputs.Signal(instance=record.key, run=record.run, number=given.number, to=given.to)
    return Outcome(
        record=record,
        occurrences=(happened(record, EventType.INSTANCE_SIGNALLED, text, {"signal": given.number}),),
        effects=(effect,),
    )


def enable(record: InstanceRecord, app: AppRecord, given: inputs.Enable, moment: Moment) -> Outcome:
    """droned may restart it by itself from now on."""
    if record.enabled:
        return unchanged(record)
    enabled = replace(record, enabled=True)
    if (
        record.state is State.FAILED
        and record.due is None
        and app.spec.restart.retry_failed_after_s is not None
    ):
        enabled = replace(enabled, due=due_in(DueKind.RETRY, app.spec.restart.retry_failed_after_s, moment))
    return Outcome(record=enabled, occurrences=(happened(record, EventType.INSTANCE_ENABLED, "enabled"),))


def disable(record: InstanceRecord, app: AppRecord, given: inputs.Disable, moment: Moment) -> Outcome:
    """droned may not restart it by itself from now on: what was pending is not."""
    if not record.enabled:
        return unchanged(record)
    disabled = replace(record, enabled=False)
    if record.state in (State.BACKOFF, State.WAITING):
        disabled = settled(disabled, State.EXITED, moment, "it is not enabled")
    elif record.state is State.FAILED:
        disabled = replace(disabled, due=None)
    return Outcome(record=disabled, occurrences=(happened(record, EventType.INSTANCE_DISABLED, "disabled"),))


def stop_and_remove(record: InstanceRecord, app: AppRecord, given: inputs.Remove, moment: Moment) -> Outcome:
    """Go down first; its record goes with the last of its tree."""
    gone = replace(record, wanted=Wanted.DOWN)
    return begin_stop(gone, app, moment, Then.REMOVE, "it left the configuration")


def remove_after(record: InstanceRecord, app: AppRecord, given: inputs.Remove, moment: Moment) -> Outcome:
    """It is on its way down; its record goes with the last of its tree."""
    return unchanged(replace(record, wanted=Wanted.DOWN, then=Then.REMOVE))


def remove_now(record: InstanceRecord, app: AppRecord, given: inputs.Remove, moment: Moment) -> Outcome:
    """There is no process: its record goes at once."""
    return remove(record)


def begin(record: InstanceRecord, app: AppRecord, given: inputs.Begin, moment: Moment) -> Outcome:
    """Come up if that is wanted and allowed."""
    if record.wanted is Wanted.DOWN or not record.enabled:
        return unchanged(record)
    return launch(record, app, moment)


def shut_down(record: InstanceRecord, app: AppRecord, given: inputs.ShutDown, moment: Moment) -> Outcome:
    """Go down; what is wanted stays as it is."""
    return begin_stop(record, app, moment, Then.REST, "droned shuts down")


def shut_down_waiting(
    record: InstanceRecord, app: AppRecord, given: inputs.ShutDown, moment: Moment
) -> Outcome:
    """There is no process: nothing is pending any more."""
    return unchanged(settled(record, State.STOPPED, moment, record.note))


def shut_down_after(
    record: InstanceRecord, app: AppRecord, given: inputs.ShutDown, moment: Moment
) -> Outcome:
    """It is on its way down and does not come up again in this life of droned."""
    return unchanged(replace(record, then=Then.REMOVE if record.then is Then.REMOVE else Then.REST))


def gone_with_host(record: InstanceRecord, app: AppRecord, given: inputs.Rebooted, moment: Moment) -> Outcome:
    """Its process went with the host."""
    if record.then is Then.REMOVE:
        return remove(record)
    end = record.exit
    if end is None or end.run != record.run:
        end = Exit(run=record.run, at=moment.wall, reason="the host was restarted")
    stopped = settled(record, State.STOPPED, moment, "the host was restarted", exit=end, started_mono=None)
    return Outcome(
        record=replace(stopped, recent_mono=()),
        occurrences=(happened(record, EventType.INSTANCE_LOST, "the host was restarted"),),
    )


def same_with_new_clock(
    record: InstanceRecord, app: AppRecord, given: inputs.Rebooted, moment: Moment
) -> Outcome:
    """Nothing changes but the clock: what was pending is as far away as before."""
    due = record.due
    if due is not None:
        left_s = max(0.0, due.at - moment.wall)
        due = due_in(due.kind, min(left_s, app.spec.restart.max_delay_s * 2.0 + 300.0), moment)
    return unchanged(replace(record, due=due, started_mono=None, recent_mono=()))


# --- observations


def up(record: InstanceRecord, app: AppRecord, given: inputs.Spawned, moment: Moment) -> Outcome:
    """The process runs its program; after the grace it counts as running."""
    spawned = replace(
        record,
        pid=given.pid,
        start_time=given.start_time,
        started_at=given.at,
        started_mono=moment.mono,
        due=due_in(DueKind.GRACE, app.spec.start.grace_s, moment),
    )
    return running(spawned, app, given, moment) if not app.spec.start.grace_s else unchanged(spawned)


def note_process(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """It is on its way down already; now its process has a name."""
    return unchanged(replace(record, pid=given.pid, start_time=given.start_time))


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
    return main_ended(record, app, _exit_of(given), 0, moment)


def failed_while_stopping(
    record: InstanceRecord, app: AppRecord, given: inputs.StartFailed, moment: Moment
) -> Outcome:
    """It was to go down anyway."""
    return finish_stop(replace(record, exit=_exit_of(given), pid=None, start_time=None), app, moment)


def _exit_of(given: inputs.StartFailed) -> Exit:
    reason = failed_start_reason(given.stage, given.errno)
    return Exit(run=given.run, at=given.at, reason=reason, stage=given.stage, errno=given.errno)


def ended(record: InstanceRecord, app: AppRecord, given: inputs.Ended, moment: Moment) -> Outcome:
    """The main process ended, unasked."""
    exit_ = exit_of_status(given.run, given.status, given.at)
    return main_ended(record, app, exit_, given.leftovers, moment)


def ended_as_asked(record: InstanceRecord, app: AppRecord, given: inputs.Ended, moment: Moment) -> Outcome:
    """The main process ended in the course of a stop; the rest of its tree may be left."""
    exit_ = exit_of_status(given.run, given.status, given.at)
    down = replace(record, exit=exit_, pid=None, start_time=None)
    if not given.leftovers or app.spec.leftovers is Leftovers.KEEP:
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
    return unchanged(record) if record.pid is not None else finish_stop(record, app, moment)


def found(record: InstanceRecord, app: AppRecord, given: inputs.Found, moment: Moment) -> Outcome:
    """A living process that this daemon did not see start: take it over."""
    ran_s = max(0.0, moment.wall - given.spawned_at)
    is_known = record.run == given.run and record.state in (State.STARTING, State.RUNNING, State.STOPPING)
    if is_known and record.pid is not None:
        return unchanged(record)
    taken = replace(
        record,
        run=given.run,
        pid=given.pid,
        start_time=given.start_time,
        started_at=given.spawned_at,
        started_mono=moment.mono - ran_s,
    )
    told = happened(record, EventType.INSTANCE_FOUND, f"found running, pid {given.pid}", {"run": given.run})
    if record.state is State.STOPPING and is_known:
        return Outcome(record=taken, occurrences=(told,))
    if record.wanted is Wanted.DOWN:
        stopping = begin_stop(replace(taken, state=State.RUNNING), app, moment, Then.REST, "it is not wanted")
        return replace(stopping, occurrences=(told, *stopping.occurrences))
    left_s = max(0.0, app.spec.start.grace_s - ran_s)
    starting = settled(
        taken,
        State.STARTING,
        moment,
        due=due_in(DueKind.GRACE, left_s, moment),
        pid=given.pid,
        start_time=given.start_time,
        revision=record.revision if is_known else app.revision,
    )
    return Outcome(record=starting, occurrences=(told,))


def vanished(record: InstanceRecord, app: AppRecord, given: inputs.Vanished, moment: Moment) -> Outcome:
    """Nobody holds its run: the order never arrived, or its end was not seen."""
    if record.pid is None and record.state is State.STARTING:
        effect = inputs.Spawn(instance=record.key, run=record.run, automatic=False)
        return Outcome(record=record, effects=(effect,))
    return main_ended(record, app, exit_of_status(record.run, None, moment.wall), 0, moment)


def vanished_while_stopping(
    record: InstanceRecord, app: AppRecord, given: inputs.Vanished, moment: Moment
) -> Outcome:
    """Nobody holds its run, and it was to go down anyway."""
    down = record
    if record.exit is None or record.exit.run != record.run:
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

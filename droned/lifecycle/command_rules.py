"""What commands do: one rule for each way in which a command can be taken.

A rule is `(record, app, given, moment) -> Outcome`. Rules read nothing else.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from droned.errors import NotNow
from droned.lifecycle import inputs
from droned.lifecycle.endings import (
    begin_stop,
    launch,
    launch_automatic,
    remove,
    state_at_rest,
)
from droned.lifecycle.failed_starts import LOOK_EVERY_S, due_of_failed
from droned.lifecycle.outcome import (
    Outcome,
    due_in,
    happened,
    settled,
    unchanged,
)
from droned.lifecycle.restart import Again, decide
from droned.lifecycle.words import signal_name
from droned.models.events import EventType
from droned.models.records import AppRecord, DueKind, Exit, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment


def refused(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """The command makes no sense in this state; raises NotNow."""
    raise NotNow(
        f"cannot signal {record.key}: it is {record.state}, there is no process", state=str(record.state)
    )


def start(record: InstanceRecord, app: AppRecord, given: inputs.Start, moment: Moment) -> Outcome:
    """Come up now, with a clean slate of tries."""
    return launch(replace(record, wanted=Wanted.UP, tries=0, recent_mono=()), app, moment)


def want_up(record: InstanceRecord, app: AppRecord, given: inputs.Start, moment: Moment) -> Outcome:
    """It is up or coming up already."""
    return unchanged(replace(record, wanted=Wanted.UP))


def start_after(record: InstanceRecord, app: AppRecord, given: Any, moment: Moment) -> Outcome:
    """It is on its way down: come up again when its tree is gone, unless it left the configuration."""
    if record.then is Then.REMOVE:
        return unchanged(record)
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
        # The note makes it a change, and so the cause of the end that may follow.
        record=record if record.state is State.STOPPING else replace(record, note=text),
        occurrences=(happened(record, EventType.INSTANCE_SIGNALLED, text, {"signal": given.number}),),
        effects=(effect,),
    )


def enable(record: InstanceRecord, app: AppRecord, given: inputs.Enable, moment: Moment) -> Outcome:
    """droned may restart it by itself from now on."""
    if record.enabled:
        return unchanged(record)
    enabled = replace(record, enabled=True)
    if record.state is State.FAILED and record.due is None:
        enabled = replace(enabled, due=due_of_failed(enabled, app, moment))
    return Outcome(record=enabled, occurrences=(happened(record, EventType.INSTANCE_ENABLED, "enabled"),))


def enable_at_rest(record: InstanceRecord, app: AppRecord, given: inputs.Enable, moment: Moment) -> Outcome:
    """droned may restart it by itself again, and does so if it is down only because it might not."""
    told = enable(record, app, given, moment)
    enabled = told.record
    if enabled is None or enabled is record or record.wanted is Wanted.DOWN:
        return told
    fresh = replace(enabled, tries=0, recent_mono=())
    if record.state is not State.STOPPED:
        end = record.exit
        if end is None or not isinstance(decide(app.spec.restart, fresh, end, moment), Again):
            return told
    started = launch_automatic(fresh, app, moment)
    return replace(started, occurrences=(*told.occurrences, *started.occurrences))


def disable(record: InstanceRecord, app: AppRecord, given: inputs.Disable, moment: Moment) -> Outcome:
    """droned may not restart it by itself from now on: what was pending is not."""
    if not record.enabled:
        return unchanged(record)
    disabled = replace(record, enabled=False)
    text = "disabled"
    if record.state in (State.BACKOFF, State.WAITING):
        disabled = settled(disabled, state_at_rest(record.exit), moment, "it is not enabled")
        text = "disabled; its next start is called off"
    elif record.state is State.FAILED:
        disabled = replace(disabled, due=None)
    return Outcome(record=disabled, occurrences=(happened(record, EventType.INSTANCE_DISABLED, text),))


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


def rejoin(record: InstanceRecord, app: AppRecord, given: inputs.Rejoin, moment: Moment) -> Outcome:
    """It was to go with the last of its tree: it comes up again then."""
    if record.then is not Then.REMOVE:
        return unchanged(record)
    return unchanged(replace(record, wanted=Wanted.UP, then=Then.START))


def begin(record: InstanceRecord, app: AppRecord, given: inputs.Begin, moment: Moment) -> Outcome:
    """Come up if that is wanted and allowed."""
    if record.wanted is Wanted.DOWN or not record.enabled:
        return unchanged(record)
    return launch(record, app, moment)


def begin_failed(record: InstanceRecord, app: AppRecord, given: inputs.Begin, moment: Moment) -> Outcome:
    """It failed before droned began: its next chance comes as it would have come then."""
    if record.wanted is Wanted.DOWN or record.due is not None:
        return unchanged(record)
    return unchanged(replace(record, due=due_of_failed(record, app, moment)))


def begin_after(record: InstanceRecord, app: AppRecord, given: inputs.Begin, moment: Moment) -> Outcome:
    """It is on its way down; if that is for a shutdown whose daemon died, it comes up again."""
    if record.then is Then.REST and record.wanted is Wanted.UP and record.enabled:
        return unchanged(replace(record, then=Then.START))
    return unchanged(record)


def shut_down(record: InstanceRecord, app: AppRecord, given: inputs.ShutDown, moment: Moment) -> Outcome:
    """Go down; what is wanted stays as it is."""
    return begin_stop(record, app, moment, Then.REST, "droned shuts down")


def shut_down_waiting(
    record: InstanceRecord, app: AppRecord, given: inputs.ShutDown, moment: Moment
) -> Outcome:
    """There is no process: nothing is pending any more."""
    stopped = settled(record, State.STOPPED, moment, record.note)
    text = f"stopped (was {record.state}; droned shuts down)"
    return Outcome(record=stopped, occurrences=(happened(record, EventType.INSTANCE_STOPPED, text),))


def shut_down_failed(
    record: InstanceRecord, app: AppRecord, given: inputs.ShutDown, moment: Moment
) -> Outcome:
    """It stays failed, and gets its next chance only when droned begins again."""
    return unchanged(replace(record, due=None))


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
        # The wall clock may have moved while the host was down: never wait longer than a new wait would be.
        left_s = min(max(0.0, due.at - moment.wall), _longest_wait_s(due.kind, app))
        due = due_in(due.kind, left_s, moment)
    return unchanged(replace(record, due=due, started_mono=None, recent_mono=()))


def _longest_wait_s(kind: DueKind, app: AppRecord) -> float:
    policy = app.spec.restart
    match kind:
        case DueKind.RETRY:
            return policy.retry_failed_after_s or 0.0
        case DueKind.LOOK:
            return LOOK_EVERY_S
        case _:
            return policy.max_delay_s * (1.0 + policy.jitter)

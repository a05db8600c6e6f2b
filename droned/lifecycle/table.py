# ruff: noqa: E501  (the matrix reads as a matrix only with one line a row)
"""The life of an instance as one table: every input in every state, every cell filled.

This is the only place where states change. Read a row as "what does this
input do in each state"; `same` and `refused` are written out, so that a
forgotten pair cannot hide. The diagram and the matrix in the documentation
are drawn from it, and a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from droned.lifecycle import command_rules as c
from droned.lifecycle import inputs as i
from droned.lifecycle import observation_rules as o
from droned.lifecycle.outcome import Outcome, unchanged
from droned.models.records import AppRecord, InstanceRecord, State
from droned.models.registry import Moment

Rule = Callable[[InstanceRecord, AppRecord, Any, Moment], Outcome]
Row = tuple[Rule, Rule, Rule, Rule, Rule, Rule, Rule, Rule, Rule]

STATES: tuple[State, ...] = (
    State.STOPPED,
    State.WAITING,
    State.STARTING,
    State.RUNNING,
    State.STOPPING,
    State.BACKOFF,
    State.EXITED,
    State.FAILED,
    State.UNKNOWN,
)
"""The columns of `MATRIX`, in order."""

# fmt: off
MATRIX: Mapping[type[i.Input], Row] = MappingProxyType({
    #               stopped                waiting                starting           running            stopping                   backoff                exited                 failed                 unknown
    i.Start:       (c.start,               c.start,               c.want_up,         c.want_up,         c.start_after,             c.start,               c.start,               c.start,               c.start),
    i.Stop:        (c.want_down,           c.stop_waiting,        c.stop,            c.stop,            c.rest_after,              c.stop_waiting,        c.stop_waiting,        c.stop_waiting,        c.stop_waiting),
    i.Restart:     (c.start,               c.start,               c.restart,         c.restart,         c.start_after,             c.start,               c.start,               c.start,               c.start),
    i.SendSignal:  (c.refused,             c.refused,             c.signal,          c.signal,          c.signal,                  c.refused,             c.refused,             c.refused,             c.refused),
    i.Enable:      (c.enable_at_rest,      c.enable,              c.enable,          c.enable,          c.enable,                  c.enable,              c.enable_at_rest,      c.enable,              c.enable_at_rest),
    i.Disable:     (c.disable,             c.disable,             c.disable,         c.disable,         c.disable,                 c.disable,             c.disable,             c.disable,             c.disable),
    i.Replace:     (o.same,                o.same,                c.renew,           c.renew,           c.replace_after,           o.same,                o.same,                c.try_again,           o.same),
    i.Remove:      (c.remove_now,          c.remove_now,          c.stop_and_remove, c.stop_and_remove, c.remove_after,            c.remove_now,          c.remove_now,          c.remove_now,          c.remove_now),
    i.Rejoin:      (o.same,                o.same,                o.same,            o.same,            c.rejoin,                  o.same,                o.same,                o.same,                o.same),
    i.Begin:       (c.begin,               c.begin,               o.same,            o.same,            c.begin_after,             o.same,                c.begin,               c.begin_failed,        c.begin),
    i.ShutDown:    (o.same,                c.shut_down_waiting,   c.shut_down,       c.shut_down,       c.shut_down_after,         c.shut_down_waiting,   o.same,                c.shut_down_failed,    o.same),
    i.Rebooted:    (c.same_with_new_clock, c.same_with_new_clock, c.gone_with_host,  c.gone_with_host,  c.gone_with_host,          c.same_with_new_clock, c.same_with_new_clock, c.same_with_new_clock, c.same_with_new_clock),
    i.Spawned:     (o.up_after_all,        o.same,                o.up,              o.same,            o.note_process,            o.up_after_all,        o.up_after_all,        o.up_after_all,        o.up_after_all),
    i.StartFailed: (o.same,                o.same,                o.start_failed,    o.start_failed,    o.failed_while_stopping,   o.same,                o.same,                o.same,                o.same),
    i.Ended:       (o.ended_after_all,     o.same,                o.ended,           o.ended,           o.ended_as_asked,          o.ended_after_all,     o.ended_after_all,     o.ended_after_all,     o.ended_after_all),
    i.TreeGone:    (o.same,                o.same,                o.same,            o.same,            o.tree_gone,               o.same,                o.same,                o.same,                o.same),
    i.Found:       (o.found,               o.found,               o.found,           o.found,           o.found,                   o.found,               o.found,               o.found,               o.found),
    i.TakenOver:   (o.same,                o.same,                o.same,            o.same,            o.stop_again,              o.same,                o.same,                o.same,                o.same),
    i.Vanished:    (o.same,                o.same,                o.vanished,        o.vanished,        o.vanished_while_stopping, o.same,                o.same,                o.same,                o.same),
    i.Elapsed:     (o.same,                o.start_again,         o.running,         o.same,            o.stop_longer,             o.start_again,         o.same,                o.retry,               o.same),
    i.Cleared:     (o.same,                o.same,                o.same,            o.same,            o.same,                    o.same,                o.same,                o.cleared,             o.same),
})
# fmt: on

TABLE: Mapping[State, Mapping[type[i.Input], Rule]] = MappingProxyType(
    {
        state: MappingProxyType({given: row[column] for given, row in MATRIX.items()})
        for column, state in enumerate(STATES)
    }
)
"""The same by state: `TABLE[state][type of input]` is the rule."""

OF_ONE_RUN = (i.Spawned, i.StartFailed, i.Ended, i.TreeGone, i.TakenOver, i.Vanished)


def step(record: InstanceRecord, app: AppRecord, given: i.Input, moment: Moment) -> Outcome:
    """What follows from `given`: the new record, what happened, what is to be done.

    Pure. An observation of a run other than the record's, or of a time that
    is no longer due, is of the past and changes nothing. Raises NotNow for a
    command that this state refuses.
    """
    if isinstance(given, OF_ONE_RUN) and given.run != record.run:
        return unchanged(record)
    if isinstance(given, i.Found) and given.run < record.run:
        return unchanged(record)
    if isinstance(given, i.Elapsed) and (record.due is None or record.due.kind is not given.kind):
        return unchanged(record)
    return TABLE[record.state][type(given)](record, app, given, moment)

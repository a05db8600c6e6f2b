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

from droned.lifecycle import inputs as i
from droned.lifecycle import rules as r
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
    #               stopped        waiting              starting           running            stopping                   backoff                exited         failed                 unknown
    i.Start:       (r.start,       r.start,             r.want_up,         r.want_up,         r.start_after,             r.start,               r.start,       r.start,               r.start),
    i.Stop:        (r.want_down,   r.stop_waiting,      r.stop,            r.stop,            r.rest_after,              r.stop_waiting,        r.stop_waiting, r.stop_waiting,       r.stop_waiting),
    i.Restart:     (r.start,       r.start,             r.restart,         r.restart,         r.start_after,             r.start,               r.start,       r.start,               r.start),
    i.SendSignal:  (r.refused,     r.refused,           r.signal,          r.signal,          r.signal,                  r.refused,             r.refused,     r.refused,             r.refused),
    i.Enable:      (r.enable,      r.enable,            r.enable,          r.enable,          r.enable,                  r.enable,              r.enable,      r.enable,              r.enable),
    i.Disable:     (r.disable,     r.disable,           r.disable,         r.disable,         r.disable,                 r.disable,             r.disable,     r.disable,             r.disable),
    i.Replace:     (r.same,        r.same,              r.renew,           r.renew,           r.replace_after,           r.same,                r.same,        r.try_again,           r.same),
    i.Remove:      (r.remove_now,  r.remove_now,        r.stop_and_remove, r.stop_and_remove, r.remove_after,            r.remove_now,          r.remove_now,  r.remove_now,          r.remove_now),
    i.Begin:       (r.begin,       r.begin,             r.same,            r.same,            r.same,                    r.same,                r.begin,       r.same,                r.begin),
    i.ShutDown:    (r.same,        r.shut_down_waiting, r.shut_down,       r.shut_down,       r.shut_down_after,         r.shut_down_waiting,   r.same,        r.same,                r.same),
    i.Rebooted:    (r.same_with_new_clock, r.same_with_new_clock, r.gone_with_host, r.gone_with_host, r.gone_with_host,   r.same_with_new_clock, r.same_with_new_clock, r.same_with_new_clock, r.same_with_new_clock),
    i.Spawned:     (r.same,        r.same,              r.up,              r.same,            r.note_process,            r.same,                r.same,        r.same,                r.same),
    i.StartFailed: (r.same,        r.same,              r.start_failed,    r.same,            r.failed_while_stopping,   r.same,                r.same,        r.same,                r.same),
    i.Ended:       (r.same,        r.same,              r.ended,           r.ended,           r.ended_as_asked,          r.same,                r.same,        r.same,                r.same),
    i.TreeGone:    (r.same,        r.same,              r.same,            r.same,            r.tree_gone,               r.same,                r.same,        r.same,                r.same),
    i.Found:       (r.found,       r.found,             r.found,           r.found,           r.found,                   r.found,               r.found,       r.found,               r.found),
    i.Vanished:    (r.same,        r.same,              r.vanished,        r.vanished,        r.vanished_while_stopping, r.same,                r.same,        r.same,                r.same),
    i.Elapsed:     (r.same,        r.start_again,       r.running,         r.same,            r.stop_longer,             r.start_again,         r.same,        r.retry,               r.same),
    i.Cleared:     (r.same,        r.same,              r.same,            r.same,            r.same,                    r.same,                r.same,        r.cleared,             r.same),
})
# fmt: on

TABLE: Mapping[State, Mapping[type[i.Input], Rule]] = MappingProxyType(
    {
        state: MappingProxyType({given: row[column] for given, row in MATRIX.items()})
        for column, state in enumerate(STATES)
    }
)
"""The same by state: `TABLE[state][type of input]` is the rule."""

OF_ONE_RUN = (i.Spawned, i.StartFailed, i.Ended, i.TreeGone, i.Vanished)


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

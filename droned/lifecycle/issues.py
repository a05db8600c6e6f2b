"""The issue that an instance opens when droned gives up on it.

It opens with the state `failed`, stays through every further try, and closes
when the cause is gone: the instance runs again, rests in another state
(stopped by a command, ended in a way that its policy leaves so) or leaves the
configuration. A try that fails again tells its text anew only where that
differs, and never moves `opened_at`.
"""

from __future__ import annotations

from msgspec.structs import replace

from droned.lifecycle.failed_starts import LOOK_EVERY_S
from droned.lifecycle.words import seconds
from droned.models.events import EventType, Occurrence
from droned.models.records import (
    AppRecord,
    DueKind,
    InstanceRecord,
    IssueKind,
    IssueRecord,
    State,
)
from droned.models.registry import Moment

IssueChange = tuple[str, str, IssueRecord | None]
"""(kind of record, key, record or None to drop it), as `Registry.commit` takes it."""

NOTHING: tuple[tuple[IssueChange, ...], tuple[Occurrence, ...]] = ((), ())

STILL_TRYING = frozenset({State.WAITING, State.STARTING, State.STOPPING, State.BACKOFF})
"""States that leave open whether the cause is gone."""


def issue_key(instance: str) -> str:
    """The key of the issue that tells of this instance's failure."""
    return f"{IssueKind.INSTANCE_FAILED}:{instance}"


def issue_changes(
    before: InstanceRecord | None,
    after: InstanceRecord | None,
    app: AppRecord | None,
    moment: Moment,
    *,
    present: IssueRecord | None,
) -> tuple[tuple[IssueChange, ...], tuple[Occurrence, ...]]:
    """What a step from `before` to `after` opens and closes, for the same commit as the step.

    `present` is the record under `issue_key` as it is now, None when there is
    none. One of `before` and `after` may be None: the instance is new, or
    gone. `app` may be None where the app has left the configuration.
    """
    if after is not None and after.state is State.FAILED:
        if present is not None and before is not None and before.state is State.FAILED:
            return NOTHING
        return _opened(after, app, moment, present)
    if present is None or (after is not None and after.state in STILL_TRYING):
        return NOTHING
    text = "it is gone" if after is None else f"it is {after.state}"
    closed = Occurrence(type=EventType.ISSUE_CLOSED, subject=present.subject, text=f"closed: {text}")
    return (("issue", present.key, None),), (closed,)


def failure_text(record: InstanceRecord, app: AppRecord | None) -> str:
    """Why this instance failed, in one sentence, with where its app is configured."""
    where = f'app "{record.app}"'
    if app is not None and app.spec.origin:
        where += f", {app.spec.origin}"
    exit_ = record.exit
    if exit_ is not None and exit_.stage is not None:
        story = f"cannot start {record.key}: {exit_.reason}"
        if record.note != exit_.reason:
            story += f"; {record.note}"
    else:
        story = f"cannot keep {record.key} running: {record.note}"
        if exit_ is not None:
            story += f", the last run {exit_.reason}"
    return f"{story} ({where})"


def _opened(
    record: InstanceRecord, app: AppRecord | None, moment: Moment, present: IssueRecord | None
) -> tuple[tuple[IssueChange, ...], tuple[Occurrence, ...]]:
    key = issue_key(record.key)
    text, remedy = failure_text(record, app), _remedy(record)
    if present is not None:
        if (present.text, present.remedy) == (text, remedy):
            return NOTHING
        return (("issue", key, replace(present, text=text, remedy=remedy)),), ()
    opened = IssueRecord(
        key=key,
        kind=IssueKind.INSTANCE_FAILED,
        subject=record.key,
        text=text,
        remedy=remedy,
        opened_at=moment.wall,
    )
    return (("issue", key, opened),), (
        Occurrence(type=EventType.ISSUE_OPENED, subject=record.key, text=text, data={"issue": key}),
    )


def _remedy(record: InstanceRecord) -> str:
    """What a person can do, and what droned does by itself meanwhile."""
    due = record.due.kind if record.due is not None else None
    if due is DueKind.LOOK:
        return (
            "put it there, or correct the configuration; "
            f"droned looks every {seconds(LOOK_EVERY_S)} and starts it then"
        )
    by_hand = f"see `dronectl describe {record.key}`, then `dronectl start {record.key}`"
    return f"{by_hand}; droned tries it again by itself" if due is DueKind.RETRY else by_hand

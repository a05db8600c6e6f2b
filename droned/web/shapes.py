"""The JSON shapes of the API: one function a record.

Stable from the first release: a key may be added, never renamed or retyped.
Unknown values are null, times RFC 3339 UTC, durations seconds, sizes bytes.
A signal is its number, as an exit code is.
"""

from __future__ import annotations

from collections.abc import Mapping

from droned.models.events import Event
from droned.models.records import (
    ActionRecord,
    AppRecord,
    DueKind,
    Exit,
    InstanceRecord,
    IssueRecord,
)
from droned.web.documents import rfc3339

_STARTS = (DueKind.START, DueKind.RETRY)


def instance_row(record: InstanceRecord, server: str) -> dict[str, object]:
    """An instance as `status` shows it."""
    due = record.due
    return {
        "instance": record.key,
        "app": record.app,
        "label": record.label,
        "server": server,
        "wanted": record.wanted,
        "enabled": record.enabled,
        "state": record.state,
        "ready": record.ready,
        "pid": record.pid,
        "run": record.run,
        "started_at": rfc3339(record.started_at),
        "since": rfc3339(record.since),
        "restarts": record.restarts,
        "exit": None if record.exit is None else exit_shape(record.exit),
        "next_start_at": rfc3339(due.at) if due is not None and due.kind in _STARTS else None,
        "release": None,
        "revision": record.revision,
        "cpu_percent": None,
        "rss_bytes": None,
        "note": record.note,
        "cause": record.cause,
    }


def exit_shape(exit_: Exit) -> dict[str, object]:
    """How a run ended, in short."""
    return {
        "code": exit_.code,
        "signal": exit_.signal,
        "at": rfc3339(exit_.at),
        "reason": exit_.reason,
        "run": exit_.run,
    }


def exit_in_full(exit_: Exit) -> dict[str, object]:
    """How a run ended; for a start that failed, with stage and errno."""
    return {
        **exit_shape(exit_),
        "core_dumped": exit_.core_dumped,
        "stage": exit_.stage,
        "errno": exit_.errno,
    }


def app_shape(record: AppRecord, instances: int) -> dict[str, object]:
    """An app as configured now; `instances` is how many of it there are."""
    return {
        "app": record.name,
        "revision": record.revision,
        "origin": record.spec.origin,
        "instances": instances,
        "scaled_to": record.scaled_to,
        "spec": record.spec,
    }


def issue_shape(record: IssueRecord) -> dict[str, object]:
    """Something that a person must look at."""
    return {
        "key": record.key,
        "kind": record.kind,
        "subject": record.subject,
        "text": record.text,
        "remedy": record.remedy,
        "opened_at": rfc3339(record.opened_at),
        "version": record.cause,
    }


def action_shape(record: ActionRecord) -> dict[str, object]:
    """The execution of a command."""
    return {
        "id": record.key,
        "command": record.command,
        "targets": record.targets,
        "actor": record.actor,
        "reason": record.reason,
        "state": record.state,
        "began_at": rfc3339(record.began_at),
        "ended_at": rfc3339(record.ended_at),
        "durable": record.durable,
        "items": [
            {
                "instance": item.instance,
                "goal": item.goal,
                "after_run": item.after_run,
                "state": item.state,
                "text": item.text,
            }
            for item in record.items
        ],
    }


def event_shape(event: Event) -> dict[str, object]:
    """Something that happened, once; `id` is its place in the stream."""
    data: Mapping[str, object] = event.data
    return {
        "id": f"{event.version}.{event.index}",
        "version": event.version,
        "at": rfc3339(event.at),
        "type": event.type,
        "subject": event.subject,
        "actor": event.actor,
        "cause": event.cause,
        "text": event.text,
        "data": data,
    }

"""A commit as the bytes of a journal record, and back to plain JSON values.

    {"version", "moment": {wall, mono, draw, budget_wait_s}, "actor", "cause",
     "input": [key, name, fields] | null,
     "changes": [{"kind", "key", "record": {…}}             a new record, whole
               | {"kind", "key", "from": 17, "set": {…}}    only the fields that differ
               | {"kind", "key", "drop": true}],
     "events": [{"type", "subject", "text", "data"}]}

`from` is the version at which the record before became what it was, so that
a reader behind a hole knows whether it holds the record that was meant.

Texts may hold lone surrogates: bytes of an environment or of arguments that
are no UTF-8. msgspec refuses those in both directions; then the standard
library's codec takes over, which writes and reads them as `\\udcXX`. So the
record is plain JSON in every case.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import Any

import msgspec

from droned.errors import JournalDamaged
from droned.models.events import Event, EventType
from droned.models.records import Record
from droned.models.registry import TABLES, Change, Commit


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot journal a value of type {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
_DECODER = msgspec.json.Decoder()
_EVENT_TYPES = frozenset(EventType)

FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {kind: record.__struct_fields__ for kind, record in TABLES.items()}
)
"""Names of a record's fields, by kind."""

_VALUES: Mapping[str, Callable[[Record], tuple[Any, ...]]] = MappingProxyType(
    {kind: attrgetter(*names) for kind, names in FIELDS.items()}
)


def encode(value: object) -> bytes:
    """`value` (structs, mappings, sequences and plain values) as JSON.

    Raises TypeError for a value that JSON has no word for.
    """
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(value, enc_hook=_plain)
        return json.dumps(plain, separators=(",", ":")).encode("ascii")


def decode(content: bytes) -> object:
    """The plain value that the JSON text `content` stands for.

    Raises JournalDamaged when it is none.
    """
    try:
        return _DECODER.decode(content)
    except (ValueError, RecursionError):
        # Either a lone surrogate, which only the other codec reads, or no JSON at all.
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise JournalDamaged(f"cannot read a journal record: {error}") from error


def encode_commit(commit: Commit) -> bytes:
    """The record of one commit; on the reactor's path for every change, so it stays small and quick.

    Raises TypeError for a value in an event or an input that JSON has no word for.
    """
    return encode(
        {
            "version": commit.version,
            "moment": commit.moment,
            "actor": commit.actor,
            "cause": commit.cause,
            "input": commit.given,
            "changes": [_change(change) for change in commit.changes],
            "events": [
                {"type": event.type, "subject": event.subject, "text": event.text, "data": event.data}
                for event in commit.events
            ],
        }
    )


def decode_commit(payload: bytes) -> dict[str, Any]:
    """A record's JSON object, checked for its outer shape only.

    Raises JournalDamaged when it is no such object.
    """
    record = decode(payload)
    if (
        not isinstance(record, dict)
        or type(record.get("version")) is not int
        or not isinstance(record.get("changes"), list)
        or not isinstance(record.get("events"), list)
        or not isinstance(record.get("moment"), dict)
    ):
        raise JournalDamaged(f"cannot read a journal record: {payload[:80]!r} is not the object of a commit")
    return record


def events_of(record: Mapping[str, Any]) -> tuple[Event, ...]:
    """The events of a decoded record, as they were told; those of a type that we do not know are left out.

    Raises JournalDamaged when the record does not have their shape.
    """
    try:
        return tuple(
            Event(
                version=record["version"],
                index=index,
                at=record["moment"]["wall"],
                type=EventType(event["type"]),
                subject=event["subject"],
                actor=record["actor"],
                cause=record["cause"],
                text=event["text"],
                data=MappingProxyType(event["data"]),
            )
            for index, event in enumerate(record["events"])
            if event["type"] in _EVENT_TYPES
        )
    except (KeyError, TypeError) as error:
        raise JournalDamaged(f"cannot read the events of version {record.get('version')}: {error}") from error


def _change(change: Change) -> dict[str, object]:
    kind, before, after = change.kind, change.before, change.after
    if after is None:
        return {"kind": kind, "key": change.key, "drop": True}
    if before is None:
        return {"kind": kind, "key": change.key, "record": after}
    values = _VALUES[kind]
    differing = {
        name: new
        for name, old, new in zip(FIELDS[kind], values(before), values(after), strict=True)
        if new is not old and new != old
    }
    return {"kind": kind, "key": change.key, "from": before.cause, "set": differing}

"""The state that records build: replayed as plain JSON values, typed once at the end.

Rules of this module:

* Replay is deterministic: the same records on the same state give the same
  state. It never runs `step`; what was decided then is in the record.
* A replay touches plain dictionaries only (a third of the time that typed
  records take); `typed_records` makes the frozen records of the end.
* A field, kind or value that this release does not know means that another
  release wrote the record. It is refused with that release's name and never
  dropped silently: going back a release must not lose what it cannot see.
* Behind a hole, a change is applied field by field when its record exists:
  the newest word on each field wins (a `stop` that was acknowledged after the
  hole stays a stop). Records for which the change was made on another one
  than ours are named in `State.uncertain`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from droned.errors import CannotRun, JournalDamaged
from droned.journal.codec import FIELDS, decode_commit
from droned.models.records import AppRecord, Record
from droned.models.registry import TABLES

Table = dict[str, dict[str, Any]]
"""Records of one kind as plain values, by key."""

_KNOWN = {kind: frozenset(names) for kind, names in FIELDS.items()}
_RECORD_KEYS = frozenset({"version", "moment", "actor", "cause", "input", "changes", "events"})
_CHANGE_KEYS = frozenset({"kind", "key", "record", "set", "from", "drop"})


class UnknownContent(ValueError):
    """A record is as it was written but says something that this release has no word for."""


class State(Struct, kw_only=True):
    """Every record at one version, as plain values; a replay changes it in place."""

    version: int = 0
    tables: dict[str, Table] = field(default_factory=lambda: {kind: {} for kind in TABLES})
    uncertain: set[tuple[str, str]] = field(default_factory=set)
    """(kind, key) of records that a hole in the journal may have left out of date."""


def apply(state: State, record: Mapping[str, Any]) -> None:
    """Bring `state` to the version of the decoded `record`.

    Raises UnknownContent for a field or kind of another release, and
    JournalDamaged when the record does not have a record's shape; `state` is
    then untouched.
    """
    if not record.keys() <= _RECORD_KEYS:
        raise UnknownContent(f"the field {_unknown(record, _RECORD_KEYS)!r}")
    changes = record["changes"]
    for change in changes:
        _check(change)
    for change in changes:
        table, key = state.tables[change["kind"]], change["key"]
        if "set" in change:
            held = table.get(key)
            if held is None:
                state.uncertain.add((change["kind"], key))
            else:
                if held.get("cause") != change["from"]:
                    state.uncertain.add((change["kind"], key))
                held.update(change["set"])
        elif "record" in change:
            table[key] = change["record"]
            state.uncertain.discard((change["kind"], key))
        else:
            table.pop(key, None)
            state.uncertain.discard((change["kind"], key))
    state.version = record["version"]


def replay(payloads: Iterable[bytes], state: State) -> State:
    """`state` after these records in their order; the same object, changed.

    Raises UnknownContent and JournalDamaged as `apply` does.
    """
    for payload in payloads:
        apply(state, decode_commit(payload))
    return state


def state_at(version: int, payloads: Iterable[bytes], state: State) -> State:
    """`state` brought forward to `version` and no further; the same object, changed.

    Raises JournalDamaged when the records do not reach that version, and as
    `apply` does.
    """
    for payload in payloads:
        if state.version >= version:
            break
        apply(state, decode_commit(payload))
    if state.version != version:
        raise JournalDamaged(f"cannot show version {version}: the journal leads to {state.version}")
    return state


def typed_records(state: State) -> Iterator[tuple[str, Record]]:
    """(kind, record) of everything in `state`, in the order in which the keys came to be.

    Raises UnknownContent for a field or a value that this release does not
    know, and JournalDamaged for a record that lacks what every release has.
    """
    for kind, table in state.tables.items():
        for plain in table.values():
            yield kind, typed(kind, plain)


def typed(kind: str, plain: Mapping[str, Any]) -> Record:
    """The frozen record that `plain` stands for.

    Raises UnknownContent and JournalDamaged as `typed_records` does.
    """
    try:
        record: Record = msgspec.convert(plain, TABLES[kind])
    except msgspec.ValidationError as error:
        if "missing required field" in str(error):
            raise JournalDamaged(f"cannot read a record of kind {kind}: {error}") from error
        raise UnknownContent(f"a value of kind {kind}: {error}") from error
    unknown = _unknown_within(plain, msgspec.to_builtins(record, enc_hook=dict))
    if unknown is not None:
        raise UnknownContent(f"the field {unknown!r} of kind {kind}")
    if isinstance(record, AppRecord):
        launch = record.spec.launch
        launch = replace(launch, env=MappingProxyType(dict(launch.env)))
        return replace(record, spec=replace(record.spec, launch=launch))
    return record


def refuse(where: str, release: str, ours: str, unknown: UnknownContent) -> CannotRun:
    """The error for a record of another release: nothing is touched, and the way out is said."""
    writer = f"droned {release}" if release != ours else f"another build of droned {release}"
    return CannotRun(
        f"cannot read {where}: it was written by {writer} and holds {unknown}, which droned {ours} does not "
        f"know; nothing was changed; run the release that wrote it"
    )


def _check(change: Any) -> None:
    if not isinstance(change, dict) or not isinstance(change.get("key"), str):
        raise JournalDamaged(f"cannot apply the change {str(change)[:80]}: it names no record")
    kind = change.get("kind")
    if not isinstance(kind, str) or kind not in TABLES:
        raise UnknownContent(f"the kind {kind!r}")
    if not change.keys() <= _CHANGE_KEYS:
        raise UnknownContent(f"the field {_unknown(change, _CHANGE_KEYS)!r} of a change")
    content = change.get("set", change.get("record", {}))
    if not isinstance(content, dict) or ("set" in change and type(change.get("from")) is not int):
        raise JournalDamaged(f"cannot apply the change of {kind} {change['key']}: it has no fields")
    if not content.keys() <= _KNOWN[kind]:
        raise UnknownContent(f"the field {_unknown(content, _KNOWN[kind])!r} of kind {kind}")


def _unknown(found: Mapping[str, Any], known: frozenset[str]) -> str:
    return min(found.keys() - known)


def _unknown_within(found: Any, known: Any) -> str | None:
    """The name of a field in `found` that `known`, made from it, has lost; None is none."""
    if isinstance(found, dict) and isinstance(known, dict):
        for name, value in found.items():
            if name not in known:
                return str(name)
            below = _unknown_within(value, known[name])
            if below is not None:
                return below
    elif isinstance(found, list) and isinstance(known, list | tuple):
        for one, other in zip(found, known, strict=True):
            below = _unknown_within(one, other)
            if below is not None:
                return below
    return None

"""The registry: every record of now, its version, and the one way to change it.

Rules of this module:

* Only `commit` changes anything, on the reactor thread only. A commit has one
  version, one cause and one actor, and is told to every subscriber in the
  order in which they subscribed, after it has taken effect.
* A subscriber must not commit from inside its call, and must not raise: what
  it raises is handed to `failed`, and the other subscribers are told all the
  same.
* `snapshot()` is immutable, may be handed to any thread, and is made only
  when asked for: one copy of the tables a version at most.
* The same key is always the same entity object; its `.record` is the frozen
  record of now. A dropped key's entity says so by `.record is None`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from droned.models.events import Event, Occurrence
from droned.models.records import (
    ActionRecord,
    AppRecord,
    InstanceRecord,
    IssueRecord,
    Record,
    ServerRecord,
)

R = TypeVar("R", InstanceRecord, AppRecord, IssueRecord, ActionRecord, ServerRecord)

TABLES: Mapping[str, type[Record]] = MappingProxyType(
    {
        "instance": InstanceRecord,
        "app": AppRecord,
        "issue": IssueRecord,
        "action": ActionRecord,
        "server": ServerRecord,
    }
)
"""Kind of record by the name that it has in the journal and in a `Change`."""

KIND_OF: Mapping[type[Record], str] = MappingProxyType({record: kind for kind, record in TABLES.items()})


class Change(Struct, frozen=True, kw_only=True):
    """A record put in place of `before`, or dropped (`after` is None); kind is a key of `TABLES`."""

    kind: str
    key: str
    before: Record | None
    after: Record | None


class Moment(Struct, frozen=True, kw_only=True):
    """All that a decision may know of the outside: both clocks, one drawn number, the budget.

    The caller draws it once for an input; with it the decision can be repeated.
    """

    wall: float
    mono: float
    draw: float
    """0.0-1.0, drawn anew for each input."""
    budget_wait_s: float = 0.0
    """Seconds until this host may start something by itself again; 0 is now."""


class Commit(Struct, frozen=True, kw_only=True):
    """One version: what changed, what is told about it, and what it came from."""

    version: int
    moment: Moment
    actor: str
    cause: int
    given: tuple[str, str, Mapping[str, object]] | None
    """The input as (key of the instance, name of the input, its fields); None for other changes."""
    changes: tuple[Change, ...]
    events: tuple[Event, ...]


class Snapshot(Struct, frozen=True, kw_only=True):
    """The records at one version; safe to read from any thread."""

    version: int
    instances: Mapping[str, InstanceRecord]
    apps: Mapping[str, AppRecord]
    issues: Mapping[str, IssueRecord]
    actions: Mapping[str, ActionRecord]
    servers: Mapping[str, ServerRecord]


class Entity(Generic[R]):
    """One thing with one identity, for as long as the registry lives."""

    __slots__ = ("key", "record")

    def __init__(self, key: str) -> None:
        self.key = key
        self.record: R | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.key}>"


class AppInstance(Entity[InstanceRecord]):
    """A running copy of an app, by `app/label`."""

    __slots__ = ()


class App(Entity[AppRecord]):
    """What is configured, by name."""

    __slots__ = ()


class Issue(Entity[IssueRecord]):
    """What a person must look at, by `kind:subject`."""

    __slots__ = ()


class Action(Entity[ActionRecord]):
    """The execution of a command, by its id."""

    __slots__ = ()


class Server(Entity[ServerRecord]):
    """A host with a droned; this one is `server`."""

    __slots__ = ()


AnyEntity = AppInstance | App | Issue | Action | Server
ENTITY_OF: Mapping[str, type[AnyEntity]] = MappingProxyType(
    {"instance": AppInstance, "app": App, "issue": Issue, "action": Action, "server": Server}
)

Subscriber = Callable[[Commit], None]


class Registry:
    """All records of this host and their version."""

    def __init__(self, failed: Callable[[Subscriber], None]) -> None:
        """`failed` is called inside the `except` of a subscriber that raised, to log it."""
        self._failed = failed
        self._version = 0
        self._tables: dict[str, dict[str, Record]] = {kind: {} for kind in TABLES}
        self._entities: dict[tuple[str, str], AnyEntity] = {}
        self._subscribers: list[Subscriber] = []
        self._snapshot: Snapshot | None = None

    @property
    def version(self) -> int:
        """The version of now; 0 before the first commit."""
        return self._version

    def instance(self, key: str) -> InstanceRecord | None:
        """The record of the instance `app/label`, or None."""
        found = self._tables["instance"].get(key)
        assert found is None or isinstance(found, InstanceRecord)
        return found

    def app(self, name: str) -> AppRecord | None:
        """The record of the app, or None."""
        found = self._tables["app"].get(name)
        assert found is None or isinstance(found, AppRecord)
        return found

    def records(self, kind: str) -> Mapping[str, Record]:
        """The live table of one kind, for reading on the reactor thread."""
        return self._tables[kind]

    def entity(self, kind: str, key: str) -> AnyEntity:
        """The one object for this key, made when first asked for."""
        entity = self._entities.get((kind, key))
        if entity is None:
            entity = ENTITY_OF[kind](key)
            entity.record = self._tables[kind].get(key)
            self._entities[kind, key] = entity
        return entity

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Tell `subscriber` of every commit from now on; the returned call ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def restore(self, version: int, records: Iterable[tuple[str, Record]]) -> None:
        """Set version and records as a journal had them; only before the first commit."""
        if self._version:
            raise RuntimeError(f"cannot restore into a registry that is at version {self._version}")
        self._version = version
        for kind, record in records:
            self._tables[kind][_key_of(record)] = record

    def commit(
        self,
        changes: Iterable[tuple[str, str, Record | None]],
        occurrences: Iterable[Occurrence],
        *,
        moment: Moment,
        actor: str,
        cause: int,
        given: tuple[str, str, Mapping[str, object]] | None = None,
    ) -> Commit:
        """Make one version of these (kind, key, record or None) and tell the subscribers.

        Records get this version as their `cause` field. A record equal to the
        one in place is no change. Returns the commit, also when nothing
        changed and nothing happened (then the version stays).
        """
        version = self._version + 1
        made: list[Change] = []
        for kind, key, record in changes:
            table = self._tables[kind]
            before = table.get(key)
            if record is None:
                if before is not None:
                    del table[key]
                    made.append(Change(kind=kind, key=key, before=before, after=None))
            elif record is not before and record != before:
                after = replace(record, cause=version)
                table[key] = after
                made.append(Change(kind=kind, key=key, before=before, after=after))
            else:
                continue
            entity = self._entities.get((kind, key))
            if entity is not None:
                entity.record = table.get(key)
        events = tuple(
            Event(
                version=version,
                index=index,
                at=moment.wall,
                type=each.type,
                subject=each.subject,
                actor=actor,
                cause=cause,
                text=each.text,
                data=each.data,
            )
            for index, each in enumerate(occurrences)
        )
        if not made and not events:
            version = self._version
        done = Commit(
            version=version,
            moment=moment,
            actor=actor,
            cause=cause,
            given=given,
            changes=tuple(made),
            events=events,
        )
        if made or events:
            self._version = version
            self._snapshot = None
            for subscriber in tuple(self._subscribers):
                try:
                    subscriber(done)
                except Exception:  # noqa: BLE001  # a named border: one subscriber never holds up the rest
                    self._failed(subscriber)
        return done

    def snapshot(self) -> Snapshot:
        """Everything at the version of now, immutable."""
        if self._snapshot is None:
            self._snapshot = Snapshot(
                version=self._version,
                **{f"{kind}s": MappingProxyType(dict(table)) for kind, table in self._tables.items()},  # type: ignore[arg-type]  # kind names the type
            )
        return self._snapshot


def _key_of(record: Record) -> str:
    return record.name if isinstance(record, AppRecord) else record.key

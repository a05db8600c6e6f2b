"""What happened before: from the feed's memory, and from the journal where that does not reach.

Rules of this module: the journal is read in a thread and in pieces, so that
neither the reactor nor the memory feels how long it is; a question for "the
last few" looks back at most `MOST_LOOKED_AT` versions and says so; what the
journal cannot give is left out, and the answer tells that it is not complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct
from twisted.logger import Logger

from droned.commands.arguments import WHOLE_VERSION, Position
from droned.errors import DronedError
from droned.journal.codec import events_of
from droned.models.events import Event, EventType
from droned.models.ports import IPool
from droned.models.records import Exit, InstanceRecord
from droned.models.registry import Commit, Registry
from droned.web.documents import rfc3339
from droned.web.feed import EventFeed
from droned.web.shapes import exit_in_full

Wants = Callable[[Event], bool]
Record = Mapping[str, Any]
"""A commit as the journal has it, decoded."""

READ_AT_ONCE = 10_000
"""Versions that are asked of the journal at once: they are in memory meanwhile."""
FIRST_WINDOW = 1_000
MOST_LOOKED_AT = 50_000
"""Versions that a question for "the last few" goes back at most …"""
MOST_LOOKED_AT_FOR_ONE = 200_000
"""… and when it is about one instance, for which the journal is searched as text."""
LONGEST_CHAIN = 50
KEPT_EXITS = 5
"""Exits of each instance that are kept in memory."""
ROOTS = frozenset(
    {
        EventType.COMMAND_ACCEPTED,
        EventType.CONFIGURATION_LOADED,
        EventType.CONFIGURATION_REFUSED,
        EventType.SERVER_STARTED,
        EventType.SERVER_STOPPING,
    }
)
"""Where a chain of causes ends, when nothing caused these: it was wanted from outside of droned."""

_log = Logger()


class Found(Struct, kw_only=True):
    """The answer to a question for the last few, oldest first."""

    events: list[Event]
    exits: list[dict[str, object]]
    is_complete: bool = True
    """False when the journal could not be read, or goes back further than was looked."""


class Journal(Protocol):
    """What is asked of the journal."""

    def read(
        self, since: int, until: int | None, containing: str = ""
    ) -> Awaitable[Iterator[Mapping[str, object]]]:
        """The records with `since` < version <= `until`; only those with that text in their JSON."""
        ...


class JournalReader:
    """The events behind a place in the journal, some at a time."""

    def __init__(self, journal: Journal, pool: IPool, position: Position, until: int) -> None:
        version, index = position
        self._journal = journal
        self._pool = pool
        self._position = position
        self._since = max(version if index >= WHOLE_VERSION else version - 1, 0)
        self._until = until
        self._events: list[Event] = []
        self.first_version: int | None = None
        """The first version that the journal had, once there was one."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more."""
        return not self._events and self._since >= self._until

    async def batch(self, most: int) -> list[Event]:
        """The next events, at most so many; none says nothing yet about the end."""
        if not self._events and not self.is_over:
            until = min(self._since + READ_AT_ONCE, self._until)
            records = await self._journal.read(self._since, until)
            self._events, first = await self._pool.run(_pull, records, self._position)
            if self.first_version is None:
                self.first_version = first
            self._since = until
        taken, self._events = self._events[:most], self._events[most:]
        return taken


class Past:
    """Asks the feed and the journal about what happened."""

    def __init__(self, registry: Registry, feed: EventFeed, journal: Journal, pool: IPool) -> None:
        self._feed = feed
        self._journal = journal
        self._pool = pool
        self._exits: dict[str, deque[Exit]] = {}
        self.stop: Callable[[], None] = registry.subscribe(self._remember_exits)
        """Ends the subscription to the registry."""

    def reader(self, position: Position, until: int) -> JournalReader:
        """Everything behind `position` up to version `until`, from the journal."""
        return JournalReader(self._journal, self._pool, position, until)

    async def next_events(self, wants: Wants, position: Position, limit: int) -> tuple[list[Event], Position]:
        """The first `limit` wanted events behind `position`, and the place to go on from."""
        found: list[Event] = []
        if limit <= 0:
            return found, position
        while not self._feed.covers(position):
            until = self._feed.version
            reader = self.reader(position, until)
            while not reader.is_over:
                for event in await reader.batch(limit):
                    if wants(event):
                        found.append(event)
                        if len(found) == limit:
                            return found, (event.version, event.index)
            position = max(position, (until, WHOLE_VERSION))
        for told in self._feed.after(position, len(self._feed.everything())):
            if wants(told.event):
                found.append(told.event)
                if len(found) == limit:
                    return found, told.position
        return found, max(position, (self._feed.version, WHOLE_VERSION))

    async def last_events(
        self, wants: Wants, limit: int, since: Position = (0, 0), key: str | None = None
    ) -> Found:
        """The last `limit` wanted events, none of them before `since`; `key`: they are all about this one."""

        def wanted(event: Event) -> bool:
            return (event.version, event.index) > since and wants(event)

        if limit <= 0:
            return Found(events=[], exits=[])
        found = Found(events=[told.event for told in self._feed.everything() if wanted(told.event)], exits=[])
        await self._go_back(found, wanted, key, since[0], lambda: len(found.events) >= limit)
        found.events = found.events[-limit:]
        return found

    async def about(self, record: InstanceRecord, events: int, exits: int) -> Found:
        """The last so many events and exits of one instance."""

        def wanted(event: Event) -> bool:
            return event.subject == record.key

        recent = [told.event for told in self._feed.everything() if wanted(told.event)]
        ends = self._exits.get(record.key) or ([record.exit] if record.exit is not None else [])
        found = Found(events=recent, exits=[exit_in_full(each) for each in ends])
        await self._go_back(
            found,
            wanted,
            record.key,
            0,
            # A run that has not ended has no exit, and there are no more than there were runs.
            lambda: len(found.events) >= events and len(found.exits) >= min(exits, record.run),
        )
        found.events = found.events[-events:]
        found.exits = found.exits[-exits:]
        return found

    async def why(self, key: str) -> list[Event]:
        """The last event of an instance and, one after another, what caused it; newest first."""
        last = await self.last_events(lambda event: event.subject == key, 1, key=key)
        chain: list[Event] = []
        event = last.events[-1] if last.events else None
        while event is not None and len(chain) < LONGEST_CHAIN:
            chain.append(event)
            if event.type not in ROOTS:
                together = await self._events_at(event.version)
                earlier = [each for each in together if each.subject == key and each.index < event.index]
                if earlier:
                    event = earlier[-1]
                    continue
                root = _root_of(together)
                if root is not None:
                    event = root
                    continue
            event = await self._cause_of(event, key)
        return chain

    async def moment_of(self, version: int) -> float | None:
        """The wall second of a version; None where neither memory nor journal has it."""
        told = self._feed.at_version(version)
        if told:
            return told[0].event.at
        records = await self._journal.read(version - 1, version)
        return await self._pool.run(_first_moment, records)

    def _remember_exits(self, commit: Commit) -> None:
        for change in commit.changes:
            if change.kind != "instance":
                continue
            before, after = change.before, change.after
            if not isinstance(after, InstanceRecord):
                self._exits.pop(change.key, None)
            elif after.exit is not None and (
                not isinstance(before, InstanceRecord) or after.exit is not before.exit
            ):
                self._exits.setdefault(change.key, deque(maxlen=KEPT_EXITS)).append(after.exit)

    async def _cause_of(self, event: Event, key: str) -> Event | None:
        cause, below = event.cause, event.version
        while 0 < cause < below:
            events = await self._events_at(cause)
            if events:
                own = [each for each in events if each.subject == key]
                return _root_of(events) or (own or events)[-1]
            below, cause = cause, await self._cause_at(cause)
        return None

    async def _events_at(self, version: int) -> list[Event]:
        told = self._feed.at_version(version)
        if told:
            return [each.event for each in told]
        reader = self.reader((version - 1, WHOLE_VERSION), version)
        return await reader.batch(1_000)

    async def _cause_at(self, version: int) -> int:
        records = await self._journal.read(version - 1, version)
        return await self._pool.run(_first_cause, records)

    async def _go_back(
        self, found: Found, wants: Wants, key: str | None, lowest: int, is_enough: Callable[[], bool]
    ) -> None:
        """Put what the journal has before the feed's events in front of them, window by window."""
        floor = self._feed.floor
        upper, window = floor[0], FIRST_WINDOW
        lookable = MOST_LOOKED_AT if key is None else MOST_LOOKED_AT_FOR_ONE
        containing = "" if key is None else f'"{key}"'
        try:
            while upper > lowest and lookable > 0 and not is_enough():
                window = min(window, lookable)
                lower = max(lowest - 1, upper - window, 0)
                records = await self._journal.read(lower, upper, containing)
                events, exits = await self._pool.run(_gather, records, floor, wants, key)
                found.events[:0] = events
                known = {each["run"] for each in found.exits}
                found.exits[:0] = [each for each in exits if each["run"] not in known]
                upper = lower
                lookable -= window
                window = window * 4 if key is not None else min(window * 4, READ_AT_ONCE)
        except (DronedError, OSError):
            _log.failure(
                "cannot look up in the journal what happened before version {version}", version=upper
            )
            found.is_complete = False
        else:
            found.is_complete = is_enough() or upper <= lowest


def _root_of(events: list[Event]) -> Event | None:
    return next((event for event in events if event.type in ROOTS), None)


def _pull(records: Iterator[Record], position: Position) -> tuple[list[Event], int | None]:
    """Runs in a thread: the events behind `position`, and the first version seen."""
    events: list[Event] = []
    first: int | None = None
    for record in records:
        if first is None:
            first = record["version"]
        events += [event for event in events_of(record) if (event.version, event.index) > position]
    return events, first


def _gather(
    records: Iterator[Record], floor: Position, wants: Wants, key: str | None
) -> tuple[list[Event], list[dict[str, object]]]:
    """Runs in a thread: the wanted events up to `floor`, the exits of the instance `key`."""
    events: list[Event] = []
    exits: dict[object, dict[str, object]] = {}
    for record in records:
        events += [
            event for event in events_of(record) if (event.version, event.index) <= floor and wants(event)
        ]
        if key is not None:
            for change in record["changes"]:
                if change["kind"] == "instance" and change["key"] == key:
                    fields = change.get("set") or change.get("record") or {}
                    exit_ = fields.get("exit")
                    if exit_ is not None:
                        exits[exit_["run"]] = _exit_from_journal(exit_)
    return events, list(exits.values())


def _exit_from_journal(fields: Mapping[str, Any]) -> dict[str, object]:
    return {
        "run": fields["run"],
        "code": fields.get("code"),
        "signal": fields.get("signal"),
        "at": rfc3339(fields["at"]),
        "reason": fields["reason"],
        "core_dumped": fields.get("core_dumped", False),
        "stage": fields.get("stage"),
        "errno": fields.get("errno"),
    }


def _first_moment(records: Iterator[Record]) -> float | None:
    """Runs in a thread: the wall second of the first record, None when there is none."""
    for record in records:
        return float(record["moment"]["wall"])
    return None


def _first_cause(records: Iterator[Record]) -> int:
    """Runs in a thread: the cause of the first record, 0 when there is none."""
    for record in records:
        cause = record["cause"]
        return cause if isinstance(cause, int) else 0
    return 0

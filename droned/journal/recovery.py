"""What is decided when a journal is opened: what holds, what is cut, what is damage.

Rules of this module:

* The state is that of the newest snapshot whose checksum holds, brought
  forward by every record after it that can be read. A hole does not end the
  replay; `records.apply` says what counts behind one.
* Damaged files are set aside and replaced by what could be read of them,
  marked as having holes: damage is told once and never deleted. Versions that
  are missing without a damaged file get a segment that says so.
* Version numbers are never used twice: what the guardian remembers as
  acknowledged counts, even where the records are lost.
* The last batch of a journal that was not closed may be readable and still
  not on disk (a failed fsync leaves it in the page cache). It is handed back
  as unsaved and written anew before it counts as durable.
* No bytes make this raise, with one exception: what another release wrote and
  this one does not know is refused with that release's name (CannotRun).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from droned.errors import JournalDamaged
from droned.journal.codec import decode_commit, events_of
from droned.journal.format import GENESIS, Frame
from droned.journal.reading import Reading, hole, read_segment, repaired
from droned.journal.records import State, UnknownContent, apply, refuse, typed
from droned.journal.segments import segment_name, snapshot_name
from droned.journal.snapshots import SnapshotHead, decode_snapshot, release_of
from droned.models.events import Event
from droned.models.records import Record

LAST_RECORDS = 1000
"""The events of so many of the latest records that are read at opening are handed over."""


class Repair(Struct, frozen=True, kw_only=True):
    """A file of that name is set aside, and this content put in its place."""

    name: str
    content: bytes | None
    """None: nothing takes its place."""


class Opened(Struct, frozen=True, kw_only=True):
    """A journal as it was found."""

    version: int
    """The version of the state; the next commit has the one after it."""
    digest: bytes
    """Of the last record."""
    records: tuple[tuple[str, Record], ...]
    """(kind, record) of everything there is."""
    unsaved: tuple[Frame, ...] = ()
    """Records that count but have to be written again before they are durable."""
    damage: tuple[str, ...] = ()
    """What is damaged, each a sentence for an issue; empty is a sound journal."""
    notes: tuple[str, ...] = ()
    """What was found and is no damage: an unfinished write that was cut."""
    events: tuple[Event, ...] = ()
    """The latest events among the records that were read, oldest first."""
    repairs: tuple[Repair, ...] = ()
    replayed: int = 0
    """Records applied on the snapshot."""
    replayed_bytes: int = 0


class Recovery:
    """Takes snapshots and segments in order and comes to an `Opened`."""

    def __init__(self, *, release: str, now: float, remembered: tuple[int, str] | None) -> None:
        """`release` is ours; `remembered` is the head that the guardian knows, (version, hex digest)."""
        self._release = release
        self._now = now
        self._remembered = remembered
        self._snapshot: SnapshotHead | None = None
        self._state = State()
        self._last = 0
        self._digest = GENESIS
        self._was_read = False
        self._holes_before = False
        self._writer = release
        self._damage: list[str] = []
        self._notes: list[str] = []
        self._repairs: dict[str, Repair] = {}
        self._latest: deque[dict[str, Any]] = deque(maxlen=LAST_RECORDS)
        self._unsaved: tuple[Frame, ...] = ()
        self._replayed = 0
        self._replayed_bytes = 0

    def take_snapshot(self, version: int, content: bytes | None) -> bool:
        """Whether the snapshot file for `version` can be used; offered newest first, None if unreadable.

        Raises CannotRun for one of another release.
        """
        name = snapshot_name(version)
        try:
            if content is None:
                raise JournalDamaged("cannot use the snapshot: the disk does not give it")
            head, state = decode_snapshot(content)
            if head.version != version:
                raise JournalDamaged(f"cannot use the snapshot: it is of version {head.version}")
            for kind, table in state.tables.items():
                for plain in table.values():
                    typed(kind, plain)
        except UnknownContent as unknown:
            raise refuse(name, release_of(content or b""), self._release, unknown) from unknown
        except (JournalDamaged, AttributeError, KeyError, TypeError, ValueError) as error:
            self._damage.append(f"{name}: {error}")
            self._repairs[name] = Repair(name=name, content=None)
            return False
        self._snapshot, self._state = head, state
        self._digest = head.digest
        return True

    def segments_needed(self, firsts: Sequence[int]) -> list[int]:
        """Those of the segments (first versions, ascending) that the snapshot leaves to be read."""
        before = [first for first in firsts if first <= max(self._state.version, 1)]
        return [first for first in firsts if not before or first >= before[-1]]

    def take_segment(self, first: int, content: bytes | None, following: int | None) -> None:
        """Read the next segment; `following` is the first version of the one after it, None for the last.

        Raises CannotRun for one of another release.
        """
        name = segment_name(first)
        known = self._remembered[0] if self._remembered else None
        reading = read_segment(first, content or b"", following, known)
        self._writer = _release(reading)
        if not reading.is_known_format():
            raise refuse(name, _release(reading), self._release, UnknownContent(f"format {reading.format}"))
        faults = list(reading.faults) if content is not None else ["the disk does not give it"]
        has_holes = reading.head is not None and reading.head.has_holes
        faults += self._border(reading, is_waived=self._holes_before or has_holes)
        self._holes_before = has_holes
        self._replay(reading, name, faults)
        last = first - 1 if reading.last is None else reading.last
        if following is not None and last != following - 1 and not has_holes:
            if faults or last < first:
                faults.append(f"versions {last + 1} to {following - 1} are missing")
            else:
                self._missing(last + 1, following - 1)
        if faults:
            self._damage.append(f"{name}: {'; '.join(faults)}")
            self._repairs[name] = Repair(
                name=name, content=repaired(reading, content or b"", self._release, self._now)
            )
            self._holes_before = True
        elif reading.cut:
            self._notes.append(f"{name}: {reading.cut}")
        self._unsaved = reading.unsynced() if following is None and not faults else ()

    def finish(self) -> Opened:
        """Everything was taken: what the journal says.

        Raises CannotRun when a record of the end is one of another release.
        """
        snapshot_version = self._snapshot.version if self._snapshot else 0
        version = max(self._last, snapshot_version)
        if self._last < snapshot_version and not self._holes_before:
            self._missing(self._last + 1 if self._was_read else 1, snapshot_version)
        if self._last <= snapshot_version and self._snapshot:
            self._digest = self._snapshot.digest
        if self._remembered:
            self._compare_head(version)
            version = max(version, self._remembered[0])
        records = self._typed_records()
        # A snapshot is written, and a head remembered, only after everything up to it was synced.
        synced = max(snapshot_version, self._remembered[0] if self._remembered else 0)
        if self._state.uncertain and self._damage:
            named = ", ".join(sorted(f"{kind} {key}" for kind, key in self._state.uncertain)[:20])
            self._damage.append(f"changes are lost, so these may be out of date: {named}")
        events = tuple(self._events())
        return Opened(
            version=version,
            digest=self._digest,
            records=records,
            unsaved=tuple(frame for frame in self._unsaved if frame.version > synced),
            damage=tuple(self._damage),
            notes=tuple(self._notes),
            events=events,
            repairs=tuple(self._repairs.values()),
            replayed=self._replayed,
            replayed_bytes=self._replayed_bytes,
        )

    def _border(self, reading: Reading, *, is_waived: bool) -> list[str]:
        """What is wrong between the segment before and this one."""
        head = reading.head
        if is_waived:
            return []
        if head is not None:
            begins, previous = head.first, head.previous
        elif reading.frames:
            begins, previous = reading.frames[0].version, reading.frames[0].previous
        else:
            return []
        if not self._was_read:
            if begins > self._state.version + 1:
                self._missing(self._state.version + 1, begins - 1)
            return []
        # A gap was told with the segment before.
        if begins == self._last + 1 and previous != self._digest:
            return ["it does not follow the segment before it"]
        return []

    def _replay(self, reading: Reading, name: str, faults: list[str]) -> None:
        remembered = self._remembered
        snapshot = self._snapshot
        for frame, digest in zip(reading.frames, reading.digests, strict=True):
            version = frame.version
            if snapshot and version == snapshot.version and digest != snapshot.digest:
                faults.append(f"version {version} is not the one that its snapshot followed")
            if remembered and version == remembered[0] and digest.hex() != remembered[1]:
                faults.append(f"version {version} is not the one that the guardian remembers")
            if version > self._state.version:
                try:
                    record = decode_commit(frame.payload)
                    apply(self._state, record)
                    self._latest.append(record)
                except UnknownContent as unknown:
                    raise refuse(name, _release(reading), self._release, unknown) from unknown
                except JournalDamaged as error:
                    faults.append(f"version {version}: {error}")
                self._replayed += 1
                self._replayed_bytes += len(frame.payload)
            self._last, self._digest = version, digest
            self._was_read = True

    def _events(self) -> Iterator[Event]:
        for record in self._latest:
            try:
                yield from events_of(record)
            except JournalDamaged as error:
                self._damage.append(str(error))

    def _compare_head(self, version: int) -> None:
        assert self._remembered is not None
        known, digest = self._remembered
        if known > version:
            if not self._holes_before:
                self._missing(version + 1, known)
        elif self._snapshot and known == self._snapshot.version and digest != self._snapshot.digest.hex():
            self._damage.append(f"the record at version {known} is not the one that the guardian remembers")

    def _missing(self, first: int, last: int) -> None:
        """Versions are missing and no file is to blame: say so once, and leave a segment that says so."""
        self._damage.append(f"the records of versions {first} to {last} are missing")
        name = segment_name(first)
        content = hole(first, self._digest, self._release, self._now)
        self._repairs.setdefault(name, Repair(name=name, content=content))
        self._holes_before = True

    def _typed_records(self) -> tuple[tuple[str, Record], ...]:
        found: list[tuple[str, Record]] = []
        for kind, table in self._state.tables.items():
            for key, plain in table.items():
                try:
                    found.append((kind, typed(kind, plain)))
                except UnknownContent as unknown:
                    raise refuse("the journal", self._writer, self._release, unknown) from unknown
                except JournalDamaged as error:
                    self._damage.append(f"{kind} {key} is left out: {error}")
        return tuple(found)


def _release(reading: Reading) -> str:
    return reading.head.release if reading.head else "unknown"

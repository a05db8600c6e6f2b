"""The records that wait for the disk: chained, bounded, handed out in batches.

When a record cannot be taken (it is too much for memory, or cannot be written
down), all that wait are given up: `given_up` says why, nothing more is taken,
and only a snapshot of everything can follow (`begin_again`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from droned.journal.codec import encode_commit
from droned.journal.format import (
    KIND_BATCH,
    KIND_RECORD,
    LONGEST_PAYLOAD,
    Frame,
    digest_of,
    pack,
)
from droned.models.registry import Commit

LARGEST_BATCH = 1 << 20
QUEUE_BYTES = 64 << 20
QUEUE_RECORDS = 100_000


class Entry(NamedTuple):
    """A record that waits for the disk; a named tuple because each commit makes one."""

    version: int
    previous: bytes
    payload: bytes
    digest: bytes


class Queue:
    """Commits in, batches out."""

    def __init__(self, version: int, digest: bytes) -> None:
        """For the records after `version`, which has `digest`."""
        self._entries: deque[Entry] = deque()
        self._out: tuple[Entry, ...] = ()
        self.version = version
        """The last version that was taken, or given up."""
        self.digest = digest
        """That of the last record that was written down."""
        self.size_bytes = 0
        """Payloads that wait, without the batch that is out."""
        self.given_up: str | None = None
        """Why records were given up; None: none were."""

    def __len__(self) -> int:
        """Records that wait, the batch that is out included."""
        return len(self._entries) + len(self._out)

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a record nor a beginning again to be written."""
        return not self._entries and self.given_up is None

    def take(self, commit: Commit) -> None:
        """Write a commit down, behind all that wait."""
        if commit.version <= self.version:
            return
        expected, self.version = self.version + 1, commit.version
        if self.given_up is not None:
            return
        if commit.version != expected:
            self.give_up(f"version {expected} was never given to the journal")
            return
        try:
            payload = encode_commit(commit)
        except (TypeError, ValueError, RecursionError) as error:
            self.give_up(f"version {commit.version} cannot be written down: {error}")
            return
        if len(payload) > LONGEST_PAYLOAD:
            self.give_up(f"version {commit.version} has {len(payload)} bytes, over {LONGEST_PAYLOAD}")
            return
        self._put(commit.version, payload)
        if self.size_bytes > QUEUE_BYTES or len(self) > QUEUE_RECORDS:
            self.give_up(f"{len(self)} records waited, and memory holds no more of them")

    def take_again(self, frames: Iterable[Frame]) -> None:
        """Take records that were read at opening and have to be written anew; the first follows `version`."""
        for frame in frames:
            self.version = frame.version
            self._put(frame.version, frame.payload)

    def hand_out(self) -> tuple[Entry, ...]:
        """The next batch: all that waits, up to `LARGEST_BATCH` or one record; it is out until told."""
        entries: list[Entry] = []
        size = 0
        while self._entries and (not entries or size + len(self._entries[0].payload) <= LARGEST_BATCH):
            entry = self._entries.popleft()
            size += len(entry.payload)
            entries.append(entry)
        self.size_bytes -= size
        self._out = tuple(entries)
        return self._out

    def is_written(self) -> None:
        """The batch that was handed out is on disk."""
        self._out = ()

    def put_back(self) -> None:
        """The batch that was handed out is not on disk: it is the beginning of the next one."""
        if self.given_up is None:
            self._entries.extendleft(reversed(self._out))
            self.size_bytes += sum(len(entry.payload) for entry in self._out)
        self._out = ()

    def give_up(self, why: str) -> None:
        """Let go of all records; a snapshot is to take their place."""
        self.given_up = why
        self._entries.clear()
        self._out = ()
        self.size_bytes = 0

    def begin_again(self) -> str:
        """From now on records are taken again, behind a snapshot at `version`; why they were given up."""
        why, self.given_up = self.given_up or "", None
        self._entries.clear()
        self.size_bytes = 0
        return why

    def _put(self, version: int, payload: bytes) -> None:
        previous = self.digest
        self.digest = digest_of(previous, version, payload)
        self._entries.append(Entry(version, previous, payload, self.digest))
        self.size_bytes += len(payload)


def framed(entries: tuple[Entry, ...]) -> bytes:
    """A batch as bytes: its first frame says that everything before it was synced."""
    return b"".join(
        pack(KIND_RECORD if index else KIND_BATCH, entry.version, entry.previous, entry.payload)
        for index, entry in enumerate(entries)
    )

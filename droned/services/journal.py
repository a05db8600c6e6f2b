"""The journal as a service: takes each commit as it is made and brings it to disk in batches.

Rules of this module:

* `append` encodes at once and never waits: it is called from inside a commit.
* One batch is in flight; what comes meanwhile goes into the next one, which
  begins at least 10 ms after the one before it began. Only the writing and
  the syncing of bytes leave the reactor's thread.
* Nothing is told as durable that is not on the disk. While the last attempt
  failed the journal is degraded: whoever waits is answered False, and the
  whole queue is tried again every second.
* The queue is bounded. Beyond the bound, and when files were lost or a commit
  could not be encoded, the records are given up and the journal begins again
  with a snapshot of everything: the state is whole, its history has a hole,
  and that is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from zope.interface import implementer

from droned.drivers.journal_files import Batch, JournalFiles
from droned.drivers.journal_folder import FilesLost
from droned.drivers.journal_history import JournalHistory
from droned.errors import DronedError, TooLarge
from droned.journal.format import GENESIS
from droned.journal.queue import Queue, framed
from droned.journal.recovery import Opened
from droned.journal.segments import SNAPSHOT_BYTES, is_snapshot_due
from droned.journal.snapshots import SnapshotHead, encode_snapshot
from droned.models.ports import IJournal, Runner
from droned.models.registry import Commit, Snapshot
from droned.services.plugins import Plugin

BATCH_PAUSE_S = 0.010
"""Seconds from the beginning of one batch to that of the next, at least."""
RETRY_S = 1.0
"""Seconds after a failed attempt until the next."""
MOST_RECORDS_READ = 200_000
"""A question about the past that finds more than these is refused."""
VERIFY_AFTER_S = 60.0
VERIFY_PAUSE_S = 0.05


@implementer(IJournal)
class JournalService(Service):
    """The durable memory of one registry."""

    name = "journal"

    def __init__(
        self,
        *,
        files: JournalFiles,
        history: JournalHistory,
        pool: Any,
        timers: Any,
        clock: Any,
        runner: Runner,
        release: str,
        keep_s: float,
        snapshot: Callable[[], Snapshot],
        failed: Callable[[str], None],
        recovered: Callable[[str], None],
        damaged: Callable[[str], None],
    ) -> None:
        """Over an `IPool` of one thread, `ITimers` and an `IClock`.

        `snapshot` gives the registry of now. `failed` is told once when the
        journal stops writing, `recovered` once when it writes again, `damaged`
        for records that are missing from its past; each with a sentence, on the
        reactor thread, free to commit.
        """
        self._files = files
        self._history = history
        self._pool = pool
        self._timers = timers
        self._clock = clock
        self._runner = runner
        self._release = release
        self.keep_s = keep_s
        """Seconds for which records are kept; a reload may change it."""
        """Seconds that segments are kept; may be changed at any time."""
        self._snapshot = snapshot
        self._failed = failed
        self._recovered = recovered
        self._damaged = damaged
        self._queue = Queue(0, GENESIS)
        self._durable, self._durable_digest = 0, GENESIS
        self._beginning_again: str | None = None
        self._error: str | None = None
        self._is_open = False
        self._is_closed = False
        self._is_busy = False
        self._began = float("-inf")
        self._timer: Any = None
        self._verify_timer: Any = None
        self._waiters: list[tuple[int, Deferred[bool]]] = []
        self._listeners: list[Callable[[int, str], None]] = []
        self._idle: Deferred[None] | None = None
        self._since_snapshot = 0
        self._bytes_since_snapshot = 0
        self._opened_at = 0
        self._batches = 0
        self._last_batch_s = 0.0

    async def open(self, remembered: tuple[int, str] | None, progress: Callable[[str], None]) -> Opened:
        """Read the journal; before anything is committed.

        `remembered` is the head that was last acknowledged, as (version, hex
        digest), if anybody knows it; `progress` is called from the thread.
        Raises CannotRun when it cannot be used.
        """
        opened: Opened = await self._pool.run(
            self._files.open, now=self._clock.wall(), remembered=remembered, progress=progress
        )
        self._durable, self._durable_digest = opened.version, opened.digest
        if opened.unsaved:
            self._durable = opened.unsaved[0].version - 1
            self._durable_digest = opened.unsaved[0].previous
        self._queue = Queue(self._durable, self._durable_digest)
        self._queue.take_again(opened.unsaved)
        self._since_snapshot = opened.replayed
        self._bytes_since_snapshot = opened.replayed_bytes
        if opened.damage:
            # The next opening should not have to make sense of the damage again.
            self._bytes_since_snapshot = SNAPSHOT_BYTES
        self._opened_at = self._durable
        self._is_open = True
        return opened

    def startService(self) -> None:
        """Begin to write what was and will be appended."""
        super().startService()
        self._verify_timer = self._timers.call_later(VERIFY_AFTER_S, self._begin_to_verify)
        self._schedule()

    def stopService(self) -> Deferred[None]:
        """Write what is left, a snapshot, and close the journal in order."""
        super().stopService()
        return ensureDeferred(self.close())

    @property
    def is_degraded(self) -> bool:
        """Whether the last attempt to write failed."""
        return self._error is not None

    @property
    def head(self) -> tuple[int, str]:
        """Version and hex digest of the last record that is on disk."""
        return self._durable, self._durable_digest.hex()

    @property
    def note(self) -> str:
        """How it stands, in a few words for `daemon status`."""
        if self._error is not None:
            return f"cannot write: {self._error}; {len(self._queue)} records wait"
        return f"on disk up to version {self._durable}"

    @property
    def figures(self) -> Mapping[str, float]:
        """Counts, bytes and seconds for metrics."""
        return {
            "version": self._queue.version,
            "durable_version": self._durable,
            "queued_records": len(self._queue),
            "queued_bytes": self._queue.size_bytes,
            "batches": self._batches,
            "last_batch_s": self._last_batch_s,
        }

    def append(self, commit: Commit) -> None:
        """Take a commit to disk with the next batch; the registry's subscriber."""
        if not self._is_closed:
            self._queue.take(commit)
            self._schedule()

    def when_durable(self, version: int) -> Deferred[bool]:
        """True once `version` is on disk; False when the journal cannot write it now."""
        if version <= self._durable:
            return succeed(True)
        if self.is_degraded or self._is_closed:
            return succeed(False)
        waiter: Deferred[bool] = Deferred()
        self._waiters.append((version, waiter))
        return waiter

    def on_durable(self, listener: Callable[[int, str], None]) -> Callable[[], None]:
        """Call `listener(version, hex digest)` after each batch; the returned call ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def read(
        self, since: int, until: int | None, containing: str = ""
    ) -> Iterator[Mapping[str, object]]:
        """The records with `since` < version <= `until`, ascending, that are on disk.

        `containing` keeps those whose JSON has this text, such as `"web/0"`
        with its quotes. Raises TooLarge when there are too many.
        """
        slices = self._history.between(since, until, containing.encode())
        found: list[Mapping[str, object]] = []
        while (part := await self._pool.run(next, slices, None)) is not None:
            found += part
            if len(found) > MOST_RECORDS_READ:
                raise TooLarge(
                    f"cannot read more than {MOST_RECORDS_READ} records at once: ask for a shorter time"
                )
        return iter(found)

    async def latest(self, count: int, containing: str = "") -> list[Mapping[str, object]]:
        """The newest `count` records on disk whose JSON has this text, ascending."""
        slices = self._history.latest(count, containing.encode())
        found: list[Mapping[str, object]] = []
        while (part := await self._pool.run(next, slices, None)) is not None:
            found[:0] = part
        return found[-count:]

    async def close(self) -> None:
        """Write what is left, a snapshot, and the end of the segment; appends from now on are lost."""
        if self._is_closed:
            return
        self._is_closed = True
        # Taken now: what is committed from here on is not the journal's any more.
        snapshot = self._snapshot() if self._is_open else None
        for timer in (self._timer, self._verify_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._verify_timer = None
        if self._is_busy:
            self._idle = Deferred()
            await self._idle
        if snapshot is not None:
            self._is_busy = True
            was_written = True
            while was_written and not self._queue.is_empty:
                was_written = await self._attempt()
            if was_written and not self.is_degraded:
                await self._close_files(snapshot)
        self._answer(lambda version: version <= self._durable)

    def _schedule(self) -> None:
        if (
            self._queue.is_empty
            or self._is_busy
            or self._timer is not None
            or self._is_closed
            or not self.running
        ):
            return
        pause_s = RETRY_S if self.is_degraded else BATCH_PAUSE_S
        delay_s = max(0.0, self._began + pause_s - self._clock.mono())
        self._timer = self._timers.call_later(delay_s, self._begin_batch)

    def _begin_batch(self) -> None:
        self._timer = None
        self._is_busy = True
        self._runner(self._write(), "a batch of the journal")

    async def _write(self) -> None:
        try:
            await self._attempt()
        finally:
            self._is_busy = False
            if self._idle is not None:
                self._idle.callback(None)
            self._schedule()

    async def _attempt(self) -> bool:
        """Bring the next batch, or the snapshot to begin again with, to disk; whether that worked."""
        self._began = self._clock.mono()
        try:
            if self._queue.given_up is not None:
                await self._begin_again()
            else:
                await self._write_batch()
        except (OSError, TypeError, ValueError, DronedError) as error:
            self._put_back(error)
            self._cannot_write(error)
            return False
        self._last_batch_s = self._clock.mono() - self._began
        self._batches += 1
        was_failing, self._error = self._error, None
        self._answer(lambda version: version <= self._durable, only=True)
        for listener in tuple(self._listeners):
            listener(self._durable, self._durable_digest.hex())
        if was_failing is not None:
            self._recovered(f"the journal is on disk again up to version {self._durable}")
        return True

    async def _write_batch(self) -> None:
        entries = self._queue.hand_out()
        batch = Batch(
            first=entries[0].version,
            last=entries[-1].version,
            previous=entries[0].previous,
            content=framed(entries),
            at=self._clock.wall(),
        )
        self._since_snapshot += len(entries)
        self._bytes_since_snapshot += len(batch.content)
        is_due = is_snapshot_due(self._since_snapshot, self._bytes_since_snapshot)
        # Taken now, it is of the batch's last version; later there may be others that are on no disk yet.
        snapshot = self._snapshot() if is_due and self._queue.is_empty else None
        await self._pool.run(self._files.write, batch)
        self._queue.is_written()
        self._durable, self._durable_digest = entries[-1].version, entries[-1].digest
        if snapshot is not None and snapshot.version == self._durable:
            await self._take_snapshot(snapshot)

    async def _begin_again(self) -> None:
        """Write a snapshot in the place of the records that were given up."""
        snapshot = self._snapshot()
        digest = self._queue.digest
        why = self._beginning_again = self._queue.begin_again()
        missing = self._durable + 1
        lines = encode_snapshot(snapshot, self._snapshot_head(snapshot.version, digest))
        await self._pool.run(self._files.begin_again, snapshot.version, lines, missing, self._clock.wall())
        self._beginning_again = None
        self._durable, self._durable_digest = snapshot.version, digest
        self._since_snapshot = self._bytes_since_snapshot = 0
        self._damaged(
            f"the records of versions {missing} to {snapshot.version} are not in the journal, only what came "
            f"of them: {why}"
        )

    async def _take_snapshot(self, snapshot: Snapshot) -> None:
        """Write a snapshot and let retention do its work; a full disk only postpones it."""
        self._since_snapshot = self._bytes_since_snapshot = 0
        lines = encode_snapshot(snapshot, self._snapshot_head(snapshot.version, self._durable_digest))
        try:
            await self._pool.run(self._files.write_snapshot, snapshot.version, lines)
            await self._pool.run(self._files.thin_out, self.keep_s, self._clock.wall())
        except OSError:
            pass  # the records are on disk; the next snapshot is due in as many again

    async def _close_files(self, snapshot: Snapshot) -> None:
        try:
            if self._since_snapshot and snapshot.version == self._durable:
                await self._take_snapshot(snapshot)
            await self._pool.run(self._files.close, self._durable, self._durable_digest)
        except (OSError, DronedError) as error:
            self._cannot_write(error)

    def _put_back(self, error: BaseException) -> None:
        """What was to be written is still to be written, unless its ground is gone."""
        if self._beginning_again is not None:
            self._queue.give_up(self._beginning_again)
            self._beginning_again = None
        elif isinstance(error, FilesLost):
            self._queue.give_up(str(error))
        else:
            self._queue.put_back()

    def _cannot_write(self, error: BaseException) -> None:
        was_failing, self._error = self._error, str(error)
        self._answer(lambda version: version <= self._durable)
        if was_failing is None:
            self._failed(f"the journal cannot write: {error}")

    def _answer(self, is_durable: Callable[[int], bool], *, only: bool = False) -> None:
        """Answer those who wait; with `only`, just those whose version is on disk."""
        waiters, self._waiters = self._waiters, []
        for version, waiter in waiters:
            if waiter.called:
                continue  # whoever waited went away
            if only and not is_durable(version):
                self._waiters.append((version, waiter))
            else:
                waiter.callback(is_durable(version))

    def _snapshot_head(self, version: int, digest: bytes) -> SnapshotHead:
        return SnapshotHead(version=version, digest=digest, release=self._release, at=self._clock.wall())

    def _begin_to_verify(self) -> None:
        self._verify_timer = None
        self._runner(self._verify(), "the check of the journal's old segments")

    async def _verify(self) -> None:
        # What this daemon has written itself it need not read again.
        found = self._history.verify(self._opened_at)
        end = object()
        while not self._is_closed and (said := await self._pool.run(next, found, end)) is not end:
            if said is not None:
                self._damaged(said)
            pause: Deferred[None] = Deferred()
            self._verify_timer = self._timers.call_later(VERIFY_PAUSE_S, partial(pause.callback, None))
            await pause


def journal_plugin(service: JournalService) -> Plugin:
    """The plugin of a journal that was opened before there was a registry."""
    return Plugin("journal", lambda context: service)

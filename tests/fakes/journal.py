"""A journal in memory: everything is durable at once, or not at all, as the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from droned.journal.codec import decode_commit, encode_commit
from droned.journal.format import GENESIS, digest_of
from droned.models.ports import IJournal
from droned.models.registry import Commit


@implementer(IJournal)
class FakeJournal:
    """An `IJournal`; `is_degraded` is the test's to set, `flush` brings to "disk" what waits."""

    def __init__(self) -> None:
        self.is_degraded = False
        self.is_slow = False
        """Whether records wait for `flush`."""
        self._payloads: dict[int, bytes] = {}
        self._durable, self._digest = 0, GENESIS
        self._waiters: list[tuple[int, Deferred[bool]]] = []
        self._listeners: list[Callable[[int, str], None]] = []

    @property
    def head(self) -> tuple[int, str]:
        """Version and digest of the last durable record."""
        return self._durable, self._digest.hex()

    def append(self, commit: Commit) -> None:
        """Take a commit."""
        self._payloads[commit.version] = encode_commit(commit)
        if not self.is_slow:
            self.flush()

    def when_durable(self, version: int) -> Deferred[bool]:
        """True once it is flushed, False when degraded."""
        if version <= self._durable:
            return succeed(True)
        if self.is_degraded:
            return succeed(False)
        waiter: Deferred[bool] = Deferred()
        self._waiters.append((version, waiter))
        return waiter

    def on_durable(self, listener: Callable[[int, str], None]) -> Callable[[], None]:
        """Call `listener(version, digest)` after each flush."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def read(
        self, since: int, until: int | None, containing: str = ""
    ) -> Iterator[Mapping[str, object]]:
        """The records with `since` < version <= `until`."""
        last = self._durable if until is None else min(until, self._durable)
        return iter(
            [
                decode_commit(payload)
                for version, payload in self._payloads.items()
                if since < version <= last and containing.encode() in payload
            ]
        )

    def flush(self) -> None:
        """Bring everything to "disk", or answer False if degraded."""
        if not self.is_degraded:
            for version, payload in self._payloads.items():
                if version > self._durable:
                    self._digest = digest_of(self._digest, version, payload)
                    self._durable = version
        waiters, self._waiters = self._waiters, []
        for version, waiter in waiters:
            waiter.callback(version <= self._durable)
        if not self.is_degraded:
            for listener in tuple(self._listeners):
                listener(*self.head)

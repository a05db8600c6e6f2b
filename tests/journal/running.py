"""A journal service over fakes: a world whose commits it takes, and what it acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred

from droned.drivers.journal_files import JournalFiles
from droned.drivers.journal_folder import IFolder
from droned.drivers.journal_history import JournalHistory
from droned.journal.recovery import Opened
from droned.services.journal import JournalService
from tests.fakes.clock import FakeClock
from tests.fakes.pools import InlinePool
from tests.journal.commits import World
from tests.services.spine import result_of

TICK_S = 0.011


class Running:
    """A journal that was opened over `folder` and takes the commits of `world`."""

    def __init__(
        self,
        folder: IFolder,
        *,
        world: World | None = None,
        pool: Any = None,
        remembered: tuple[int, str] | None = None,
        keep_s: float = 90 * 86400.0,
        release: str = "0.1.0",
    ) -> None:
        self.world = world or World()
        self.clock = FakeClock()
        self.told: list[tuple[str, str]] = []
        self.durable: list[tuple[int, str]] = []
        self.failures: list[Any] = []
        self.on_recovery: Callable[[], object] = lambda: None
        self.service = JournalService(
            files=JournalFiles(folder, release),
            history=JournalHistory(folder),
            pool=pool or InlinePool(),
            timers=self.clock,
            clock=self.clock,
            runner=self._run,
            release=release,
            keep_s=keep_s,
            snapshot=self.world.registry.snapshot,
            failed=lambda text: self.told.append(("failed", text)),
            recovered=self._recovered,
            damaged=lambda text: self.told.append(("damaged", text)),
        )
        self.opened: Opened = result_of(self.service.open(remembered, lambda text: None))
        if world is None:
            self.world.registry.restore(self.opened.version, self.opened.records)
            self.world.states[self.opened.version] = {}
        self.world.registry.subscribe(self.service.append)
        self.service.on_durable(lambda version, digest: self.durable.append((version, digest)))
        self.service.startService()

    def _run(self, work: Awaitable[object], what: str) -> None:
        ensureDeferred(work).addErrback(self.failures.append)  # type: ignore[arg-type]  # it is a coroutine

    def _recovered(self, text: str) -> None:
        self.told.append(("recovered", text))
        self.on_recovery()

    def tick(self, seconds: float = TICK_S) -> None:
        """Let time go by, in steps that a timer's timer fits into."""
        while seconds > 0:
            self.clock.advance(min(seconds, TICK_S))
            seconds -= TICK_S

    def step(self) -> int:
        """One commit, and the time for its batch; its version."""
        version = self.world.step().version
        self.tick()
        return version

    def stop(self) -> Deferred[None]:
        """Stop the service in order."""
        return self.service.stopService()

    @property
    def acknowledged(self) -> int:
        """The last version that was told as durable."""
        return self.durable[-1][0] if self.durable else 0

    @property
    def said(self) -> list[str]:
        """What was told, without the words."""
        return [what for what, _ in self.told]

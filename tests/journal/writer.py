"""A program that writes a journal for real: `python -m tests.journal.writer FOLDER PAUSE_S`.

It opens the journal, goes on with the world where that left off, and says on
standard output, a line each: `opened VERSION DAMAGES`, `durable VERSION LAG_S`
(the longest lag of the reactor so far), `failed …`, `recovered …`, `damaged …`.
TERM closes the journal in order: `closed VERSION`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Awaitable
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import LoopingCall

from droned.drivers.clock import ReactorTimers, SystemClock
from droned.drivers.journal_files import JournalFiles
from droned.drivers.journal_folder import Folder
from droned.drivers.journal_history import JournalHistory
from droned.drivers.pools import NamedPool
from droned.services.journal import JournalService
from tests.journal.commits import World

COMMITS_AT_ONCE = 3
reactor: Any = installed


def say(*words: object) -> None:
    """One line on standard output, written at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def run(work: Awaitable[object], what: str) -> None:
    """Run a coroutine; its failure is said."""
    ensureDeferred(work).addErrback(lambda failure: say("broken", what, repr(failure.value)))  # type: ignore[arg-type]  # it is a coroutine


class Writer:
    """The journal, the world, and how late the reactor was."""

    def __init__(self, path: str, pause_s: float) -> None:
        self.world = World()
        self.world.remembers = False
        self.pause_s = pause_s
        self.lag_s = 0.0
        self.pool = NamedPool("journal", 1, reactor)
        folder = Folder(path)
        self.service = JournalService(
            files=JournalFiles(folder, "0.1.0"),
            history=JournalHistory(folder),
            pool=self.pool,
            timers=ReactorTimers(reactor),
            clock=SystemClock(),
            runner=run,
            release="0.1.0",
            keep_s=90 * 86400.0,
            snapshot=self.world.registry.snapshot,
            failed=lambda text: say("failed", text),
            recovered=lambda text: say("recovered", text),
            damaged=lambda text: say("damaged", text),
        )

    async def start(self) -> None:
        """Open, and begin to commit."""
        opened = await self.service.open(None, lambda text: None)
        self.world.registry.restore(opened.version, opened.records)
        self.world.registry.subscribe(self.service.append)
        self.service.on_durable(lambda version, digest: say("durable", version, f"{self.lag_s:.3f}"))
        say("opened", opened.version, *opened.damage)
        self.service.startService()
        await LoopingCall(self.commit).start(self.pause_s)

    def commit(self) -> None:
        """A few commits, and a look at the clock."""
        self.world.steps(COMMITS_AT_ONCE)
        expected = time.monotonic() + 0.01
        reactor.callLater(0.01, self.look, expected)

    def look(self, expected: float) -> None:
        """Note how late this call is."""
        self.lag_s = max(self.lag_s, time.monotonic() - expected)

    async def close(self) -> None:
        """Close in order."""
        await self.service.stopService()
        say("closed", self.service.head[0])
        await self.pool.stop(5.0)


def main(path: str, pause_s: str) -> None:
    """Write until told to stop."""
    writer = Writer(path, float(pause_s))
    reactor.callWhenRunning(lambda: run(writer.start(), "start"))
    reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(writer.close()))
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])

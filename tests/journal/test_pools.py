"""Pools with real threads, on trial's reactor."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from droned.drivers.pools import NamedPool
from droned.errors import NotNow
from droned.models.ports import IPool


class NamedPoolTests(TestCase):
    def pool(self, threads: int = 1, limit: int = 10) -> NamedPool:
        pool = NamedPool("test", threads, reactor, limit)  # type: ignore[arg-type]  # a module that is a reactor
        self.addCleanup(pool.stop, 5.0)
        return pool

    async def test_work_is_done_in_a_named_thread_and_comes_back(self) -> None:
        pool = self.pool()
        assert verifyObject(IPool, pool)
        name = await pool.run(lambda: threading.current_thread().name)
        assert "test" in name
        assert pool.pending == 0

    async def test_one_thread_keeps_the_order(self) -> None:
        pool = self.pool()
        seen: list[int] = []
        for done in [pool.run(seen.append, number) for number in range(10)]:
            await done
        assert seen == list(range(10))

    async def test_what_is_raised_comes_back(self) -> None:
        def fail() -> None:
            raise OSError("no luck")

        pool = self.pool()
        with pytest.raises(OSError, match="no luck"):
            await pool.run(fail)

    async def test_too_much_work_is_refused(self) -> None:
        pool = self.pool(limit=2)
        may_end = threading.Event()
        held: list[Any] = [pool.run(may_end.wait), pool.run(may_end.wait)]
        with pytest.raises(NotNow):
            await pool.run(may_end.wait)
        may_end.set()
        for each in held:
            await each

    async def test_a_stop_waits_for_what_runs_and_takes_no_more(self) -> None:
        pool = self.pool()
        may_end = threading.Event()
        running = pool.run(may_end.wait)
        reactor.callLater(0.02, may_end.set)
        assert await pool.stop(5.0)
        assert await running
        with pytest.raises(NotNow):
            await pool.run(may_end.wait)

    async def test_a_thread_that_hangs_is_left_behind(self) -> None:
        pool = self.pool()
        may_end = threading.Event()
        running = pool.run(may_end.wait)
        assert not await pool.stop(0.05)
        may_end.set()
        assert await running

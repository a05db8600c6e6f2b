"""The fake journal and the real one, the pools: the same promises from each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from droned.models.ports import IJournal, IPool
from tests.fakes.journal import FakeJournal
from tests.fakes.pools import HeldPool, InlinePool
from tests.journal.commits import World
from tests.journal.folders import MemoryFolder
from tests.journal.running import Running
from tests.services.spine import result_of

Made = tuple[Any, World, Callable[[], None], Callable[[bool], None]]
"""A journal, the world whose commits it takes, what brings them to disk, what breaks and mends it."""


def fake() -> Made:
    journal, world = FakeJournal(), World()
    journal.is_slow = True
    world.registry.subscribe(journal.append)

    def broken(is_broken: bool) -> None:
        journal.is_degraded = is_broken

    return journal, world, journal.flush, broken


def real() -> Made:
    folder = MemoryFolder()
    running = Running(folder)

    def broken(is_broken: bool) -> None:
        error = OSError(5, "I/O error") if is_broken else None
        folder.before = lambda call: error

    return running.service, running.world, lambda: running.tick(1.1), broken


@pytest.fixture(params=[fake, real])
def made(request: pytest.FixtureRequest) -> Made:
    journal: Made = request.param()
    return journal


def test_it_is_a_journal(made: Made) -> None:
    assert verifyObject(IJournal, made[0])


def test_a_version_is_durable_when_it_is_on_disk(made: Made) -> None:
    journal, world, flush, _ = made
    heard: list[tuple[int, str]] = []
    journal.on_durable(lambda version, digest: heard.append((version, digest)))
    world.steps(3)
    waiting = journal.when_durable(3)
    assert not waiting.called
    flush()
    assert result_of(waiting) is True
    assert result_of(journal.when_durable(2)) is True
    assert heard == [journal.head]
    assert journal.head[0] == 3


def test_a_journal_that_cannot_write_says_no_and_goes_on_later(made: Made) -> None:
    journal, world, flush, broken = made
    world.step()
    flush()
    broken(True)
    world.step()
    waiting = journal.when_durable(2)
    flush()
    assert result_of(waiting) is False
    assert journal.is_degraded
    assert result_of(journal.when_durable(2)) is False
    assert result_of(journal.when_durable(1)) is True
    broken(False)
    flush()
    assert not journal.is_degraded
    assert result_of(journal.when_durable(2)) is True


def test_what_is_on_disk_can_be_read(made: Made) -> None:
    journal, world, flush, _ = made
    world.steps(5)
    flush()
    assert [record["version"] for record in result_of(journal.read(1, 4))] == [2, 3, 4]
    assert list(result_of(journal.read(0, None, "web0/9"))) == []


def test_both_have_the_same_head_for_the_same_records() -> None:
    heads = []
    for journal, world, flush, _ in (fake(), real()):
        world.steps(7)
        flush()
        heads.append(journal.head)
    assert heads[0] == heads[1]


@pytest.mark.parametrize("pool", [InlinePool(), HeldPool()])
def test_the_fakes_are_pools(pool: Any) -> None:
    assert verifyObject(IPool, pool)


def test_work_that_is_held_is_done_when_told() -> None:
    pool = HeldPool()
    result = pool.run(lambda: 7)
    assert not result.called
    pool.release()
    assert result_of(result) == 7

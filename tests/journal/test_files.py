"""The journal's files: power cuts at every moment, failing calls, rollover, retention."""

from __future__ import annotations

import errno
import random

import pytest

from droned.drivers import journal_files
from droned.drivers.journal_files import JournalFiles
from droned.journal.segments import RESERVE, segments_in, snapshots_in
from tests.journal.commits import World, state_of
from tests.journal.folders import MemoryFolder
from tests.journal.running import Running
from tests.services.spine import result_of

SEEDS_A_MOMENT = 3


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 6 kB and a snapshot every 25 records: a short life has several; and little room ahead."""
    monkeypatch.setattr(journal_files, "SEGMENT_BYTES", 6000)
    monkeypatch.setattr(journal_files, "RESERVE_BYTES", 3 << 13)
    monkeypatch.setattr("droned.journal.segments.AHEAD_BYTES", 1 << 13)
    for module in ("segments", "reading"):
        monkeypatch.setattr(f"droned.journal.{module}.STEP_BYTES", 1 << 13)
    monkeypatch.setattr("droned.journal.segments.SNAPSHOT_RECORDS", 25)


def worked(folder: MemoryFolder, count: int, batch: int = 3) -> Running:
    """A journal with so many commits, in batches of up to `batch`."""
    running = Running(folder)
    for number in range(count):
        running.world.step()
        if number % batch == batch - 1:
            running.tick()
    running.tick()
    return running


def test_a_closed_journal_is_opened_as_it_was(small_segments: None) -> None:
    folder = MemoryFolder()
    running = worked(folder, 100)
    assert running.acknowledged == 100
    assert running.failures == []
    result_of(running.stop())
    assert folder.open_files == 0
    assert len(segments_in(folder.files)) > 3
    assert len(snapshots_in(folder.files)) >= 2
    again = Running(folder)
    assert (again.opened.version, again.opened.damage, again.opened.unsaved) == (100, (), ())
    assert again.opened.replayed == 0
    assert state_of(again.opened.records) == running.world.states[100]
    assert again.service.head == running.service.head


def test_every_moment_of_a_power_cut_leaves_a_journal_that_opens(small_segments: None) -> None:
    """Before each call: what was not synced is lost, reordered or torn at 512 bytes, by several dice."""
    rng = random.Random(7)
    running: list[Running] = []
    crashes = 0

    def before(call: str) -> OSError | None:
        nonlocal crashes
        for _ in range(SEEDS_A_MOMENT):
            crashes += 1
            # Looked at as they come: hundreds of folders at once would be gigabytes.
            _opens(folder.crashed(rng), running[0], rng, goes_on=crashes % 10 == 0)
        return None

    folder = MemoryFolder()
    running.append(Running(folder))
    folder.before = before
    for _ in range(35):
        for _ in range(rng.randint(1, 4)):
            running[0].world.step()
        running[0].tick()
    folder.before = lambda call: None
    assert crashes > 300


def _opens(crashed: MemoryFolder, before: Running, rng: random.Random, *, goes_on: bool) -> None:
    """What a power cut left opens with all that was acknowledged; with `goes_on`, a second one does, too."""
    found = JournalFiles(crashed, "0.1.0").open(now=2e9, remembered=None, progress=lambda text: None)
    assert found.damage == ()
    assert found.version >= before.acknowledged
    assert state_of(found.records) == before.world.states[found.version]
    if goes_on:
        again = Running(crashed, world=_at(World(), before.world, found.version))
        again.step()
        assert again.acknowledged == found.version + 1
        twice = JournalFiles(crashed.crashed(rng), "0.1.0").open(
            now=2e9, remembered=None, progress=lambda text: None
        )
        assert twice.damage == ()
        assert twice.version == found.version + 1


def _at(world: World, other: World, version: int) -> World:
    """`world` as the other one was at a version."""
    records = [(kind, record) for (kind, _), record in other.states[version].items()]
    world.registry.restore(version, records)
    world.states[version] = other.states[version]
    return world


ERRORS = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE)


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("is_sticky", [False, True])
def test_no_failing_call_is_acknowledged_and_all_of_them_are_survived(
    small_segments: None, number: int, is_sticky: bool
) -> None:
    """The nth call fails, for every n until none does; after it the disk is well again."""
    for nth in range(1, 400):
        calls = 0

        def before(call: str, nth: int = nth) -> OSError | None:
            nonlocal calls
            calls += 1
            fails = calls >= nth if is_sticky else calls == nth
            return OSError(number, f"call {calls}, {call}") if fails else None

        folder = MemoryFolder()
        running = Running(folder)
        folder.before = before
        for _ in range(12):
            for _ in range(3):
                running.world.step()
            running.tick()
            if running.world.registry.version % 9 == nth % 3 * 3:
                crashed = JournalFiles(folder.crashed(random.Random(nth)), "0.1.0")
                found = crashed.open(now=2e9, remembered=None, progress=lambda text: None)
                assert found.damage == (), (nth, found.damage)
                assert found.version >= running.acknowledged, nth
        assert running.failures == []
        is_untouched = calls < nth
        if is_sticky and not is_untouched:
            assert running.service.is_degraded or "failed" not in running.said
        folder.before = lambda call: None
        running.tick(5.0)
        assert running.acknowledged == running.world.registry.version == 36
        assert not running.service.is_degraded
        assert running.said.count("failed") == running.said.count("recovered") <= 1
        result_of(running.stop())
        assert folder.open_files == 0
        again = Running(folder)
        assert again.opened.damage == ()
        assert state_of(again.opened.records) == running.world.states[36]
        if is_untouched:
            assert nth > 30
            return
    pytest.fail("there were always more calls")


def test_a_failed_sync_is_never_tried_again_on_the_same_segment() -> None:
    folder = MemoryFolder()
    running = worked(folder, 6)
    (first,) = segments_in(folder.files)
    folder.before = lambda call: OSError(errno.EIO, "I/O error") if call == "sync" and not failed else None
    failed: list[str] = []
    original = folder.before

    def once(call: str) -> OSError | None:
        error = original(call)
        if error:
            failed.append(call)
        return error

    folder.before = once
    running.step()
    assert failed == ["sync"]
    assert running.acknowledged == 7
    assert running.told == [], "the batch went into a new segment, from memory"
    assert segments_in(folder.files) == [first, 7]


def test_what_was_readable_but_never_synced_is_written_again_before_it_counts() -> None:
    """The kernel drops what it could not write and keeps it readable: only a new write makes it durable."""
    folder = MemoryFolder()
    running = worked(folder, 6)
    folder.before = lambda call: OSError(errno.EIO, "I/O error") if call in ("sync", "create") else None
    running.step()
    assert (running.acknowledged, running.said) == (6, ["failed"])
    folder.before = lambda call: None
    again = Running(folder, world=running.world)
    assert again.opened.version == 7
    assert [frame.version for frame in again.opened.unsaved] == [7]
    assert again.service.head[0] == 6
    again.tick()
    assert again.acknowledged == 7
    survived = folder.crashed(random.Random(1))
    found = JournalFiles(survived, "0.1.0").open(now=2e9, remembered=None, progress=lambda text: None)
    assert found.version == 7


def test_the_reserve_takes_a_new_segment_when_the_disk_is_full() -> None:
    folder = MemoryFolder()
    running = worked(folder, 3)
    result_of(running.stop())
    again = Running(folder, world=running.world)
    assert RESERVE in folder.files

    refused: list[str] = []

    def full(call: str) -> OSError | None:
        if call != "allocate" or RESERVE not in folder.files:
            return None
        refused.append(call)
        return OSError(errno.ENOSPC, "no space")

    folder.before = full
    again.step()
    assert refused == ["allocate"]
    assert again.acknowledged == 4
    assert again.told == []


def test_what_fits_ahead_is_written_on_a_full_disk() -> None:
    folder = MemoryFolder()
    running = worked(folder, 3)
    folder.before = lambda call: OSError(errno.ENOSPC, "no space") if call in ("allocate", "create") else None
    for _ in range(50):
        running.step()
    assert running.acknowledged == 53
    assert running.told == []


def test_old_segments_go_and_new_ones_stay(small_segments: None) -> None:
    folder = MemoryFolder()
    running = Running(folder, keep_s=3600.0)
    for _ in range(20):
        for _ in range(10):
            running.world.step()
        running.tick()
        running.clock.step_wall(600.0)
    firsts, snapshots = segments_in(folder.files), snapshots_in(folder.files)
    assert firsts[0] > 1
    assert snapshots[-2] >= firsts[0] - 1
    again = Running(folder, world=running.world)
    assert (again.opened.version, again.opened.damage) == (200, ())


def test_what_was_left_unfinished_is_cleared_away() -> None:
    folder = MemoryFolder()
    folder.create("journal-00000000000000000009.seg.new")
    Running(folder)
    assert list(folder.files) == []


def test_damage_is_set_aside_and_told_once() -> None:
    folder = MemoryFolder()
    running = worked(folder, 40)
    (name,) = (name for name in folder.files if name.endswith(".seg"))
    folder.files[name].content[2000] ^= 1
    damaged = bytes(folder.files[name].content)
    again = Running(folder, world=running.world)
    assert len(again.opened.damage) == 2
    (aside,) = (other for other in folder.files if ".damaged-" in other)
    assert bytes(folder.files[aside].content) == damaged
    assert again.opened.version == 40
    again.step()
    assert len(snapshots_in(folder.files)) == 1, "the next opening need not make sense of the damage"
    third = Running(folder, world=running.world)
    assert (third.opened.version, third.opened.damage) == (41, ())


def test_damage_that_cannot_be_set_aside_is_told_all_the_same() -> None:
    folder = MemoryFolder()
    worked(folder, 10)
    (name,) = (name for name in folder.files if name.endswith(".seg"))
    folder.files[name].content[700] ^= 1
    folder.before = lambda call: OSError(errno.EROFS, "read-only") if call in ("keep_as", "create") else None
    again = Running(folder)
    assert again.opened.version == 10
    assert "could not be set aside" in again.opened.damage[-1]

"""The journal as a service: batches, waiting, failing and going on, reading, closing."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from msgspec.structs import replace

from droned.errors import NotNow, TooLarge
from droned.journal.segments import segments_in, snapshots_in
from droned.models.records import InstanceRecord
from droned.services import journal as journals
from droned.services.journal import journal_plugin
from tests.fakes.pools import HeldPool, InlinePool
from tests.journal.commits import state_of
from tests.journal.folders import MemoryFolder
from tests.journal.running import Running
from tests.services.spine import result_of


class SwitchablePool(HeldPool):
    """Works at once while the journal is opened and holds everything back afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.is_held = False
        self.inline = InlinePool()

    def run(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        return super().run(call, *args, **kwargs) if self.is_held else self.inline.run(call, *args, **kwargs)


@pytest.fixture
def folder() -> MemoryFolder:
    return MemoryFolder()


def failing(number: int, *calls: str) -> Any:
    return lambda call: OSError(number, "no such luck") if call in calls else None


def test_what_is_committed_in_one_turn_is_one_batch(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.world.steps(5)
    assert running.durable == []
    running.clock.advance(0)
    assert running.durable == [(5, running.service.head[1])]
    assert running.service.figures["batches"] == 1
    assert running.service.note == "on disk up to version 5"


def test_a_batch_begins_ten_milliseconds_after_the_one_before(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.step()
    running.tick()
    began = running.clock.mono()
    running.world.step()
    running.clock.advance(0)
    running.world.step()
    assert running.acknowledged == 2, "after a pause the first one goes at once"
    running.clock.advance(0.009)
    assert running.acknowledged == 2
    running.clock.advance(0.002)
    assert running.acknowledged == 3
    assert running.clock.mono() - began >= journals.BATCH_PAUSE_S


def test_one_batch_is_in_flight_and_nothing_is_told_before_it_landed(folder: MemoryFolder) -> None:
    pool = SwitchablePool()
    running = Running(folder, pool=pool)
    pool.is_held = True
    running.world.step()
    waiting = running.service.when_durable(1)
    running.tick()
    running.world.steps(3)
    running.tick(1.0)
    assert len(pool.held) == 1
    assert not waiting.called
    pool.release()
    assert result_of(waiting) is True
    assert running.acknowledged == 1
    running.tick()
    assert len(pool.held) == 1
    pool.release()
    assert running.acknowledged == 4


def test_whoever_waits_for_what_is_on_disk_is_answered_at_once(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.step()
    assert result_of(running.service.when_durable(1)) is True


def test_who_went_away_is_not_answered(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.world.step()
    waiting = running.service.when_durable(1)
    waiting.addErrback(lambda failure: None)
    waiting.cancel()
    running.tick()
    assert running.acknowledged == 1


def test_a_listener_can_leave(folder: MemoryFolder) -> None:
    running = Running(folder)
    heard: list[int] = []
    leave = running.service.on_durable(lambda version, digest: heard.append(version))
    running.step()
    leave()
    running.step()
    assert heard == [1]


def test_a_disk_that_fails_is_told_once_and_tried_again_each_second(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.step()
    folder.before = failing(errno.EIO, "write", "create")
    running.world.step()
    waiting = running.service.when_durable(2)
    running.tick()
    assert result_of(waiting) is False
    assert running.service.is_degraded
    assert "cannot write: [Errno 5] no such luck; 1 records wait" in running.service.note
    running.world.steps(10)
    assert result_of(running.service.when_durable(3)) is False
    running.tick(5.0)
    assert running.said == ["failed"]
    assert running.acknowledged == 1
    folder.before = failing(0)
    running.tick(1.1)
    assert running.said == ["failed", "recovered"]
    assert running.acknowledged == 12
    assert not running.service.is_degraded


def test_a_commit_made_on_recovery_is_written_too(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.step()
    running.on_recovery = lambda: running.world.steps(1)
    folder.before = failing(errno.EIO, "write", "create")
    running.step()
    folder.before = failing(0)
    running.tick(1.1)
    assert running.acknowledged == 3


def test_too_many_waiting_records_become_a_snapshot_and_a_hole_that_is_told(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.journal.queue.QUEUE_RECORDS", 20)
    running = Running(folder)
    running.step()
    folder.before = failing(errno.ENOSPC, "write", "create")
    for _ in range(50):
        running.step()
    assert running.service.figures["queued_records"] == 0
    folder.before = failing(0)
    running.tick(1.1)
    assert running.said == ["failed", "damaged", "recovered"]
    assert "versions 2 to 51 are not in the journal" in running.told[1][1]
    assert running.acknowledged == 51
    running.step()
    again = Running(folder, world=running.world)
    assert (again.opened.version, again.opened.damage) == (52, ())
    assert state_of(again.opened.records) == running.world.states[52]
    again.tick()
    assert [record["version"] for record in result_of(again.service.read(0, None))] == [1, 52]


def test_what_cannot_be_written_down_is_covered_by_a_snapshot(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.step()
    odd = running.world.commit(
        [("instance", "x/0", InstanceRecord(key="x/0", app="x", label="0"))], given=("x/0", "Odd", {"x": 1j})
    )
    waiting = running.service.when_durable(odd.version)
    running.tick()
    assert result_of(waiting) is True
    assert running.said == ["damaged"]
    running.step()
    again = Running(folder, world=running.world)
    assert again.opened.damage == ()
    assert state_of(again.opened.records) == running.world.states[3]


@pytest.mark.parametrize("is_file_only", [False, True])
def test_files_that_were_deleted_are_noticed_and_the_journal_begins_again(
    folder: MemoryFolder, is_file_only: bool
) -> None:
    running = Running(folder)
    for _ in range(30):
        running.step()
    if is_file_only:
        folder.remove("journal-00000000000000000001.seg")
    else:
        folder.is_gone = True
    running.world.step()
    waiting = running.service.when_durable(31)
    running.tick()
    assert result_of(waiting) is False
    assert running.service.is_degraded
    running.tick(1.1)
    assert running.said == ["failed", "damaged", "recovered"]
    running.step()
    again = Running(folder, world=running.world)
    assert (again.opened.version, again.opened.damage) == (32, ())
    assert state_of(again.opened.records) == running.world.states[32]


def test_an_order_that_the_pool_refuses_is_a_failed_attempt(folder: MemoryFolder) -> None:
    class RefusingPool(InlinePool):
        is_full = False

        def run(self, call: Any, *args: Any, **kwargs: Any) -> Any:
            if self.is_full:
                raise NotNow("cannot run work in the pool journal: it is full")
            return super().run(call, *args, **kwargs)

    pool = RefusingPool()
    running = Running(folder, pool=pool)
    pool.is_full = True
    running.step()
    assert running.said == ["failed"]
    pool.is_full = False
    running.tick(1.1)
    assert running.acknowledged == 1


def test_a_snapshot_is_written_when_it_is_due_and_at_the_end(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.journal.segments.SNAPSHOT_RECORDS", 10)
    running = Running(folder)
    for _ in range(25):
        running.step()
    assert snapshots_in(folder.files) == [10, 20]
    result_of(running.stop())
    assert snapshots_in(folder.files) == [20, 25]
    assert running.clock.pending == 0


def test_a_snapshot_that_does_not_fit_stops_nothing(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.journal.segments.SNAPSHOT_RECORDS", 10)
    running = Running(folder)
    running.step()
    folder.before = failing(errno.ENOSPC, "create")
    for _ in range(20):
        running.step()
    assert running.acknowledged == 21
    assert running.told == []
    assert snapshots_in(folder.files) == []


def test_a_stop_writes_what_waits_first(folder: MemoryFolder) -> None:
    pool = SwitchablePool()
    running = Running(folder, pool=pool)
    pool.is_held = True
    running.world.step()
    running.tick()
    running.world.step()
    waiting = running.service.when_durable(2)
    stopped = running.stop()
    while pool.held:
        pool.release()
    result_of(stopped)
    assert result_of(waiting) is True
    assert running.clock.pending == 0
    running.world.step()
    assert result_of(running.service.when_durable(3)) is False
    pool.is_held = False
    again = Running(folder)
    assert (again.opened.version, again.opened.unsaved, again.opened.damage) == (2, (), ())


def test_a_stop_on_a_failing_disk_ends(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.step()
    folder.before = failing(errno.EIO, "write", "create", "sync")
    running.world.step()
    waiting = running.service.when_durable(2)
    result_of(running.stop())
    assert result_of(waiting) is False
    assert running.clock.pending == 0
    result_of(running.service.close())


def test_records_are_read_by_version_and_by_what_they_contain(folder: MemoryFolder) -> None:
    running = Running(folder)
    for _ in range(60):
        running.step()
    read = running.service.read
    assert [record["version"] for record in result_of(read(10, 13))] == [11, 12, 13]
    assert [record["version"] for record in result_of(read(58, None))] == [59, 60]
    about = list(result_of(read(0, None, '"web1/0"')))
    assert about
    assert all('"web1/0"' in str(record).replace("'", '"') for record in about)
    latest = result_of(running.service.latest(3, '"web1/0"'))
    assert latest == about[-3:]
    assert len(result_of(running.service.latest(1000))) == 60


def test_reading_comes_in_slices_and_has_a_bound(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.drivers.journal_history._SLICE_BYTES", 1000)
    monkeypatch.setattr("droned.drivers.journal_files.SEGMENT_BYTES", 5000)
    running = Running(folder)
    for _ in range(60):
        running.step()
    assert len(segments_in(folder.files)) > 3
    assert [record["version"] for record in result_of(running.service.read(0, None))] == list(range(1, 61))
    assert [record["version"] for record in result_of(running.service.latest(30))] == list(range(31, 61))
    monkeypatch.setattr(journals, "MOST_RECORDS_READ", 50)
    with pytest.raises(TooLarge, match="cannot read more than 50 records"):
        result_of(running.service.read(0, None))


def test_old_segments_are_verified_in_the_background(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.drivers.journal_files.SEGMENT_BYTES", 5000)
    running = Running(folder)
    for _ in range(60):
        running.step()
    result_of(running.stop())
    sound = Running(folder, world=running.world)
    sound.tick(65.0)
    assert sound.told == []
    folder.files["journal-00000000000000000001.seg"].content[1500] ^= 4
    again = Running(folder, world=running.world)
    assert again.opened.damage == ()
    again.tick(65.0)
    assert again.said == ["damaged"]
    assert again.told[0][1].startswith("journal-00000000000000000001.seg: version")


def test_what_this_daemon_has_written_itself_is_not_read_again(
    folder: MemoryFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.drivers.journal_files.SEGMENT_BYTES", 5000)
    running = Running(folder)
    for _ in range(60):
        running.step()
    folder.files["journal-00000000000000000001.seg"].content[1500] ^= 4
    running.tick(65.0)
    assert running.told == []


def test_a_repaired_journal_passes_the_check(folder: MemoryFolder) -> None:
    running = Running(folder)
    for _ in range(30):
        running.step()
    folder.files["journal-00000000000000000001.seg"].content[1500] ^= 4
    again = Running(folder, world=running.world)
    assert again.opened.damage
    again.step()
    again.tick(65.0)
    assert again.told == []


def test_the_service_is_a_plugin(folder: MemoryFolder) -> None:
    running = Running(folder)
    plugin = journal_plugin(running.service)
    assert (plugin.name, plugin.needs, plugin.check(None)) == ("journal", (), [])
    assert plugin.make(None) is running.service


def test_a_skipped_commit_is_covered_by_a_snapshot(folder: MemoryFolder) -> None:
    running = Running(folder)
    running.step()
    running.service.append(replace(running.world.commits[0], version=5))
    running.tick()
    assert running.said == ["damaged"]

"""Records that wait: chained, bounded, given out and taken back."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from droned.journal import queue as queues
from droned.journal.format import GENESIS, read_frames
from droned.journal.queue import Queue, framed
from tests.journal.commits import World


def filled(count: int) -> tuple[Queue, World]:
    world = World()
    queue = Queue(0, GENESIS)
    for commit in world.steps(count):
        queue.take(commit)
    return queue, world


def test_a_batch_is_a_chain_whose_first_frame_begins_it() -> None:
    queue, _ = filled(5)
    entries = queue.hand_out()
    frames = read_frames(framed(entries)).frames
    assert [frame.kind for frame in frames] == [b"B", b"R", b"R", b"R", b"R"]
    assert [frame.previous for frame in frames[1:]] == [entry.digest for entry in entries[:-1]]
    assert queue.digest == entries[-1].digest


def test_what_could_not_be_written_is_the_beginning_of_the_next_batch() -> None:
    queue, world = filled(3)
    size = queue.size_bytes
    first = queue.hand_out()
    assert (len(queue), queue.is_empty, queue.size_bytes) == (3, True, 0)
    queue.take(world.step())
    queue.put_back()
    assert (len(queue), queue.is_empty) == (4, False)
    assert queue.size_bytes > size
    assert queue.hand_out()[:3] == first
    queue.is_written()
    assert (len(queue), queue.size_bytes) == (0, 0)


def test_batches_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    queue, _ = filled(10)
    monkeypatch.setattr(queues, "LARGEST_BATCH", 1)
    assert len(queue.hand_out()) == 1
    queue.is_written()
    assert len(queue.hand_out()) == 1


@pytest.mark.parametrize(("limit", "value"), [("QUEUE_RECORDS", 3), ("QUEUE_BYTES", 1000)])
def test_beyond_its_bound_everything_is_given_up(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(queues, limit, value)
    queue, world = filled(6)
    assert queue.given_up is not None
    assert "memory" in queue.given_up
    assert (len(queue), queue.size_bytes, queue.version) == (0, 0, 6)
    queue.take(world.step())
    assert len(queue) == 0
    assert "memory" in queue.begin_again()
    monkeypatch.undo()
    queue.take(world.step())
    assert [entry.version for entry in queue.hand_out()] == [8]


def test_a_commit_that_cannot_be_written_down_is_given_up_with_its_reason() -> None:
    queue, world = filled(2)
    queue.take(replace(world.step(), given=("web/0", "Odd", {"x": 1j})))
    assert queue.given_up == "version 3 cannot be written down: cannot journal a value of type complex"


def test_a_commit_that_was_skipped_is_noticed() -> None:
    queue, world = filled(2)
    world.step()
    queue.take(world.step())
    assert queue.given_up == "version 3 was never given to the journal"


def test_a_version_that_was_taken_is_not_taken_twice() -> None:
    queue, world = filled(2)
    queue.take(world.commits[-1])
    assert len(queue) == 2

"""Names, sizes and retention; snapshots as bytes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.errors import JournalDamaged
from droned.journal.format import GENESIS, STEP_BYTES, frame_at, pack
from droned.journal.records import UnknownContent, typed_records
from droned.journal.segments import (
    AHEAD_BYTES,
    SNAPSHOT_BYTES,
    SNAPSHOT_RECORDS,
    Kept,
    allocation,
    aside_name,
    is_snapshot_due,
    read_head,
    segment_name,
    segments_in,
    segments_to_delete,
    snapshot_name,
    snapshots_in,
    snapshots_to_delete,
)
from droned.journal.snapshots import SnapshotHead, decode_snapshot, encode_snapshot, release_of
from tests.journal.commits import World, state_of

DAY = 86400.0
HEAD = SnapshotHead(version=30, digest=b"d" * 16, release="0.1.0", at=1e9)


@given(st.integers(0, 2**63 - 1))
def test_names_are_read_back(version: int) -> None:
    names = [segment_name(version), snapshot_name(version), "reserve", segment_name(version) + ".new"]
    assert segments_in(names) == [version]
    assert snapshots_in(names) == [version]


def test_foreign_names_are_no_segments() -> None:
    names = [
        "journal-1.seg",
        "journal-99999999999999999999.seg",
        aside_name(segment_name(1), "damaged", 0.0),
        "",
    ]
    assert segments_in(names) == []
    assert aside_name("x", "damaged", 1.5) == "x.damaged-19700101T000001.500Z"


@given(st.integers(0, 1 << 30))
def test_space_is_allocated_ahead_in_whole_steps(used: int) -> None:
    assert allocation(used) - used >= AHEAD_BYTES
    assert allocation(used) % STEP_BYTES == 0


def test_a_snapshot_is_due_by_records_and_by_bytes() -> None:
    assert not is_snapshot_due(SNAPSHOT_RECORDS - 1, SNAPSHOT_BYTES - 1)
    assert is_snapshot_due(SNAPSHOT_RECORDS, 0)
    assert is_snapshot_due(0, SNAPSHOT_BYTES)


def test_retention_lets_old_segments_go_that_two_snapshots_cover() -> None:
    segments = [
        Kept(first=first, began=day * DAY) for first, day in ((1, 0), (100, 10), (200, 20), (300, 30))
    ]
    assert segments_to_delete(segments, [150, 250], 5 * DAY, 31 * DAY) == [1]
    assert segments_to_delete(segments, [250, 350], 5 * DAY, 31 * DAY) == [1, 100]
    assert segments_to_delete(segments, [350, 360], 5 * DAY, 31 * DAY) == [1, 100]
    assert segments_to_delete(segments, [350, 360], 90 * DAY, 31 * DAY) == []
    assert segments_to_delete(segments, [350], 5 * DAY, 31 * DAY) == []
    assert segments_to_delete([], [1, 2], 0.0, 1e12) == []


@given(
    st.lists(st.integers(1, 500), min_size=1, unique=True).map(sorted),
    st.lists(st.integers(1, 600), max_size=9, unique=True).map(sorted),
    st.floats(0, 100),
)
def test_retention_never_takes_what_the_newest_two_snapshots_need(
    firsts: list[int], snapshots: list[int], keep_s: float
) -> None:
    segments = [Kept(first=first, began=float(first)) for first in firsts]
    gone = segments_to_delete(segments, snapshots, keep_s, 1000.0)
    left = [first for first in firsts if first not in gone]
    assert left
    kept = [version for version in snapshots if version not in snapshots_to_delete(left, snapshots)]
    assert kept[-2:] == snapshots[-2:]
    if gone:
        assert len(kept) >= 2
        assert left[0] <= kept[-2] + 1


def test_of_older_snapshots_one_a_segment_stays() -> None:
    assert snapshots_to_delete([100, 200], [50, 90, 150, 180, 250, 260, 270]) == [50, 150, 250]


def test_a_snapshot_comes_back() -> None:
    world = World()
    world.steps(30)
    content = b"".join(encode_snapshot(world.registry.snapshot(), HEAD))
    head, state = decode_snapshot(content)
    assert head == HEAD
    assert state_of(tuple(typed_records(state))) == world.states[30]
    assert release_of(content) == "0.1.0"


def test_no_changed_byte_and_no_missing_end_of_a_snapshot_goes_unseen() -> None:
    world = World()
    world.steps(5)
    content = b"".join(encode_snapshot(world.registry.snapshot(), HEAD))
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        with pytest.raises(JournalDamaged):
            decode_snapshot(bytes(changed))
        with pytest.raises(JournalDamaged):
            decode_snapshot(content[:at])
    with pytest.raises(JournalDamaged):
        decode_snapshot(content + b"\n")


@given(st.binary(max_size=300))
def test_any_bytes_are_no_snapshot(content: bytes) -> None:
    with pytest.raises(JournalDamaged):
        decode_snapshot(content)
    assert release_of(content)


def test_a_snapshot_of_another_format_is_another_releases() -> None:
    body = b'{"format":2,"release":"9.0"}\n'
    content = body + b'{"sha256":"%s"}\n' % hashlib.sha256(body).hexdigest().encode()
    with pytest.raises(UnknownContent, match="format 2"):
        decode_snapshot(content)
    assert release_of(content) == "9.0"


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{}", b'{"release":1,"began":"x","has_holes":0}'])
def test_a_head_without_its_shape_is_damage(payload: bytes) -> None:
    frame = frame_at(pack(b"S", 1, GENESIS, payload), 0)
    assert frame is not None
    with pytest.raises(JournalDamaged):
        read_head(frame)

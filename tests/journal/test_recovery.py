"""Opening a journal from bytes: what holds, what is cut, what is damage."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droned.errors import CannotRun
from droned.journal.codec import encode
from droned.journal.format import GENESIS, KIND_BATCH, KIND_END, STEP_BYTES, digest_of, pack, used_bytes
from droned.journal.recovery import Opened, Recovery
from droned.journal.segments import (
    SNAPSHOT_RECORDS,
    SegmentHead,
    pack_head,
    segment_name,
    segments_in,
    snapshots_in,
)
from droned.journal.snapshots import SnapshotHead, encode_snapshot
from tests.journal.commits import World, segment_of, state_of

Remembered = tuple[int, str] | None


def opened(files: dict[str, bytes], remembered: Remembered = None, release: str = "0.1.0") -> Opened:
    """What the driver does, over files that are just bytes."""
    recovery = Recovery(release=release, now=2e9, remembered=remembered)
    for version in reversed(snapshots_in(files)):
        if recovery.take_snapshot(version, files[f"snapshot-{version:020d}.json"]):
            break
    firsts = recovery.segments_needed(segments_in(files))
    for index, first in enumerate(firsts):
        following = firsts[index + 1] if index + 1 < len(firsts) else None
        recovery.take_segment(first, files[segment_name(first)], following)
    return recovery.finish()


def repaired(files: dict[str, bytes], found: Opened) -> dict[str, bytes]:
    """The files after the repairs that were asked for."""
    files = dict(files)
    for repair in found.repairs:
        if repair.content is None:
            del files[repair.name]
        else:
            files[repair.name] = repair.content
    return files


def sealed(content: bytes, version: int, digest: bytes) -> bytes:
    return content[: used_bytes(content)] + pack(KIND_END, version, digest, b"")


def snapshot_of(world: World, digest: bytes) -> bytes:
    head = SnapshotHead(version=world.registry.version, digest=digest, release="0.1.0", at=1e9)
    return b"".join(encode_snapshot(world.registry.snapshot(), head))


class Journal:
    """A world of 30 steps in two segments, 1-12 and 13-30, with a snapshot at 20."""

    def __init__(self) -> None:
        self.world = World()
        first = self.world.steps(12)
        one, digests = segment_of(first)
        second = self.world.steps(8)
        self.files = {segment_name(1): one[: used_bytes(one)]}
        snapshot = self.world.registry.snapshot()
        third = self.world.steps(10)
        self.two, more = segment_of(second + third, previous=digests[-1])
        self.digests = [GENESIS, *digests, *more]
        head = SnapshotHead(version=20, digest=self.digests[20], release="0.1.0", at=1e9)
        self.snapshot = b"".join(encode_snapshot(snapshot, head))
        self.files[segment_name(13)] = self.two

    def with_snapshot(self) -> dict[str, bytes]:
        return {**self.files, "snapshot-00000000000000000020.json": self.snapshot}


@pytest.fixture(scope="module")
def journal() -> Journal:
    return Journal()


def test_no_files_are_an_empty_journal() -> None:
    found = opened({})
    assert (found.version, found.digest, found.records, found.damage) == (0, GENESIS, (), ())


def test_a_sound_journal_is_opened_as_it_was(journal: Journal) -> None:
    for files in (journal.files, journal.with_snapshot()):
        found = opened(files)
        assert (found.version, found.digest) == (30, journal.digests[30])
        assert (found.damage, found.notes, found.repairs) == ((), (), ())
        assert state_of(found.records) == journal.world.states[30]
        assert found.events[-1] == journal.world.commits[-1].events[-1]


def test_the_last_batch_of_an_open_journal_has_to_be_written_again(journal: Journal) -> None:
    """It may be in the page cache only, after a failed sync or a kill before it."""
    assert [frame.version for frame in opened(journal.files).unsaved] == [29, 30]
    closed = {**journal.files, segment_name(13): sealed(journal.two, 30, journal.digests[30])}
    assert opened(closed).unsaved == ()
    assert opened(journal.files, (30, journal.digests[30].hex())).unsaved == ()


def test_the_later_segment_has_the_say_on_a_version_that_two_hold(journal: Journal) -> None:
    """A batch whose sync failed stands in the given-up segment as well, in whatever state."""
    world = journal.world
    one, digests = segment_of(world.commits[:16])
    two, _ = segment_of(world.commits[12:30], previous=digests[11])
    used = used_bytes(one)
    for broken in (one, one[: used - 700] + bytes(100) + one[used - 600 :], one[: used - 300]):
        found = opened({segment_name(1): broken, segment_name(13): two})
        assert found.damage == ()
        assert state_of(found.records) == world.states[30]


def check_flip(journal: Journal, files: dict[str, bytes], whole: int) -> Opened:
    """What holds for any damage: it is told, nothing is invented, and it is told once."""
    found = opened(files)
    assert found.damage or found.notes
    again = opened(repaired(files, found))
    assert again.damage == ()
    assert again.version >= found.version if found.damage else again.version == found.version
    assert state_of(again.records) == state_of(found.records)
    if found.version == whole and not found.damage:
        assert state_of(found.records) == journal.world.states[whole]
    return found


def test_every_changed_byte_of_a_small_journal_is_detected() -> None:
    """Exhaustive: each byte of each frame, of a journal that is open and of one that was closed."""
    world = World()
    content, digests = segment_of(world.steps(3), batch=2)
    rng = random.Random(1)
    for form in (content[:STEP_BYTES], sealed(content, 3, digests[-1])):
        for at in range(0, used_bytes(form), 1 if len(form) < STEP_BYTES else 3):
            changed = bytearray(form)
            changed[at] ^= 1 << rng.randrange(8)
            found = opened({segment_name(1): bytes(changed)})
            assert found.damage, at
            assert found.replayed >= 2, "one changed byte costs one record"
            (repair,) = found.repairs
            assert opened({segment_name(1): repair.content or b""}).damage == ()


def test_every_truncation_of_a_small_journal_is_detected() -> None:
    world = World()
    world.steps(4)
    content, digests = segment_of(world.commits, batch=2)
    for form in (content, sealed(content, 4, digests[-1])):
        for size in [*range(used_bytes(form)), used_bytes(content) + 1, len(content) - 1]:
            if size < len(form):
                found = opened({segment_name(1): form[:size]})
                assert found.damage, size
                assert state_of(found.records) == world.states[found.replayed]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_any_changed_byte_anywhere_is_detected_and_told_once(data: st.DataObject) -> None:
    journal = JOURNAL
    files = journal.with_snapshot() if data.draw(st.booleans()) else dict(journal.files)
    name = data.draw(st.sampled_from(sorted(files)))
    if len(files) == 3 and name == segment_name(1):
        name = segment_name(13)  # what is older than the snapshot is checked later, in the background
    content = bytearray(files[name])
    at = data.draw(st.integers(0, used_bytes(bytes(content)) - 1))
    content[at] ^= data.draw(st.integers(1, 255).filter(lambda bits: content[at] ^ bits != 0))
    files[name] = bytes(content)
    found = check_flip(journal, files, 30)
    assert found.damage


JOURNAL = Journal()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=400), min_size=1, max_size=3), st.booleans(), st.integers(0, 40))
def test_no_bytes_whatever_raise(contents: list[bytes], with_snapshot: bool, known: int) -> None:
    files = {segment_name(index * 10 + 1): content for index, content in enumerate(contents)}
    if with_snapshot:
        files["snapshot-00000000000000000020.json"] = JOURNAL.snapshot
    found = opened(files, (known, "00" * 16) if known else None)
    assert found.damage
    assert found.version >= known
    assert opened(repaired(files, found)).damage == ()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 9000), st.binary(min_size=1, max_size=600))
def test_no_overwritten_range_raises_or_is_missed(at: int, junk: bytes) -> None:
    used = used_bytes(JOURNAL.two)
    at = min(at, used - len(junk))
    changed = JOURNAL.two[:at] + junk + JOURNAL.two[at + len(junk) :]
    if changed != JOURNAL.two:
        check_flip(JOURNAL, {**JOURNAL.files, segment_name(13): changed}, 30)


def torn(content: bytes, start: int) -> bytes:
    """`content` as a crash left it that came when `start` bytes of the file had been written."""
    return content[: start // 512 * 512].ljust(len(content), b"\0")


def test_a_torn_tail_is_cut_and_is_no_damage(journal: Journal) -> None:
    used = used_bytes(journal.two)
    found = opened({**journal.files, segment_name(13): torn(journal.two, used - 10)})
    assert (found.damage, found.repairs) == ((), ())
    assert len(found.notes) == 1
    assert 28 <= found.version < 30
    assert state_of(found.records) == journal.world.states[found.version]


def test_a_torn_tail_that_somebody_remembers_is_damage(journal: Journal) -> None:
    content = torn(journal.two, used_bytes(journal.two) - 10)
    found = opened({**journal.files, segment_name(13): content}, (30, journal.digests[30].hex()))
    assert found.damage
    assert found.version == 30, "no version is used twice"
    again = opened(repaired({**journal.files, segment_name(13): content}, found))
    assert again.damage == ()


def test_a_head_below_the_remembered_one_is_damage(journal: Journal) -> None:
    files = {segment_name(1): segment_of(journal.world.commits[:12])[0]}
    found = opened(files, (30, journal.digests[30].hex()))
    assert found.damage == ("the records of versions 13 to 30 are missing",)
    assert found.version == 30
    assert state_of(found.records) == journal.world.states[12]
    again = opened(repaired(files, found), (30, journal.digests[30].hex()))
    assert (again.version, again.damage) == (30, ())


def test_another_history_than_the_remembered_one_is_damage(journal: Journal) -> None:
    found = opened(journal.files, (25, "00" * 16))
    assert "the one that the guardian remembers" in found.damage[0]
    assert state_of(found.records) == journal.world.states[30]


def test_a_missing_segment_is_told_and_what_follows_still_counts(journal: Journal) -> None:
    files = {segment_name(13): journal.two}
    found = opened(files)
    assert "the records of versions 1 to 12 are missing" in found.damage
    assert found.version == 30
    assert opened(repaired(files, found)).damage == ()


def test_a_hole_in_the_middle_keeps_every_other_record(journal: Journal) -> None:
    start = journal.two.index(b'"version":18')
    changed = journal.two[:start] + b"!" + journal.two[start + 1 :]
    found = opened({**journal.files, segment_name(13): changed})
    assert found.version == 30
    assert len(found.events) == 29
    assert "out of date: instance" in found.damage[-1]
    assert state_of(found.records).keys() == journal.world.states[30].keys()


def test_a_damaged_snapshot_is_set_aside_and_the_one_before_counts(journal: Journal) -> None:
    files = journal.with_snapshot()
    files["snapshot-00000000000000000025.json"] = b"{}"
    found = opened(files)
    assert found.version == 30
    assert found.replayed == 10
    assert [repair.content for repair in found.repairs] == [None]
    assert state_of(found.records) == journal.world.states[30]


def test_a_snapshot_alone_still_gives_the_state(journal: Journal) -> None:
    files = {"snapshot-00000000000000000020.json": journal.snapshot}
    found = opened(files)
    assert found.version == 20
    assert found.damage == ("the records of versions 1 to 20 are missing",)
    assert state_of(found.records) == journal.world.states[20]
    assert opened(repaired(files, found)).damage == ()


def of_another_release(content: bytes, release: str = "9.9") -> dict[str, bytes]:
    head = SegmentHead(first=1, previous=GENESIS, release=release, began=1e9)
    whole = pack_head(head) + pack(KIND_BATCH, 1, GENESIS, content)
    whole += pack(KIND_END, 1, digest_of(GENESIS, 1, content), b"")
    return {segment_name(1): whole}


def test_what_another_release_wrote_is_refused_with_its_name() -> None:
    moment = {"wall": 1.0, "mono": 1.0, "draw": 0.5}
    base = {"version": 1, "moment": moment, "actor": "x", "cause": 0, "input": None, "events": []}
    for changes in (
        [{"kind": "peer", "key": "a", "record": {}}],
        [{"kind": "instance", "key": "a", "record": {"key": "a", "app": "a", "label": "0", "mood": 1}}],
        [{"kind": "instance", "key": "a", "record": {"key": "a", "app": "a", "label": "0", "state": "new"}}],
    ):
        with pytest.raises(CannotRun, match=r"cannot read .*9\.9"):
            opened(of_another_release(encode({**base, "changes": changes})))


def test_a_format_of_another_release_is_refused() -> None:
    said = {"format": 2, "release": "9.9", "began": 1.0, "has_holes": False}
    content = pack(b"S", 1, GENESIS, encode(said)).ljust(STEP_BYTES, b"\0")
    with pytest.raises(CannotRun, match=r"droned 9\.9 and holds format 2"):
        opened({segment_name(1): content})


def test_what_stands_between_two_snapshots_is_replayed_quickly() -> None:
    """It takes 0.1 s; the bound leaves room for a busy host."""
    world = World()
    content, _ = segment_of(world.steps(SNAPSHOT_RECORDS), batch=50)
    began = time.perf_counter()
    found = opened({segment_name(1): content})
    assert time.perf_counter() - began < 2.0
    assert found.version == found.replayed == SNAPSHOT_RECORDS

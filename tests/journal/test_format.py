"""Frames: what was written is read, and no changed byte goes unseen."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from droned.journal.format import (
    GENESIS,
    HEADER_BYTES,
    KIND_BATCH,
    KIND_RECORD,
    digest_of,
    frame_at,
    is_torn,
    pack,
    read_frames,
)

PAYLOADS = st.lists(st.binary(max_size=700).map(lambda content: content + b"}"), min_size=1, max_size=8)


def frames_of(payloads: list[bytes]) -> bytes:
    previous, parts = GENESIS, []
    for version, payload in enumerate(payloads, 1):
        parts.append(pack(KIND_RECORD, version, previous, payload))
        previous = digest_of(previous, version, payload)
    return b"".join(parts)


@given(PAYLOADS, st.integers(0, 3000))
def test_frames_are_read_as_they_were_written(payloads: list[bytes], zeros: int) -> None:
    content = frames_of(payloads) + bytes(zeros)
    readable = read_frames(content)
    assert [frame.payload for frame in readable.frames] == payloads
    assert readable.bad == ()


@given(PAYLOADS, st.data())
def test_a_changed_byte_costs_its_frame_and_no_other(payloads: list[bytes], data: st.DataObject) -> None:
    content = bytearray(frames_of(payloads))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    readable = read_frames(bytes(content))
    assert len(readable.bad) == 1
    assert readable.bad[0][0] <= at
    ends = [0]
    for payload in payloads:
        ends.append(ends[-1] + HEADER_BYTES + len(payload))
    hit = next(index for index, end in enumerate(ends[1:]) if at < end)
    assert [frame.version for frame in readable.frames] == [
        index + 1 for index in range(len(payloads)) if index != hit
    ]


@given(st.binary(max_size=5000))
@settings(max_examples=300)
def test_any_bytes_can_be_read(content: bytes) -> None:
    readable = read_frames(content)
    assert all(frame_at(content, frame.start) == frame for frame in readable.frames)


def test_a_file_full_of_beginnings_is_read_in_bounded_time() -> None:
    """The search for the next good frame has a budget."""
    content = (b"\xd7\x4a\x4eR" + (60_000).to_bytes(4, "little")) * 200_000
    assert read_frames(content).frames == ()


def torn_at(content: bytes, lost: set[int]) -> bytes:
    """`content` with some of its sectors never written."""
    parts = [
        bytes(512) if index in lost else content[index * 512 : index * 512 + 512]
        for index in range(-(-len(content) // 512))
    ]
    return b"".join(parts)


@given(st.integers(1, 1500), st.integers(40, 3000), st.data())
def test_a_write_without_all_its_sectors_looks_torn(before: int, length: int, data: st.DataObject) -> None:
    start = HEADER_BYTES + before
    content = pack(KIND_BATCH, 1, GENESIS, b"x" * before) + pack(KIND_BATCH, 2, GENESIS, b"y" * length)
    first, last = start // 512 + 1, (len(content) - 1) // 512
    own = range(first, last + 1)  # sectors that hold nothing but the second frame
    content = content.ljust(8192, b"\0")
    if not own:
        return
    lost = data.draw(st.sets(st.sampled_from(own), min_size=1))
    broken = torn_at(content, lost)
    readable = read_frames(broken)
    assert len(readable.bad) == 1
    assert is_torn(broken, *readable.bad[0])


@given(st.integers(0, 1500), st.integers(40, 3000), st.data())
def test_a_changed_byte_does_not_look_torn(before: int, length: int, data: st.DataObject) -> None:
    start = HEADER_BYTES + before
    content = bytearray(
        pack(KIND_BATCH, 1, GENESIS, b"x" * before) + pack(KIND_BATCH, 2, GENESIS, b"y" * length)
    )
    at = data.draw(st.integers(start, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255).filter(lambda bits: content[at] ^ bits != 0))
    whole = bytes(content).ljust(8192, b"\0")
    readable = read_frames(whole)
    assert not is_torn(whole, *readable.bad[0])

"""The decisions of `droned-logs`, without a process: borders, retention, last lines, formats, the index."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.logs import format as logs_format
from droned.logs import lasts, retention
from droned.logs.border import cut
from droned.logs.formats import as_json, stamped
from droned.logs.index import Index
from droned.logs.policy import PolicyError, policy_in, policy_of
from droned.logs.shelf import Shelf
from droned.logs.streams import Instance, Segment, Stream, is_instance
from droned.logs.told import Told, read_index, take_in

TIME_US = 1_795_753_862_123_456


def stream_of(**policy: Any) -> Stream:
    return Stream(1, Instance("web/0", "/nowhere/web/0"), "stdout", policy_of(policy), 0)


# ---- borders


@given(
    st.lists(st.binary(max_size=30), max_size=40).map(b"\n".join),
    st.integers(min_value=4, max_value=60),
    st.integers(min_value=1, max_value=50),
)
def test_segments_end_with_lines_and_lose_nothing(content: bytes, size: int, chunk: int) -> None:
    """Whatever comes at once: each has its size and the rest of a line, or a quarter more."""
    segments, current, rest = [], b"", content
    while rest:
        room = size - len(current)
        if room <= 0 and (current.endswith(b"\n") or -room >= size // 4):
            segments.append(current)
            current = b""
            continue
        count, _ = cut(rest[:chunk], room, size)
        assert count > 0
        current, rest = current + rest[:count], rest[count:]
    assert b"".join(segments) + current == content
    for segment in segments:
        assert size <= len(segment) <= size + size // 4
        assert segment.endswith(b"\n") or len(segment) == size + size // 4
        assert b"\n" not in segment[size - 1 : -1]


# ---- retention


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    stream = stream_of(
        keep=draw(st.integers(0, 5)), max_age_s=draw(st.one_of(st.none(), st.integers(1, 100)))
    )
    at = 0
    for age in sorted(draw(st.lists(st.integers(1, 150), max_size=10)), reverse=True):
        stream.kept.append(Segment(stream, at, at + 10, 10, 1000.0 - age, is_compressed=False))
        at += 10
    stream.segment = stream.offset = at
    return stream


@given(streams())
def test_what_stays_is_the_newest_and_young_enough(stream: Stream) -> None:
    gone = retention.surplus(stream, 1000.0)
    left = [segment for segment in stream.kept if segment not in gone]
    assert len(left) <= stream.policy.keep
    assert stream.kept[len(gone) :] == left
    age = stream.policy.max_age_s
    assert all(age is None or segment.done_at >= 1000.0 - age for segment in left)
    if len(left) < stream.policy.keep and gone:
        assert age is not None
        assert gone[-1].done_at < 1000.0 - age


def grown(number: int, sizes: list[int], active: int) -> Stream:
    """A stream with segments of these sizes, and so much in the one that is written to."""
    stream = stream_of(keep=1000, compress=False)
    stream.number = number
    stream.instance.folder = f"/nowhere/web/{number}"
    for size in sizes:
        stream.offset += size
        stream.begin_segment(1000.0 + stream.offset)
    stream.offset += active
    return stream


@given(
    st.lists(st.tuples(st.lists(st.integers(1, 300), max_size=6), st.integers(0, 300)), max_size=6),
    st.integers(1, 2000),
)
def test_who_takes_most_pays_first(rows: list[tuple[list[int], int]], total: int) -> None:
    """Each time the largest gives its oldest; the smaller one never pays while a larger one could."""
    all_streams = [grown(number, sizes, active) for number, (sizes, active) in enumerate(rows)]
    payers = retention.Payers(all_streams)
    is_larger_spared = False
    rest = list(all_streams)
    while sum(stream.held_bytes for stream in all_streams) > total:
        having = [stream for stream in all_streams if stream.held_bytes]
        share = sum(stream.held_bytes for stream in having) / max(len(having), 1)
        stream = payers.first()
        if stream is None:
            assert is_larger_spared
            assert all(each.held_bytes < share for each in rest)
            return
        assert stream.held_bytes == max(each.held_bytes for each in rest)
        if stream.kept:
            assert stream.held_bytes >= share or not is_larger_spared
            stream.kept_bytes -= stream.kept.pop(0).bytes
            payers.paid()
        elif payers.may_cut(stream, total):
            stream.begin_segment(5000.0)
            payers.paid()
        else:
            held = sum(each.held_bytes for each in all_streams)
            assert stream.active_bytes < max(1, total // (2 * len(having))) or held <= total * 3 // 4
            rest.remove(stream)
            is_larger_spared = True
            payers.spare()


def test_the_index_is_kept_for_the_oldest_byte() -> None:
    stream = stream_of()
    stream.kept.append(Segment(stream, 50, 100, 50, 1.0, is_compressed=False))
    stream.segment, stream.offset = 100, 120
    assert retention.needs({("web/0", "stdout"): 51}, [stream])
    assert not retention.needs({("web/0", "stdout"): 50, ("web/1", "stdout"): 9}, [stream])


# ---- last lines


def test_lines_are_merged_in_the_order_of_their_ends() -> None:
    tails = [("stdout", 1, b"one\nthree\n"), ("stderr", -1, b"two\nfour")]
    lines = lasts.merged(tails, [4, -4, 6, -4])
    assert [line["line"] for line in lines] == ["one", "two", "three", "four"]
    assert [line["stream"] for line in lines] == ["stdout", "stderr", "stdout", "stderr"]


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=20)), max_size=60))
def test_last_lines_are_few_and_the_last(pieces: list[tuple[bool, bytes]]) -> None:
    texts = {1: b"", -1: b""}
    recent = []
    for is_error, piece in pieces:
        sign = -1 if is_error else 1
        texts[sign] += piece
        if piece:
            recent.append(sign * len(piece))
    lines = lasts.merged([("stdout", 1, texts[1]), ("stderr", -1, texts[-1])], recent, most_bytes=200)
    assert len(lines) <= lasts.MOST_LINES
    for name, sign in (("stdout", 1), ("stderr", -1)):
        all_lines = texts[sign].split(b"\n")
        if not all_lines[-1]:
            all_lines.pop()
        mine = [line["line"].encode("utf-8", "surrogateescape") for line in lines if line["stream"] == name]
        assert not mine or all_lines[-len(mine) :] == mine


def test_a_line_that_is_too_long_is_better_than_none() -> None:
    assert lasts.merged([("output", 1, b"x" * 500)], [], most_bytes=100) == [
        {"stream": "output", "line": "x" * 100}
    ]


def test_the_first_failure_outlives_the_newest() -> None:
    assert lasts.surplus([1, 2, 3, 4, 5, 6, 7], 1) == [2]
    assert lasts.surplus([1, 2], 0) == []


# ---- formats


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=10))
def test_every_line_gets_its_time_and_keeps_its_bytes(lines: list[bytes]) -> None:
    text = b"".join(line + b"\n" for line in lines)
    head = b"2026-11-27T04:31:02.123Z "
    assert stamped(text, TIME_US) == b"".join(head + line + b"\n" for line in lines)
    objects = [json.loads(line) for line in as_json(text, TIME_US, "web/0", 3, "stdout").splitlines()]
    assert [one["line"].encode("utf-8", "surrogateescape") for one in objects] == lines
    assert all(
        one | {"line": ""}
        == {"at": "2026-11-27T04:31:02.123Z", "instance": "web/0", "run": 3, "stream": "stdout", "line": ""}
        for one in objects
    )


def test_a_run_that_nobody_knows_is_left_out() -> None:
    assert b"run" not in as_json(b"x\n", TIME_US, "web/0", None, "stdout")


# ---- policies and names


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"format": "xml"},
        {"keep": -1},
        {"keep": 1.5},
        {"max_size": 100},
        {"max_size": "5M"},
        {"max_age_s": 0},
        {"max_age_s": float("nan")},
        {"compress": 1},
        {"when_full": "panic"},
    ],
)
def test_a_policy_that_cannot_be_is_refused(values: object) -> None:
    with pytest.raises(PolicyError, match="cannot"):
        policy_of(values)


def test_policies_that_are_alike_are_one() -> None:
    assert policy_in('{"keep": 3}') is policy_of({"keep": 3, "a key of tomorrow": 1})
    with pytest.raises(PolicyError):
        policy_in("[" * 100_000)


@pytest.mark.parametrize(
    "name", ["web", "web/0/1", "../x", "web/..", "/0", "web/", "a\0/0", "x/" + "y" * 300]
)
def test_what_is_no_name_of_an_instance(name: str) -> None:
    assert not is_instance(name)


# ---- the index


def written(folder: Path, rows: list[list[Any]]) -> Index:
    return Index(str(folder), lambda: rows, lambda: {"web/0": 3})


def test_an_index_torn_at_any_byte_tells_what_is_whole(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[1, "web/0", "stdout", 0], [2, "web/0", "stderr", 0]]
    index = written(tmp_path, rows)
    whole: list[tuple[int, int]] = []
    for number in range(6):
        for which, count in ((1, 10), (2, 5)):
            index.note(which, count)
            rows[which - 1][3] += count
        assert index.flush(float(number))
        whole.append((index.size_bytes, 15 * (number + 1)))
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    head = next(logs_format.blocks(content)).end
    for size in range(len(content) + 1):
        told = Told()
        end = take_in(content[:size], told)
        assert end == max([at for at, _ in whole if at <= size], default=head if size >= head else 0)
        position = max([position for at, position in whole if at <= size], default=0)
        assert told.position == position
        if size >= head:
            assert sum(row[3] for row in told.streams.values()) == position
            assert told.runs == {"web/0": 3}


def test_a_file_that_does_not_begin_right_is_given_up_for_the_one_before(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[1, "web/0", "stdout", 0]]
    index = written(tmp_path, rows)
    index.note(1, 10)
    rows[0][3] = 10
    index.flush(1.0)
    (tmp_path / logs_format.index_name(10)).write_bytes(b"dL torn")
    told = read_index(str(tmp_path))
    assert told.position == 10
    assert [start for start, _ in told.files] == [0]
    assert len(list(tmp_path.iterdir())) == 1


def test_an_index_that_cannot_be_written_waits(tmp_path: Path) -> None:
    """Facts and bytes come in their order once there is a folder again, and in one tick for many."""
    folder = tmp_path / "index"
    rows: list[list[Any]] = [[1, "web/0", "stdout", 0]]
    index = written(folder, rows)
    for number in range(5000):
        index.note(1, 10)
        rows[0][3] += 10
        if number == 2500:
            index.fact({"fact": "cleared", "instance": "web/0"})
        assert not index.flush(number / 100)
        assert index.is_behind
    folder.mkdir()
    assert index.flush(100.0)
    assert not index.is_behind
    told = read_index(str(folder))
    assert told.position == 50_000
    assert told.streams[1][3] == 50_000
    content = (folder / logs_format.index_name(0)).read_bytes()
    cleared = [block for block in logs_format.blocks(content) if b"cleared" in block.payload]
    assert [block.position for block in cleared] == [25_010]


def test_a_new_file_begins_where_the_last_one_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("droned.logs.index.INDEX_FILE_BYTES", 300)
    rows: list[list[Any]] = [[1, "web/0", "stdout", 0]]
    index = written(tmp_path, rows)
    for number in range(50):
        index.note(1, 7)
        rows[0][3] += 7
        index.flush(float(number))
    position = 0
    files = sorted(tmp_path.iterdir())
    assert len(files) > 5
    for path in files:
        content = path.read_bytes()
        first, *others = logs_format.blocks(content)
        assert logs_format.index_named(path.name) == first.position == position
        assert first.fact()["streams"] == [[1, "web/0", "stdout", position]]
        position += sum(count for block in others for _, count in block.pairs())
    assert position == 350
    assert index.size_bytes == sum(path.stat().st_size for path in files)


# ---- what would grow, or end badly


def shelf_in(folder: Path, stream: Stream) -> Shelf:
    index = Index(str(folder), list, dict)
    return Shelf({1: stream}, index, lambda each: None, lambda each: None)


def test_a_noisy_stream_does_not_cost_quiet_ones_their_lines(tmp_path: Path) -> None:
    """The quiet ones were done with first, and stay; lines in other formats are paid for by who has them."""
    streams = {number: grown(number, [10, 10], 5) for number in (1, 2)}
    noisy = streams[3] = grown(3, [], 0)
    for stream in streams.values():
        stream.instance.folder = str(tmp_path / str(stream.number))
        Path(stream.instance.folder).mkdir()
    shelf = Shelf(streams, Index(str(tmp_path), list, dict), lambda each: None, lambda each: None)
    shelf.kept_bytes, shelf.active_bytes, shelf.total_bytes = 40, 10, 500
    for number in range(1, 4):
        (tmp_path / "3" / f"stdout.jsonl.{number}").write_bytes(b"x" * 100)
    shelf.look_at_copies(noisy)
    for number in range(50):
        noisy.offset += 40
        segment = noisy.begin_segment(2000.0 + number)
        assert segment is not None
        shelf.active_bytes += 40
        shelf.done(segment, 2000.0 + number)
        assert shelf.bytes <= 500
    assert [len(streams[number].kept) for number in (1, 2)] == [2, 2]
    held = noisy.kept_bytes + sum(path.stat().st_size for path in (tmp_path / "3").glob("stdout.jsonl.*"))
    assert noisy.held_bytes == held > 400
    assert shelf.make_room()
    assert noisy.held_bytes < held


def test_segments_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    stream = stream_of(keep=2, compress=False)
    stream.instance.folder = str(tmp_path)
    shelf = shelf_in(tmp_path, stream)
    for number in range(5000):
        stream.offset += 10
        segment = stream.begin_segment(1000.0 + number)
        assert segment is not None
        shelf.active_bytes += 10
        shelf.done(segment, 1000.0 + number)
    assert len(stream.kept) == 2
    assert shelf.kept_bytes == 20
    assert stream.kept_bytes == 20
    assert shelf.make_room()
    assert shelf.make_room()
    assert not shelf.make_room()


def test_bytes_that_no_index_told_of_may_be_more_than_a_pair_takes(tmp_path: Path) -> None:
    index = Index(str(tmp_path), lambda: [[1, "web/0", "stdout", 5 << 30]], dict)
    index.fact({"fact": "streams", "streams": [[1, "web/0", "stdout", 0]]})
    index.late(1, 5 << 30, TIME_US)
    assert index.flush(0.0)
    assert read_index(str(tmp_path)).streams[1][3] == 5 << 30


def test_a_file_of_the_index_that_cannot_be_deleted_ends_nothing(tmp_path: Path) -> None:
    index = Index(str(tmp_path), list, dict)
    (tmp_path / logs_format.index_name(0)).mkdir()
    index.files = [(0, 10), (10, 20)]
    assert index.drop_oldest() == 10
    assert index.files == [(10, 20)]

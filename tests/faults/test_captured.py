"""The harness finds what is wrong in captured output, and nothing where all is right."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from droned.logs import format as form
from tests.faults import captured
from tests.faults.stamps import report_of

MARK = "web/0@3f9c"
SIZE = 40


def printed(first: int, last: int) -> bytes:
    """Lines as the writer prints them in bursts."""
    lines = (f"{number:012d} {MARK} ".ljust(SIZE - 1, ".") + "\n" for number in range(first, last))
    return "".join(lines).encode()


def stream(logs: Path, *parts: bytes, compressed: int = 0) -> None:
    """Segments with these contents, one after the other, so many of them compressed."""
    folder = logs / "web" / "0"
    folder.mkdir(parents=True)
    start = 0
    for place, part in enumerate(parts):
        is_compressed = place < compressed
        name = form.segment_name("stdout", start, is_compressed=is_compressed)
        (folder / name).write_bytes(gzip.compress(part) if is_compressed else part)
        start += len(part)


def test_segments_that_follow_each_other_are_right(tmp_path: Path) -> None:
    text = printed(0, 10)
    stream(tmp_path, text[:80], text[80:130], text[130:], compressed=2)
    assert captured.wrong(tmp_path, MARK, SIZE, len(text)) == []
    assert captured.captured_bytes(tmp_path, "web/0", "stdout") == len(text)


def test_of_a_segment_that_is_being_compressed_the_plain_file_counts(tmp_path: Path) -> None:
    text = printed(0, 4)
    stream(tmp_path, text[:80], text[80:])
    (tmp_path / "web/0" / form.segment_name("stdout", 0, is_compressed=True)).write_bytes(b"not yet whole")
    assert captured.wrong(tmp_path, MARK, SIZE, len(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(printed(0, 3) + printed(4, 6), id="lost"),
        pytest.param(printed(0, 3) + printed(2, 5), id="repeated"),
        pytest.param(printed(0, 2) + printed(3, 4) + printed(2, 3) + printed(4, 5), id="reordered"),
        pytest.param(printed(0, 4), id="not all"),
        pytest.param(printed(0, 5)[:-1], id="a byte less"),
        pytest.param(printed(0, 4) + printed(4, 5).replace(b"web/0", b"web/1"), id="another's"),
    ],
)
def test_whatever_is_not_what_was_printed_is_found(tmp_path: Path, text: bytes) -> None:
    stream(tmp_path, text)
    assert len(captured.wrong(tmp_path, MARK, SIZE, 5 * SIZE)) == 1


def test_a_segment_that_is_gone_is_found(tmp_path: Path) -> None:
    text = printed(0, 6)
    stream(tmp_path, text[:80], text[80:160], text[160:])
    (tmp_path / "web/0" / form.segment_name("stdout", 80)).unlink()
    (fault,) = captured.wrong(tmp_path, MARK, SIZE, len(text))
    assert "does not begin at 80" in fault


def test_bytes_that_are_told_as_lost_are_missing_and_marked_exactly_there(tmp_path: Path) -> None:
    text, mark = printed(0, 10), b"[droned: 100 bytes lost, the disk was full]\n"
    content = text[:85] + b"\n" + mark + text[185:300] + mark
    stream(tmp_path, content)
    first, second = (85, 100), (len(content) - len(mark), 100)
    assert captured.wrong(tmp_path, MARK, SIZE, len(text), [first, second]) == []
    assert captured.wrong(tmp_path, MARK, SIZE, len(text), [(84, 100), second]) != []
    assert captured.wrong(tmp_path, MARK, SIZE, len(text), [(85, 99), second]) != []
    assert captured.wrong(tmp_path, MARK, SIZE, len(text), [first]) != []


def index(logs: Path, first: int, *blocks: bytes) -> None:
    folder = logs / form.INDEX
    folder.mkdir(parents=True, exist_ok=True)
    (folder / form.index_name(first)).write_bytes(b"".join(blocks))


def streams(position: int, **offsets: int) -> bytes:
    told = [[number, "web/0", name, offset] for number, (name, offset) in enumerate(offsets.items())]
    return form.fact_block(1, position, {"fact": "streams", "streams": told})


def test_the_index_tells_how_far_each_stream_has_come(tmp_path: Path) -> None:
    lost = {"fact": "lost", "instance": "web/0", "stream": "stdout", "offset": 30, "bytes": 9}
    index(tmp_path, 0, streams(0, stdout=0, stderr=0), form.tick_block(2, 0, [(0, 30), (1, 5)]))
    index(
        tmp_path,
        35,
        streams(35, stdout=30, stderr=5),
        form.fact_block(3, 35, lost),
        form.tick_block(3, 35, [(0, 7)]),
    )
    told = captured.index(tmp_path)
    assert told.faults == []
    assert told.offsets == {("web/0", "stdout"): 37, ("web/0", "stderr"): 5}
    assert told.gaps == {("web/0", "stdout"): [(30, 9)]}


def test_an_index_that_contradicts_itself_is_found(tmp_path: Path) -> None:
    index(
        tmp_path, 0, streams(0, stdout=0), form.tick_block(2, 0, [(0, 30)]), form.tick_block(3, 31, [(0, 1)])
    )
    index(tmp_path, 40, streams(32, stdout=30), b"torn")
    assert len(captured.index(tmp_path).faults) == 4


def test_a_report_of_a_writer_is_read() -> None:
    report = report_of("web/0@3f9c 1000 2000 500000000 4096\n")
    assert (report.name, report.first_ns, report.last_ns) == ("web/0", 1000, 2000)
    assert (report.longest_s, report.bytes) == (0.5, 4096)

"""What is gone or damaged is passed over, and told to who relies on it; nothing else is lost with it."""

from pathlib import Path

import pytest

from tests.logs.reader.written import START_US, Key, Written, asked, lines

WEB: Key = ("web/0", "stdout")
DB: Key = ("db/0", "stdout")


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


def texts(told: list[dict[str, object]]) -> list[object]:
    return [one["line"] for one in lines(told)]


def test_deleted_segments_are_left_out(written: Written) -> None:
    for number in range(4):
        written.tick((*WEB, b"%d\n" % number), (*DB, b"db %d\n" % number))
        written.rotate(WEB)
    written.delete_oldest(WEB)
    written.delete_oldest(WEB)
    told = asked(written.folder)
    assert [one for one in told if "event" in one] == []
    assert texts(told) == ["db 0", "db 1", "2", "db 2", "3", "db 3"]


def test_a_gap_is_told_to_who_goes_on(written: Written) -> None:
    written.tick((*WEB, b"seen\n"))
    after = written.position
    written.tick((*WEB, b"gone\n"))
    written.rotate(WEB)
    written.tick((*WEB, b"kept\n"))
    written.delete_oldest(WEB)
    gap, line = asked(written.folder, after=after)
    assert (gap["event"], "reason" in gap) == ("gap", False)
    assert line["line"] == "kept"


def test_what_a_runs_end_cut_off_is_told_again_with_it(written: Written) -> None:
    """A client may have seen only some of what is told at one position."""
    written.began("web/0", 1, "stdout")
    written.tick((*DB, b"before\n"), (*WEB, b"whole\npart"))
    written.ended("web/0")
    written.began("web/0", 2, "stdout")
    after = written.position
    written.tick((*WEB, b"next\n"))
    part, ended, began, following = told = asked(written.folder, after=after)
    assert told == written.objects[-4:]
    assert (part["line"], part["partial"], part["run"]) == ("part", True, 1)
    assert (ended["what"], began["what"], following["line"]) == ("ended", "began", "next")
    assert asked(written.folder, after=after, grep="a") == [part]
    assert asked(written.folder, after=after, run=2) == [began, following]


def test_a_position_that_never_was_is_a_gap(written: Written) -> None:
    written.tick((*WEB, b"one\n"))
    gap, line = asked(written.folder, after=written.position + 1)
    assert (gap["event"], gap["reason"], line["line"]) == ("gap", "ahead", "one")


def test_a_position_older_than_the_index_is_a_gap(written: Written) -> None:
    written.tick((*WEB, b"one\n"))
    written.rotate(WEB)
    first = written.index
    written.new_index()
    written.tick((*WEB, b"two\n"))
    first.unlink()
    written.delete_oldest(WEB)
    gap, line = asked(written.folder, after=1)
    assert (gap["event"], line["line"]) == ("gap", "two")


@pytest.mark.parametrize("as_others", [True, False])
def test_without_an_index_all_is_shown_by_the_times_of_files(written: Written, as_others: bool) -> None:
    written.tick((*WEB, b"one\ntwo\n"), (*DB, b"db\n"))
    written.rotate(WEB)
    written.tick((*WEB, b"three\npart"))
    written.compress(WEB, as_others=as_others)
    written.index.unlink()
    told = asked(written.folder)
    assert sorted(texts(told), key=str) == ["db", "one", "part", "three", "two"]
    assert [text for text in texts(told) if text != "db"] == ["one", "two", "three", "part"]
    assert texts(asked(written.folder, after=told[1]["position"])) == texts(told)[2:]


def test_what_is_older_than_the_index_comes_first(written: Written) -> None:
    written.tick((*WEB, b"one\n"), (*DB, b"db\n"))
    first = written.index
    written.new_index()
    written.tick((*WEB, b"two\n"), (*DB, b"db two\n"))
    first.unlink()
    told = asked(written.folder)
    assert set(map(str, texts(told)[:2])) == {"one", "db"}
    assert told[2:] == written.objects[2:]
    assert asked(written.folder, after=written.objects[1]["position"]) == written.objects[2:]


def test_a_file_missing_in_the_middle_of_the_index(written: Written) -> None:
    written.tick((*WEB, b"one\n"))
    written.new_index()
    middle = written.index
    written.tick((*WEB, b"two\n"), (*DB, b"db\n"))
    written.new_index()
    written.tick((*WEB, b"three\n"), (*DB, b"db two\n"))
    middle.unlink()
    told = asked(written.folder)
    assert texts(told) == ["one", "two", "db", "three", "db two"]
    assert [one["position"] for one in told] == [one["position"] for one in written.objects]


def test_a_damaged_block_costs_no_line(written: Written) -> None:
    written.tick((*WEB, b"one\n"))
    size = written.index.stat().st_size
    written.tick((*WEB, b"two\n"))
    with written.index.open("r+b") as file:
        file.seek(size + 36)
        file.write(b"\xff")
    written.new_index()
    written.tick((*WEB, b"three\n"))
    assert texts(asked(written.folder)) == ["one", "two", "three"]


def test_a_torn_end_of_the_index_waits(written: Written) -> None:
    written.tick((*WEB, b"one\n"))
    size = written.index.stat().st_size
    written.tick((*WEB, b"two\n"))
    with written.index.open("r+b") as file:
        file.truncate(size + 20)
    assert texts(asked(written.folder)) == ["one"]


def test_a_damaged_compressed_segment(written: Written) -> None:
    for number in range(3):
        written.tick((*WEB, b"%d\n" % number * 100))
        written.rotate(WEB)
    written.compress(WEB)
    path = written.segment(WEB, 200, is_compressed=True)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 + 20] ^= 255
    path.write_bytes(content)
    told = texts(asked(written.folder))
    assert told[:100] == ["0"] * 100
    assert told[-100:] == ["2"] * 100


def test_a_clock_that_steps_back(written: Written) -> None:
    times = [10, 20, 5, 15, 30]
    for at in times:
        written.time_us = START_US + at * 1_000_000
        written.tick((*WEB, b"%d\n" % at))
    since = START_US / 1e6 + 8
    assert texts(asked(written.folder, since=since)) == ["10", "20", "15", "30"]
    assert texts(asked(written.folder, since=since, until=since + 8)) == ["10", "15"]


def test_lost_bytes_are_told_at_their_place(written: Written) -> None:
    written.tick((*WEB, b"before\n"))
    lost = {"instance": "web/0", "stream": "stdout", "bytes": 1234, "reason": "disk full"}
    written.fact({"fact": "lost", "offset": 7} | lost)
    written.tick((*WEB, b"after\n"))
    told = asked(written.folder)
    assert told[1] == {"event": "lost", "position": 7} | lost
    assert texts(told) == ["before", "after"]

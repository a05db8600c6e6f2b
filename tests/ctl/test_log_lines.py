"""What `logs` prints in each format, and the parts that it is made of."""

import json
import subprocess
import sys
import time

import pytest

from droned.ctl.log_lines import Stamps, ending, words_of
from droned.ctl.text import escaped_line
from tests.ctl.captured import answer, line, run
from tests.ctl.conftest import Ctl
from tests.ctl.stub import StubDaemon

CODE = "from droned.ctl.main import main; main()"


def test_one_instance_is_its_lines_and_nothing_else(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", answer(line(6, "hello"), line(12, "oh no", stream="stderr")))
    assert ctl("logs", "web/0") == (0, "hello\noh no\n", "")


def test_several_are_told_apart_in_columns(ctl: Ctl, daemon: StubDaemon) -> None:
    records = [line(1, "a"), line(2, "b", "worker/10", "stderr"), line(3, "c", "db/0", "output")]
    daemon.will("GET", "/logs", answer(*records))
    told = "web/0     | a\nworker/10 E b\ndb/0      | c\n"
    assert ctl("logs").out == told
    assert ctl("tail", "web").out == told, "an app may get another instance at any time"
    assert ctl("logs", "web/*").out == told
    assert ctl("logs", "--no-prefix").out == "a\nb\nc\n"


def test_moments_of_capture(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", answer(line(1, "a"), line(2, "b")))
    assert ctl("logs", "-t", "--utc", "web/0").out == (
        "2026-11-22T12:04:01.118204Z a\n2026-11-22T12:04:02.118204Z b\n"
    )
    assert ctl("logs", "--utc", "web").out.startswith("2026-11-22T12:04:01.118204Z web/0 | a\n")


def test_bytes_stay_as_they_are_off_a_terminal(daemon: StubDaemon) -> None:
    written = b"\x1b[31mred\r\t\xff\xc3\xa4"
    daemon.will("GET", "/logs", answer(line(1, written.decode("utf-8", "surrogateescape"))))
    for words, told in [(["web/0"], written), (["web"], b"web/0 | " + written), (["-o", "raw"], written)]:
        done = subprocess.run([sys.executable, "-c", CODE, "logs", *words], capture_output=True, timeout=30)
        assert (done.returncode, done.stdout, done.stderr) == (0, told + b"\n", b"")


def test_pieces_are_one_line_again(ctl: Ctl, daemon: StubDaemon) -> None:
    pieces = [line(3, "abc", more=True), line(6, "def", more=True), line(8, "g"), line(9, "next")]
    daemon.will("GET", "/logs", answer(*pieces))
    assert ctl("logs", "web").out == "web/0 | abcdefg\nweb/0 | next\n"
    assert ctl("logs", "-o", "raw").out == "abcdefg\nnext\n"


def test_pieces_between_which_another_writes_never_mix_with_its_lines(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", answer(line(3, "abc", more=True), line(5, "x", "db/0"), line(6, "def")))
    assert ctl("logs").out == "web/0 | abc\ndb/0  | x\nweb/0 | def\n"
    assert ctl("logs", "-o", "raw").out == "abc\nx\ndef\n"


def test_a_last_line_without_newline_is_raw_to_the_byte(ctl: Ctl, daemon: StubDaemon) -> None:
    """What a run ended with is joined with the first line of the next in the file, and so it is here."""
    partial = line(3, "abc", partial=True)
    daemon.will("GET", "/logs", answer(partial))
    assert ctl("logs", "-o", "raw").out == "abc"
    assert ctl("logs", "web/0").out == "abc\n"
    daemon.will(
        "GET", "/logs", answer(partial, line(5, "d"), line(8, "e", partial=True), line(9, "f", "db/0"))
    )
    assert ctl("logs", "-o", "raw").out == "abcd\ne\nf\n"


def test_only_what_is_missing_is_told_beside_the_data(ctl: Ctl, daemon: StubDaemon) -> None:
    lost = {"event": "lost", "position": 5, "instance": "web/0", "stream": "stdout", "bytes": 1234}
    gap = {"event": "gap", "position": 1}
    events = [run(2, "ended", 3, status=256), run(3, "began"), line(4, "a"), {**lost, "reason": "disk full"}]
    daemon.will("GET", "/logs", answer(gap, *events))
    told = ctl("logs", "-q", "web/0")
    assert (told.status, told.out) == (0, "a\n")
    assert told.err.splitlines() == [
        "warning: what came next is not kept any more; it goes on with the oldest that is",
        "warning: web/0 stdout: 1234 bytes lost: disk full",
    ]
    assert ctl("logs", "web/0") == ctl("logs", "-o", "raw") == told


def test_a_position_that_is_yet_to_come_is_no_loss(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", answer({"event": "gap", "position": 1, "reason": "ahead"}, line(4, "a")))
    told = ctl("logs", "--after", "99", "web/0")
    assert told == (
        0,
        "a\n",
        "warning: nothing has that position yet; it begins with the oldest that is kept\n",
    )


def test_runs_in_words() -> None:
    assert words_of(run(2, "ended", 3, status=256), utc=True) == (
        "web/0 run 3 ended 2026-11-22 12:04:31Z: exited 1"
    )
    assert words_of(run(3, "began"), utc=True) == "web/0 run 4 began 2026-11-22 12:04:31Z"
    assert words_of({"event": "end", "position": 3}, utc=True) is None


def test_jsonl_is_what_the_api_says_but_for_its_own_beats(ctl: Ctl, daemon: StubDaemon) -> None:
    records = [run(1, "began"), line(4, "a\udcff"), line(6, "b", partial=True)]
    daemon.will("GET", "/logs", answer(*records, {"event": "caught_up", "position": 6}))
    done = ctl("logs", "-o", "jsonl")
    assert [json.loads(each) for each in done.out.splitlines()] == records
    assert ctl("logs", "-o", "json") == done == ctl("-o", "json", "logs")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("plain ä 漢", "plain ä 漢"),
        ("a\tb", "a\tb"),
        ("\x1b[31m\r\x00", "\\x1b[31m\\r\\x00"),
        ("\udcff\udcc3", "\\xff\\xc3"),
        ("\u202e\x9b", "\\u202e\\x9b"),
    ],
)
def test_a_terminal_gets_nothing_that_moves_it(text: str, told: str) -> None:
    assert escaped_line(text) == told


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (0, "exited 0"),
        (256, "exited 1"),
        (15, "killed by TERM"),
        (139, "killed by SEGV"),
        (None, "nobody knows how"),
    ],
)
def test_how_a_run_ended(status: int | None, told: str) -> None:
    assert ending(status) == told


def test_stamps_take_the_zone_of_each_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        long, short = Stamps(utc=False, is_short=False), Stamps(utc=False, is_short=True)
        assert long.of("2026-07-01T23:30:05.123456Z") == "2026-07-02T01:30:05.123456+02:00"
        assert long.of("2026-12-01T23:30:05.123456Z") == "2026-12-02T00:30:05.123456+01:00"
        assert short.of("2026-07-01T23:30:05.123456Z") == "2026-07-02 01:30:05.123"
        assert Stamps(utc=True, is_short=True).of("2026-07-01T23:30:05.123456Z") == "2026-07-01 23:30:05.123Z"
        assert long.of("\x1bnonsense") == "\\x1bnonsense"
    finally:
        monkeypatch.undo()
        time.tzset()

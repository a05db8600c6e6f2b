"""`logs`: what is asked, what is printed in each format, how it goes on when the daemon goes."""

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from droned.ctl import following, log_stream
from droned.ctl.log_lines import Stamps, ending
from droned.ctl.text import escaped_line
from tests.ctl.conftest import Ctl
from tests.ctl.stub import RESET, Reply, StubDaemon, problem

NDJSON = "application/x-ndjson"
CODE = "from droned.ctl.main import main; main()"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.01)
    monkeypatch.setenv("TZ", "UTC")


def line(
    position: int, text: str, instance: str = "web/0", stream: str = "stdout", **more: Any
) -> dict[str, Any]:
    """A captured line as the API has it."""
    at = f"2026-11-22T12:04:{position % 60:02}.118204Z"
    made = {"position": position, "at": at, "instance": instance, "run": 3, "stream": stream, "line": text}
    return {**made, **more}


def run(position: int, what: str, number: int = 4, **more: Any) -> dict[str, Any]:
    """The beginning or end of a run."""
    at = "2026-11-22T12:04:31.118204Z"
    made = {"event": "run", "position": position, "at": at, "instance": "web/0", "run": number, "what": what}
    return {**made, **more}


def answer(*records: dict[str, Any], cut: bool = False, end: bool = True) -> Reply:
    """An answer of these, which ends as one without follow does unless it is cut."""
    last = [{"event": "end", "position": 999}] if end and not cut else []
    body = "".join(json.dumps(each) + "\n" for each in [*records, *last]).encode()
    # Anywhere, as pieces of the reader's pipe are.
    pieces = [body[:7], body[7:]] if len(body) > 7 else [body]
    return Reply(200, pieces=pieces, content_type=NDJSON, cut=cut)


def broken(*records: dict[str, Any]) -> Reply:
    return answer(*records, cut=True)


def query(daemon: StubDaemon) -> dict[str, list[str]]:
    return daemon.asked_for("GET", "/logs")[-1].query


# ---- what is asked


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], {"last": ["200"]}),
        (["web", "db/0"], {"target": ["web", "db/0"], "last": ["200"]}),
        (["-n", "all"], {}),
        (["-n", "0"], {"last": ["0"]}),
        (["--since", "10m"], {"since": ["10m"]}),
        (["--since", "10m", "-n", "5"], {"since": ["10m"], "last": ["5"]}),
        (["--since", "@4711", "--until", "boot"], {"since": ["@4711"], "until": ["boot"]}),
        (["--since", "2026-11-27T04:00:00+02:00"], {"since": ["2026-11-27T04:00:00+02:00"]}),
        (["-p"], {"previous": ["true"]}),
        (["--run", "3"], {"run": ["3"]}),
        (["--after", "0"], {"after": ["0"]}),
        (
            ["-g", "E+R", "-v", "-i"],
            {"grep": ["E+R"], "invert": ["true"], "ignore_case": ["true"], "last": ["200"]},
        ),
        (["--stdout"], {"stream": ["stdout", "output"], "last": ["200"]}),
        (["--stderr"], {"stream": ["stderr", "output"], "last": ["200"]}),
        (["--stdout", "--stderr"], {"last": ["200"]}),
    ],
)
def test_options_become_the_apis_parameters(
    ctl: Ctl, daemon: StubDaemon, words: list[str], asked: dict[str, list[str]]
) -> None:
    daemon.will("GET", "/logs", answer())
    assert ctl("logs", *words) == (0, "", "")
    assert query(daemon) == asked


def test_a_time_without_a_zone_is_this_machines(
    ctl: Ctl, daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        daemon.will("GET", "/logs", answer())
        ctl("logs", "--since", "2026-11-22 14:00", "--until", "2026-11-23")
        assert query(daemon) == {"since": ["2026-11-22T08:30:00Z"], "until": ["2026-11-22T18:30:00Z"]}
        ctl("logs", "--since", "23:59:59.5")
        since = query(daemon)["since"][0]
        assert since.endswith("T18:29:59.500000Z")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "words",
    [
        ["-v"],
        ["-i"],
        ["-f", "--until", "10m"],
        ["-f", "-p"],
        ["-p", "--run", "3"],
        ["--after", "5", "--since", "10m"],
        ["--after", "5", "-n", "5"],
        ["-n", "-1"],
        ["-n", "many"],
        ["-o", "raw", "-t"],
        ["-o", "jsonl", "--utc"],
        ["-o", "table"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(ctl: Ctl, daemon: StubDaemon, words: list[str]) -> None:
    done = ctl("logs", "web", *words)
    assert (done.status, done.out) == (2, "")
    assert daemon.asked == []


def test_refusals_have_their_exit_status(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", problem(404, "no-such-target", "cannot find wbe"))
    assert ctl("logs", "wbe") == (4, "", "error: cannot find wbe\n")
    daemon.will("GET", "/logs", answer({"error": "cannot search for (: unterminated"}, end=False))
    assert ctl("logs", "-g", "(") == (2, "", "error: cannot search for (: unterminated\n")
    daemon.will("GET", "/logs", Reply(200, pieces=[b"nonsense\n"], content_type=NDJSON))
    assert ctl("logs").status == 1
    daemon.stop()


def test_no_daemon_at_all_is_5(ctl: Ctl, daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "REPLACED_S", 0.1)
    daemon.stop()
    done = ctl("logs", "-f")
    assert (done.status, done.out) == (5, "")


# ---- text


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


def test_what_is_no_line_is_told_beside_the_data(ctl: Ctl, daemon: StubDaemon) -> None:
    lost = {"event": "lost", "position": 5, "instance": "web/0", "stream": "stdout", "bytes": 1234}
    daemon.will(
        "GET",
        "/logs",
        answer(
            {"event": "gap", "position": 1},
            run(2, "ended", 3, status=256),
            run(3, "began"),
            line(4, "a"),
            {**lost, "reason": "disk full"},
            run(6, "ended", status=9),
        ),
    )
    told = ctl("logs", "web/0")
    assert (told.status, told.out) == (0, "a\n")
    assert told.err.splitlines() == [
        "warning: what came next is not kept any more; it goes on with the oldest that is",
        "--- web/0 run 3 ended 2026-11-22T12:04:31.118204Z: exited 1 ---",
        "--- web/0 run 4 began 2026-11-22T12:04:31.118204Z ---",
        "warning: web/0 stdout: 1234 bytes lost: disk full",
        "--- web/0 run 4 ended 2026-11-22T12:04:31.118204Z: killed by KILL ---",
    ]
    assert ctl("logs", "-o", "raw") == told
    quiet = ctl("logs", "-q", "web/0").err
    assert "run" not in quiet
    assert "1234 bytes lost" in quiet


def test_jsonl_is_what_the_api_says_but_for_its_own_beats(ctl: Ctl, daemon: StubDaemon) -> None:
    records = [run(1, "began"), line(4, "a\udcff"), line(6, "b", partial=True)]
    daemon.will("GET", "/logs", answer(*records, {"event": "caught_up", "position": 6}))
    done = ctl("logs", "-o", "jsonl")
    assert [json.loads(each) for each in done.out.splitlines()] == records
    assert ctl("logs", "-o", "json") == done == ctl("-o", "json", "logs")


# ---- going on


def test_a_follow_goes_on_exactly_where_the_connection_broke(ctl: Ctl, daemon: StubDaemon) -> None:
    """Cut in history, refused, cut while following, a new instance; nothing is missed or doubled."""
    beat = {"event": "caught_up", "position": 7}
    daemon.will(
        "GET",
        "/logs",
        broken(line(2, "a"), line(4, "b")),
        RESET,
        problem(503, "not-in-service", "cannot: droned is starting"),
        broken(line(6, "c"), run(6, "ended", status=0), {**beat, "position": 6}, beat),
        broken(run(7, "began"), line(9, "d", "web/1")),
        problem(500, "internal", "cannot go on"),
    )
    done = ctl("logs", "-f", "web", "-n", "5", "--since", "1h", "-g", "x", "-o", "jsonl")
    told = [json.loads(each) for each in done.out.splitlines()]
    assert [each.get("line") or each["what"] for each in told] == ["a", "b", "c", "ended", "began", "d"]
    assert done.status == 1
    asked = [each.query for each in daemon.asked_for("GET", "/logs")]
    assert asked[0] == {"target": ["web"], "since": ["1h"], "last": ["5"], "grep": ["x"], "follow": ["true"]}
    assert [each.get("after") for each in asked] == [None, ["4"], ["4"], ["4"], ["7"], ["9"]]
    assert all("since" not in each and "last" not in each for each in asked[1:])
    assert all(each["grep"] == ["x"] for each in asked)
    assert "the daemon is away; the output goes on when it is back" in done.err
    assert "the daemon answers again" in done.err


def test_history_goes_on_as_well(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", broken(line(2, "a")), answer(line(4, "b")))
    assert ctl("logs", "web/0").out == "a\nb\n"
    daemon.will("GET", "/logs", broken(), answer(line(2, "a")))
    assert ctl("logs", "web/0").out == "a\n"


def test_an_event_at_the_position_of_a_break_is_told_once(ctl: Ctl, daemon: StubDaemon) -> None:
    end = run(2, "ended", 3, status=0)
    daemon.will("GET", "/logs", broken(line(2, "a"), end), answer(end, run(2, "began"), line(4, "b")))
    told = [json.loads(each) for each in ctl("logs", "-o", "jsonl").out.splitlines()]
    assert told == [line(2, "a"), end, run(2, "began"), line(4, "b")]


def test_an_answer_that_never_says_anything_is_given_up(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", broken())
    done = ctl("logs", "-f")
    assert done.status == 1
    assert "every answer breaks off at once" in done.err


def test_a_daemon_that_stays_away_is_5(ctl: Ctl, daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.1)
    daemon.will("GET", "/logs", broken(line(1, "a")), RESET)
    done = ctl("logs", "-f", "web/0")
    assert (done.status, done.out) == (5, "a\n")
    assert "it stayed away for" in done.err


# ---- what is below


def test_rotate_and_an_app_of_that_name(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("POST", "/logs/rotate", Reply(200, {"rotated": 2}))
    assert ctl("logs", "rotate", "web", "db/0") == (0, "", "began 2 new files\n")
    assert daemon.asked_for("POST", "/logs/rotate")[0].document == {
        "targets": ["web", "db/0"],
        "all": False,
        "reason": "",
    }
    assert ctl("logs", "rotate", "--all", "--reason", "a look").status == 0
    assert daemon.asked_for("POST", "/logs/rotate")[1].document == {
        "targets": [],
        "all": True,
        "reason": "a look",
    }
    assert json.loads(ctl("tail", "rotate", "web", "-o", "json").out) == {"rotated": 2}
    assert ctl("logs", "rotate").status == 2
    daemon.will("GET", "/logs", answer())
    for words in (["--", "rotate"], ["-n", "5", "rotate"]):
        assert ctl("logs", *words).status == 0
        assert query(daemon)["target"] == ["rotate"]


def test_clear_says_how_much_went_and_never_goes_unasked(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("POST", "/logs/clear", Reply(200, {"bytes": 123456}))
    refused = ctl("logs", "clear", "web")
    assert (refused.status, refused.out) == (2, "")
    assert "--yes" in refused.err
    assert daemon.asked == []
    assert ctl("logs", "clear", "web", "--yes") == (0, "", "deleted 121K (123456 bytes)\n")
    daemon.will("POST", "/logs/clear", problem(404, "no-such-target", "cannot find"))
    assert ctl("logs", "clear", "wbe", "--yes").status == 4


def test_usage_is_sorted_by_size(ctl: Ctl, daemon: StubDaemon) -> None:
    kept = {
        "db/0": {"bytes": 10, "segments": 1, "lost_bytes": 0},
        "web/0": {"bytes": 5000, "segments": 3, "lost_bytes": 7},
    }
    daemon.will("GET", "/logs/usage", Reply(200, {"instances": kept, "index_bytes": 90, "total_bytes": 5100}))
    assert ctl("logs", "usage").out.splitlines() == [
        "INSTANCE  SIZE  SEGMENTS  LOST",
        "web/0     5000  3         7",
        "db/0      10    1         -",
        "2 instances: 5100 in all, 90 of it the index",
    ]
    assert json.loads(ctl("logs", "usage", "-o", "json").out)["total_bytes"] == 5100


# ---- parts


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

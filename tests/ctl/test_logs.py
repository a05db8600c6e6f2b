"""`logs` and what is below it: what is asked, and how it goes on when the daemon goes."""

import json
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from droned.ctl import following, log_stream
from droned.ctl.log_stream import told_of
from droned.ctl.session import Session
from tests.ctl.captured import NDJSON, answer, broken, line, run
from tests.ctl.conftest import Ctl
from tests.ctl.stub import RESET, Asked, Reply, StubDaemon, problem


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.01)


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
    daemon.will("GET", "/logs", answer(line(1, "a")))
    assert ctl("logs", *words, "--no-prefix") == (0, "a\n", "")
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
        ["-g", "a", "-g", "b"],
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


@pytest.mark.parametrize("option", ["--since", "--until"])
@pytest.mark.parametrize("text", ["yesterday", "10", "25:00", "2026-13-01", "2026-13-27T04:31:02Z", "@x", ""])
def test_a_wrong_time_says_which_are_right(ctl: Ctl, daemon: StubDaemon, option: str, text: str) -> None:
    done = ctl("logs", option, text)
    assert (done.status, done.out, daemon.asked) == (2, "", [])
    for right in ("14:00", "2026-11-27 14:00", "10m", "RFC 3339", "@VERSION", "boot"):
        assert right in done.err


@pytest.mark.parametrize("words", [[], ["-o", "raw"], ["-o", "jsonl"], ["-g", "x"], ["--run", "7"]])
def test_nothing_found_is_said(ctl: Ctl, daemon: StubDaemon, words: list[str]) -> None:
    daemon.will("GET", "/logs", answer())
    assert ctl("logs", "web", *words) == (0, "", "no lines found\n")
    assert ctl("logs", "web", "-q", *words) == ctl("logs", "web", "-n", "0") == (0, "", "")


def test_what_is_not_captured_is_said_once_with_its_files(ctl: Ctl, daemon: StubDaemon) -> None:
    def direct(key: str) -> dict[str, object]:
        return {
            "event": "direct",
            "instance": key,
            "files": {"stdout": f"/l/{key}.o", "stderr": f"/l/{key}.e"},
        }

    told = "warning: web/0: its output is not captured (logs.direct): /l/web/0.o and /l/web/0.e\n"
    for words in ([], ["-f"], ["-o", "raw"], ["-q"]):
        daemon.will("GET", "/logs", broken(direct("web/0"), line(2, "a", "db/0")), answer(direct("web/0")))
        done = ctl("logs", "--no-prefix", "web", "db", *words)
        assert (done.status, done.out, done.err.count(told)) == (0, "a\n", 1)
    daemon.will("GET", "/logs", answer(*(direct(f"web/{number}") for number in range(5))))
    done = ctl("logs", "web")
    assert (done.status, done.out, done.err.count("warning: ")) == (0, "", 4)
    assert done.err.endswith("warning: the output of 2 more instances is not captured either\n")


def test_refusals_have_their_exit_status(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", problem(404, "no-such-target", "cannot find wbe"))
    assert ctl("logs", "wbe") == (4, "", "error: cannot find wbe\n")
    daemon.will("GET", "/logs", answer({"error": "cannot search for (: unterminated"}, end=False))
    assert ctl("logs", "-g", "(") == (2, "", "error: cannot search for (: unterminated\n")
    daemon.will("GET", "/logs", problem(503, "busy", "cannot search logs: 8 do so", retry_after_s=2))
    assert ctl("logs") == (1, "", "error: cannot search logs: 8 do so\n")
    for nonsense in (b"nonsense\n", b'{"line": "a"}\n', b'{"event": "end", "position": "x"}\n'):
        daemon.will("GET", "/logs", Reply(200, pieces=[nonsense], content_type=NDJSON))
        told = ctl("logs")
        assert (told.status, told.err[:38]) == (1, "error: cannot understand the output: a")


def test_no_daemon_at_all_is_5(ctl: Ctl, daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_stream, "REPLACED_S", 0.1)
    daemon.stop()
    done = ctl("logs", "-f")
    assert (done.status, done.out) == (5, "")


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


def test_a_cut_off_line_at_the_position_of_a_break_is_told_once(ctl: Ctl, daemon: StubDaemon) -> None:
    part, end = {**line(2, "par"), "partial": True}, run(2, "ended", status=0)
    daemon.will("GET", "/logs", broken(line(1, "a"), part), answer(part, end, line(4, "b")))
    told = [json.loads(each) for each in ctl("logs", "-o", "jsonl").out.splitlines()]
    assert told == [line(1, "a"), part, end, line(4, "b")]
    lost = {"event": "lost", "position": 2, "instance": "db/0", "stream": "stdout", "bytes": 1, "reason": "x"}
    daemon.will("GET", "/logs", broken(lost), answer(lost, part, end, line(4, "b")))
    told = [json.loads(each) for each in ctl("logs", "-o", "jsonl").out.splitlines()]
    assert told == [lost, part, end, line(4, "b")]


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


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    written=st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=12)), max_size=12),
    breaks=st.lists(st.integers(0, 2000), max_size=6),
    sizes=st.integers(1, 400),
)
def test_wherever_answers_break_every_line_comes_once(
    daemon: StubDaemon, written: list[tuple[int, bytes]], breaks: list[int], sizes: int
) -> None:
    """Broken at any byte, in pieces of any size, with any bytes in the lines."""
    texts = [text.replace(b"\n", b"").decode("utf-8", "surrogateescape") for _, text in written]
    records = [
        line(number, text, f"web/{which}")
        for number, ((which, _), text) in enumerate(zip(written, texts, strict=True), 1)
    ]
    cuts = iter(breaks)

    def serve(asked: Asked) -> Reply:
        after = int(asked.query.get("after", ["0"])[0])
        left = [each for each in records if each["position"] > after]
        body = "".join(json.dumps(each) + "\n" for each in [*left, {"event": "end", "position": 99}]).encode()
        cut = next(cuts, None)
        is_cut = cut is not None and cut < len(body)
        body = body[:cut] if is_cut else body
        pieces = [body[at : at + sizes] for at in range(0, len(body), sizes)]
        return Reply(200, pieces=pieces, content_type=NDJSON, cut=is_cut)

    daemon.will("GET", "/logs", serve)
    with Session(host=daemon.host, quiet=True) as session:
        told = [each.record for batch in told_of(session, []) for each in batch]
    assert told == [*records, {"event": "end", "position": 99}]


def test_a_timeout_ends_a_quiet_follow_with_7(ctl: Ctl, daemon: StubDaemon) -> None:
    """The daemon is there; what is over is the time."""

    def quiet(asked: Asked) -> Reply:
        def pieces() -> Iterator[bytes]:
            yield json.dumps(line(1, "a")).encode() + b"\n"
            yield json.dumps({"event": "caught_up", "position": 1}).encode() + b"\n"
            over.wait(10)

        return Reply(200, pieces=pieces(), content_type=NDJSON)

    over = threading.Event()
    daemon.will("GET", "/logs", quiet)
    done = ctl("logs", "-f", "-n", "1", "web/0", "--timeout", "0.3s")
    over.set()
    assert (done.status, done.out) == (7, "a\n")
    assert done.err.startswith("error: cannot wait any longer")
    assert done.err.count("\n") == 1


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
    assert ctl("logs", "-H", daemon.host, "--no-color", "rotate", "web").err == "began 2 new files\n"
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

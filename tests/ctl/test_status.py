"""`status` and `check`: formats, golden tables off a terminal, columns, order, what is bad."""

import json
import subprocess
import sys
import threading
import time

import pytest

from droned.ctl import quick
from droned.models.version import VERSION
from tests.ctl.conftest import Ctl
from tests.ctl.stub import RESET, Reply, StubDaemon, problem, row

TABLE = """\
INSTANCE  STATE    READY  PID    UP                           RESTARTS  NOTE
web/0     running  yes    48213  2026-11-22T12:00:00.000000Z  0         -
web/1     backoff  -      -      -                            7         exited 1 after 0.4s; retry at 2026-11-22T12:04:43.000000Z
db/0      stopped  -      -      -                            0         -
3 instances: 1 running, 1 backoff, 1 stopped; 1 open issue: see dronectl issues  version 88214 of 2026-11-22T12:04:31.118204Z, live
"""  # noqa: E501  as it is printed


def test_the_table_off_a_terminal(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.issues = [{"key": "x"}]
    done = ctl("status")
    assert done == (0, TABLE, "")


def test_wide_adds_its_columns(ctl: Ctl) -> None:
    first, *_, last = ctl("status", "-o", "wide", "web").out.splitlines()
    assert " ".join(first.split()) == (
        "INSTANCE STATE READY PID UP RESTARTS WANTED ENABLED RUN REVISION EXIT SINCE NOTE"
    )
    assert last.startswith("2 instances: 1 running, 1 backoff  version 88214")


def test_json_is_what_the_api_answers_to_the_byte(ctl: Ctl, daemon: StubDaemon) -> None:
    body = b'{"version":1, "instances":[], "new":"\xe2\x80\xae"}'
    daemon.will("GET", "/instances", Reply(200, body=body))
    assert ctl("status", "-o", "json").out == body.decode() + "\n"


def test_names_and_lines(ctl: Ctl) -> None:
    assert ctl("ls", "-o", "name", "web").out == "web/0\nweb/1\n"
    lines = ctl("ps", "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["instance"] for line in lines] == ["web/0", "web/1", "db/0"]


def test_failed_shows_what_is_bad_in_every_format(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.rows += [
        row("job/0", "exited", exit={"code": 0, "signal": None, "at": None, "reason": "exited 0"}),
        row("job/1", "exited", exit={"code": 3, "signal": None, "at": None, "reason": "exited 3"}),
        row("lost/0", "unknown"),
        row("bad/0", "failed"),
    ]
    assert ctl("status", "--failed", "-o", "name").out.split() == ["web/1", "job/1", "lost/0", "bad/0"]
    document = json.loads(ctl("status", "--failed", "-o", "json").out)
    assert [each["instance"] for each in document["instances"]] == ["web/1", "job/1", "lost/0", "bad/0"]
    assert document["version"] == 88214


def test_columns_and_order(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.rows[2]["restarts"] = 10
    done = ctl("status", "--columns", "instance,Restarts", "--sort", "-restarts", "--no-headers")
    assert done.out == "db/0   10\nweb/1  7\nweb/0  0\n"
    assert ctl("status", "--sort", "pid", "-o", "name").out.split()[0] == "web/0", "unknown values are last"


def test_an_unknown_column_is_a_usage_error(ctl: Ctl) -> None:
    done = ctl("status", "--columns", "cpuu")
    assert done.status == 2
    assert done.out == ""
    assert 'cannot show column "CPUU"; there are: instance,' in done.err


def test_what_an_app_wrote_cannot_reach_the_terminal(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.rows[0]["note"] = "\x1b]0;own\x07\u202e"
    assert "\\x1b]0;own\\x07\\u202e" in ctl("status").out


def test_an_unknown_target_is_4_with_near_names(ctl: Ctl) -> None:
    done = ctl("status", "wbe")
    assert (done.status, done.out) == (4, "")
    assert 'cannot find instance or app "wbe"; did you mean "web"?' in done.err


def test_status_is_0_whenever_the_daemon_answered(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.rows = [row("bad/0", "failed")]
    assert ctl("status").status == 0


def test_a_connection_lost_in_the_middle_of_the_answer_is_tried_again(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/instances", Reply(200, {"instances": []}, cut=True), RESET, daemon.status([]))
    done = ctl("status", "-o", "name")
    assert (done.status, done.out.split()) == (0, ["web/0", "web/1", "db/0"])
    assert "the daemon is away" in done.err


@pytest.mark.parametrize("verb", ["status", "check"])
def test_a_daemon_that_is_being_replaced_is_waited_for_in_silence(
    ctl: Ctl, daemon: StubDaemon, verb: str
) -> None:
    daemon.stop()
    replaced = threading.Timer(0.3, daemon.start)
    replaced.start()
    done = ctl(verb, "db")
    replaced.join()
    assert (done.status, done.err) == (0 if verb == "status" else 3, "")


def test_a_socket_that_is_not_there_is_not_waited_for(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.stop()
    daemon.path.unlink()
    began = time.monotonic()
    assert ctl("status").status == 5
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize("answer", [Reply(200, {}), Reply(200, {"instances": [1]}), Reply(200, body=b"[]")])
def test_an_answer_of_another_kind_is_one_line(ctl: Ctl, daemon: StubDaemon, answer: Reply) -> None:
    daemon.will("GET", "/instances", answer)
    done = ctl("status")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: cannot understand the answer")


def test_chunked_answers_are_read(ctl: Ctl, daemon: StubDaemon) -> None:
    body = json.dumps({"version": 1, "at": "x", "instances": [row("a/0")]}).encode()
    daemon.will("GET", "/instances", Reply(200, pieces=[body[:9], body[9:]]))
    assert ctl("status", "-o", "name").out == "a/0\n"


def test_check_answers_by_its_exit_status(ctl: Ctl, daemon: StubDaemon) -> None:
    assert ctl("check", "web/0") == (0, "web/0 running ready\n", "")
    assert ctl("check", "web") == (3, "web/0 running ready\nweb/1 backoff\n", "")
    assert ctl("check", "-q", "web") == (3, "", "")
    assert ctl("check", "-o", "name", "web").out == "web/1\n"
    assert ctl("check", "nope").status == 4
    assert ctl("check").status == 2
    daemon.rows[0]["ready"] = False
    assert ctl("check", "web/0").status == 0
    assert ctl("check", "--healthy", "web/0") == (3, "web/0 running not ready\n", "")


def test_check_of_an_app_scaled_to_nothing_is_no(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/instances", Reply(200, {"instances": []}))
    assert ctl("check", "web").status == 3


LINES = [
    ["status"],
    ["ps", "web"],
    ["-o", "name", "ls", "web/0", "db"],
    ["status", "--output=wide", "--no-headers", "-q"],
    ["--no-color", "status", "--failed", "--sort", "-restarts"],
    ["status", "--columns", "instance,state", "web"],
    ["status", "-o", "nope"],
    ["status", "--failedx"],
    ["status", "-qo", "name"],
    ["status", "-oname"],
    ["status", "--", "web"],
    ["status", "--columns"],
    ["-o", "json"],
    ["status", ""],
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_the_quick_reading_and_clicks_are_the_same(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch, line: list[str]
) -> None:
    quickly = ctl(*line)
    monkeypatch.setattr(quick, "read", lambda words: None)
    assert ctl(*line) == quickly


def test_the_release_is_the_same_read_quickly_and_by_click(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    quickly = ctl("--version")
    assert quickly == (0, f"dronectl {VERSION}\n", "")
    monkeypatch.setattr(quick, "RELEASE", [])
    assert ctl("--version") == quickly


@pytest.mark.parametrize("word", ["status", "--version"])
def test_the_short_way_loads_neither_click_nor_twisted_nor_much_else(daemon: StubDaemon, word: str) -> None:
    code = (
        f"import sys; from droned.ctl import main; main.run(['{word}']); "
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = set(done.stderr.split())
    heavy = ("twisted", "yaml", "msgspec", "click", "dataclasses", "inspect", "asyncio", "http", "urllib")
    assert not [name for name in loaded if name.split(".")[0] in heavy and name != "urllib"]
    assert "droned.ctl.app" not in loaded


def test_a_click_verb_loads_no_twisted_either(daemon: StubDaemon) -> None:
    code = (
        "import sys; from droned.ctl import main; main.run(['check', 'web/0']); "
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "click" in loaded
    assert not loaded & {"twisted", "yaml", "msgspec"}
    assert "droned.ctl.verbs.events" not in done.stderr, "only the verb that is used is loaded"


def test_a_problem_of_a_code_unknown_here_is_judged_by_its_status(ctl: Ctl, daemon: StubDaemon) -> None:
    for status, code, exit_status in [
        (403, "not-allowed", 6),
        (401, "of-the-future", 6),
        (412, "moved", 8),
        (409, "conflicting", 8),
        (409, "not-in-that-state", 3),
        (500, "internal", 1),
        (418, "teapot", 1),
    ]:
        daemon.will("GET", "/instances", problem(status, code, f"cannot do it: {code}"))
        done = ctl("status")
        assert (done.status, done.out, done.err) == (exit_status, "", f"error: cannot do it: {code}\n")
    daemon.will("GET", "/instances", Reply(502, body=b"<html>"))
    assert ctl("status") == (1, "", "error: the daemon answered 502\n")

"""Verbs that change something: what is sent, how the wait goes, what is said when it fails."""

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest

from droned.ctl import api as api_module
from tests.ctl.conftest import Ctl
from tests.ctl.stub import RESET, Asked, Reply, StubDaemon, problem, row

FAILED = row(
    "web/0",
    "backoff",
    exit={"code": 1, "signal": None, "at": "2026-11-22T12:04:30Z", "reason": "exited 1 after 0.4s"},
    next_start_at="2099-01-01T00:00:00Z",
)

DIRECT = {"spec": {"logs": {"direct": True}}}


def test_what_is_sent_is_the_contracts_body(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("restart", [row("web/0")])
    assert ctl("restart", "web", "db/0", "--reason", "new key").status == 0
    (asked,) = daemon.asked_for("POST", "/actions")
    assert asked.document == {
        "command": "restart",
        "targets": ["web", "db/0"],
        "all": False,
        "arguments": {},
        "reason": "new key",
    }
    assert re.fullmatch(r"[0-9a-f]{32}", asked.headers["idempotency-key"])
    assert asked.headers["content-type"] == "application/json"


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "enable", "disable"])
def test_no_target_is_a_usage_error_and_never_all(ctl: Ctl, daemon: StubDaemon, verb: str) -> None:
    done = ctl(verb)
    assert (done.status, done.out) == (2, "")
    assert "without a target" in done.err
    assert ctl(verb, "--all", "web").status == 2
    assert daemon.asked == []


def test_all_has_to_be_said(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("stop", [row("web/0", "stopped")])
    assert ctl("stop", "--all").status == 0
    assert daemon.asked_for("POST", "/actions")[0].document["all"] is True


def test_a_wait_shows_each_state_once_and_ends_with_the_result(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action(
        "restart",
        [row("web/0", "stopping"), row("web/1")],
        [row("web/0", "starting"), row("web/1")],
        [row("web/0", "starting"), row("web/1")],
        [row("web/0", pid=5), row("web/1")],
    )
    done = ctl("restart", "web")
    assert done.status == 0
    assert done.out == "web/0 running (pid 5)\nweb/1 running (pid 48213)\n"
    assert done.err.splitlines() == [
        "web/0: stopping",
        "web/1: running (pid 48213)",
        "web/0: starting",
        "web/0: running (pid 5)",
    ]
    polls = daemon.asked_for("GET", "/actions/A1")
    assert "since" not in polls[0].query
    assert polls[1].query == {"wait": ["20.0"], "since": ["100"]}


def test_formats_of_a_result(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("stop", [row("web/0", "stopped"), row("web/1", "stopped")])
    assert ctl("stop", "web", "-o", "name").out == "web/0\nweb/1\n"
    document = json.loads(ctl("stop", "web", "-o", "json").out)
    assert document["action"]["state"] == "succeeded"
    assert ctl("stop", "web", "-q") == (0, "", "")


def test_no_wait_tells_the_receipt(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("stop", [row("web/0", "stopping")], [row("web/0", "stopped")])
    assert ctl("stop", "web", "--no-wait") == (0, "accepted as version 100, action A1\n", "")
    assert json.loads(ctl("stop", "web", "--no-wait", "-o", "json").out)["version"] == 100
    assert daemon.asked_for("GET", "/actions/A1") == []


def describe(daemon: StubDaemon, *begins: dict[str, int], **logs: Path) -> None:
    """Have web/0 described as not captured: where its output is, and where that of its runs begins."""
    paths = {stream: str(path) for stream, path in logs.items()}
    described = {"instance": FAILED, "app": DIRECT, "logs": paths, "output_begins": begins}
    daemon.will("GET", "/instances/web/0", Reply(200, described))


def wrote(run: int, line: str, stream: str = "stderr") -> dict[str, Any]:
    return {"position": 1, "at": "Z", "instance": "web/0", "run": run, "stream": stream, "line": line}


def ended(run: int) -> dict[str, Any]:
    return {"event": "run", "position": 1, "instance": "web/0", "run": run, "what": "ended", "status": 256}


def test_a_failure_says_what_the_runs_that_the_command_began_wrote(ctl: Ctl, daemon: StubDaemon) -> None:
    lines = [wrote(3, "first"), wrote(3, "No \x1b[31m\udcff"), wrote(3, "said", "stdout")]
    daemon.captured = [wrote(2, "of run 2"), *lines, ended(3)]
    daemon.action("start", [FAILED], ends="failed")
    done = ctl("start", "web/0")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-4:] == [
        "error: cannot start web/0: it did not come about",
        "  err  first",
        "  err  No \\x1b[31m\\xff",
        "  next start at 2099-01-01T00:00:00Z; see: dronectl why web/0",
    ]
    (asked,) = daemon.asked_for("GET", "/logs")
    assert asked.query == {"target": ["web/0"], "last": ["200"], "run": ["3"]}
    assert "  err  first\n" not in ctl("start", "web/0", "--tail", "1").err
    daemon.captured = [wrote(2, "of run 2"), wrote(3, "said", "output"), ended(3)]
    told = ctl("start", "web/0").err
    assert "  out  said\n" in told
    assert "of run 2" not in told


def test_what_comes_a_moment_after_the_end_is_waited_for(ctl: Ctl, daemon: StubDaemon) -> None:
    late = [wrote(3, "late"), ended(3)]
    end = {"event": "end", "position": 9}
    answers = ["".join(json.dumps(each) + "\n" for each in [*lines, end]) for lines in ([], late)]
    kind = "application/x-ndjson"
    daemon.will("GET", "/logs", *(Reply(200, body=each.encode(), content_type=kind) for each in answers))
    daemon.action("start", [FAILED], ends="failed")
    assert "  err  late\n" in ctl("start", "web/0").err


def test_output_that_cannot_be_had_is_one_line(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/logs", problem(403, "not-allowed", "cannot read logs as you"))
    daemon.will("GET", "/instances/web/0", Reply(200, {"instance": FAILED, "logs": {}}))
    daemon.action("start", [FAILED], ends="failed")
    done = ctl("start", "web/0")
    assert done.status == 1
    assert "  (its output: cannot read logs as you)\n" in done.err


def test_a_failure_says_why_and_leaves_standard_output_empty(
    ctl: Ctl, daemon: StubDaemon, folder: Path
) -> None:
    (folder / "err").write_bytes(b"Traceback:\nfirst\nNo module named \x1b[31m'settings'\n")
    describe(daemon, {"run": 3, "stdout": 0, "stderr": 0}, stdout=folder / "none", stderr=folder / "err")
    daemon.action(
        "start", [row("web/0", "starting")], [FAILED], ends="failed", text="exited 1 after 0.4s; try 3"
    )
    done = ctl("start", "web/0", "--tail", "2")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[2:] == [
        "error: cannot start web/0: exited 1 after 0.4s; try 3",
        "  err  first",
        "  err  No module named \\x1b[31m'settings'",
        "  next start at 2099-01-01T00:00:00Z; see: dronectl why web/0",
    ]


def test_a_failure_tells_the_next_start_once(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("start", [FAILED], ends="failed", text="exited 1 after 0.4s; next start in 12s")
    assert ctl("start", "web/0").err.splitlines()[1:] == [
        "error: cannot start web/0: exited 1 after 0.4s; next start in 12s",
        "  see: dronectl why web/0",
    ]


def test_how_an_earlier_run_ended_is_not_told_of_this_one(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action(
        "restart", [{**FAILED, "run": 2}], ends="failed", text="it is being stopped by another command"
    )
    assert "exited 1" not in ctl("restart", "web/0").err


def test_standard_output_is_shown_when_there_are_no_errors(
    ctl: Ctl, daemon: StubDaemon, folder: Path
) -> None:
    (folder / "err").write_text("of run 2\n")
    (folder / "out").write_text("said\n")
    describe(daemon, {"run": 3, "stdout": 0, "stderr": 9}, stdout=folder / "out", stderr=folder / "err")
    daemon.action("start", [FAILED], ends="failed")
    told = ctl("start", "web/0").err
    assert "  out  said\n" in told
    assert "of run 2" not in told


def test_output_is_shown_of_the_runs_that_the_command_began(
    ctl: Ctl, daemon: StubDaemon, folder: Path
) -> None:
    """Also that of the restarts which followed; nothing of before."""
    (folder / "err").write_text("of 2\nof 3\nof 4\n")
    begins = [{"run": run, "stdout": 0, "stderr": 5 * (run - 2)} for run in (2, 3, 4)]
    describe(daemon, *begins, stderr=folder / "err")
    daemon.action("start", [FAILED], ends="failed")
    assert [line for line in ctl("start", "web/0").err.splitlines() if "of " in line] == [
        "  err  of 3",
        "  err  of 4",
    ]
    (folder / "err").write_text("cut\n")
    assert "  err  cut\n" in ctl("start", "web/0").err


def test_output_is_doubted_where_its_beginning_is_not_known(
    ctl: Ctl, daemon: StubDaemon, folder: Path
) -> None:
    """As after the daemon was replaced in the middle."""
    (folder / "err").write_text("of somebody\n")
    describe(daemon, stderr=folder / "err")
    daemon.action("start", [FAILED], ends="failed")
    lines = ctl("start", "web/0").err.splitlines()
    assert "  (its output, perhaps of an earlier run as well:)" in lines
    assert "  err  of somebody" in lines


def test_no_output_is_shown_when_no_run_was_begun(ctl: Ctl, daemon: StubDaemon, folder: Path) -> None:
    (folder / "err").write_text("of run 2\n")
    described = {"instance": {**FAILED, "run": 2}, "app": DIRECT, "logs": {"stderr": str(folder / "err")}}
    daemon.will("GET", "/instances/web/0", Reply(200, described))
    daemon.captured = [wrote(2, "of run 2 too")]
    daemon.action("start", [{**FAILED, "run": 2}], ends="failed")
    assert "of run 2" not in ctl("start", "web/0").err


def test_output_from_before_the_run_is_not_shown(ctl: Ctl, daemon: StubDaemon, folder: Path) -> None:
    (folder / "err").write_text("of yesterday\n")
    os.utime(folder / "err", (0, 0))
    described = {"instance": {**FAILED, "started_at": "2026-11-22T12:00:00Z"}, "app": DIRECT}
    daemon.will("GET", "/instances/web/0", Reply(200, {**described, "logs": {"stderr": str(folder / "err")}}))
    daemon.action("start", [FAILED], ends="failed")
    assert "yesterday" not in ctl("start", "web/0").err


@pytest.mark.parametrize("kind", ["missing", "pipe", "link"])
def test_output_that_cannot_be_read_never_hangs(
    ctl: Ctl, daemon: StubDaemon, folder: Path, kind: str
) -> None:
    path = folder / "err"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to("/etc/passwd")
    describe(daemon, stderr=path)
    daemon.action("start", [FAILED], ends="failed")
    done = ctl("start", "web/0")
    assert done.status == 1
    assert "root:" not in done.err


def test_many_failures_are_counted_and_the_first_explained(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("start", [{**FAILED, "instance": f"web/{number}"} for number in range(8)], ends="failed")
    lines = ctl("start", "web", "--tail", "0").err.splitlines()
    assert "error: cannot start 8 of 8 instances" in lines
    assert "  also: web/5, web/6, web/7" in lines


def test_a_refusal_has_its_own_exit_status(ctl: Ctl, daemon: StubDaemon) -> None:
    for reply, status in [
        (problem(404, "no-such-target", "cannot find"), 4),
        (problem(403, "not-allowed", "cannot as you"), 6),
        (problem(503, "degraded", "cannot start: the journal cannot write"), 1),
        (problem(409, "not-in-that-state", "cannot"), 3),
        (problem(400, "bad-request", "cannot"), 2),
    ]:
        daemon.will("POST", "/actions", reply)
        done = ctl("start", "web")
        assert (done.status, done.out) == (status, "")
        assert len(daemon.asked_for("POST", "/actions")) == 1
        daemon.asked.clear()


def test_a_receipt_that_is_not_on_disk_is_a_warning(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("stop", [row("web/0", "stopped")])
    shape = daemon.actions["A1"][0]["action"]
    daemon.will(
        "POST", "/actions", Reply(202, {"version": 1, "durable": False, "action": shape, "result": {}})
    )
    done = ctl("stop", "web")
    assert done.status == 0
    assert "warning: done, but not on disk" in done.err


def test_a_daemon_killed_in_the_middle_is_seen_as_a_notice_only(ctl: Ctl, daemon: StubDaemon) -> None:
    """Reset before the receipt, then refused while it starts: asked again with the same key."""
    daemon.action("restart", [row("web/0", "starting")], [row("web/0")])
    accept = daemon.routes["POST", "/api/v1/actions"]
    away = problem(503, "not-in-service", "cannot restart: droned is stopping or has not started yet")
    daemon.will("POST", "/actions", RESET, away, accept)
    daemon.will("GET", "/actions/A1", RESET, lambda asked: Reply(200, daemon.actions["A1"].pop(0)))
    done = ctl("restart", "web")
    assert (done.status, done.out) == (0, "web/0 running (pid 48213)\n")
    assert len({asked.headers["idempotency-key"] for asked in daemon.asked_for("POST", "/actions")}) == 1
    assert len(daemon.asked_for("POST", "/actions")) == 3
    assert done.err.count("the daemon is away; asking again for up to 10 s") == 1
    assert done.err.count("the daemon answers again") == 1


def test_a_socket_left_behind_is_waited_for(ctl: Ctl, daemon: StubDaemon) -> None:
    """A killed daemon leaves its socket; its guardian starts another at once."""
    import threading

    daemon.action("stop", [row("web/0", "stopped")])
    daemon.stop()
    again = threading.Timer(0.3, daemon.start)
    again.start()
    done = ctl("stop", "web")
    again.join()
    assert done.status == 0
    assert "the daemon is away" in done.err


def test_a_daemon_that_stays_away_is_given_up(
    ctl: Ctl, daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "RETRY_S", 0.2)
    daemon.stop()
    done = ctl("stop", "web")
    assert (done.status, done.out) == (5, "")
    assert f"cannot reach droned at {daemon.path}: nobody listens there (ECONNREFUSED)" in done.err


def test_a_daemon_that_was_never_there_is_not_waited_for(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.stop()
    daemon.path.unlink()
    began = time.monotonic()
    done = ctl("stop", "web")
    assert done.status == 5
    assert "(ENOENT)" in done.err
    assert time.monotonic() - began < 2.0


def test_the_timeout_ends_the_wait_and_not_the_work(ctl: Ctl, daemon: StubDaemon) -> None:
    def slowly(asked: Asked) -> Reply:
        if "wait" in asked.query:
            time.sleep(0.5)
        return Reply(200, daemon.actions["A1"][0])

    daemon.action("restart", [row("web/0", "starting")], [row("web/0")])
    daemon.will("GET", "/actions/A1", slowly)
    done = ctl("restart", "web", "--timeout", "200ms")
    assert (done.status, done.out) == (7, "")
    assert "cannot wait any longer for restart: 0.2 s are over; the work goes on" in done.err
    assert "see dronectl status web" in done.err


def test_an_interrupted_wait_says_that_the_work_goes_on(ctl: Ctl, daemon: StubDaemon) -> None:
    import _thread

    def interrupt(asked: Asked) -> Reply:
        _thread.interrupt_main()
        time.sleep(0.3)
        return Reply(200, daemon.actions["A1"][0])

    daemon.action("restart", [row("web/0", "starting")], [row("web/0")])
    daemon.will("GET", "/actions/A1", interrupt)
    done = ctl("restart", "web")
    assert done.status == 130
    assert "interrupted: the work goes on; see dronectl status web" in done.err


def test_kill_sends_signal_and_scope(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("kill", [row("web/0")])
    assert ctl("kill", "-s", "HUP", "--to", "tree", "web/0").out == "web/0 signalled\n"
    assert daemon.asked_for("POST", "/actions")[0].document["arguments"] == {"signal": "HUP", "to": "tree"}
    assert ctl("kill", "web/0").status == 0
    assert daemon.asked_for("POST", "/actions")[1].document["arguments"] == {"signal": "TERM", "to": "main"}
    assert ctl("kill", "--to", "nobody", "web/0").status == 2


def test_enable_and_disable(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("disable", [row("web/0", enabled=False)])
    assert ctl("disable", "web/0").out == "web/0 disabled\n"


def test_scale_sends_counts_and_tells_what_left(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.action("scale", [row("web/0")])
    end: dict[str, Any] = daemon.actions["A1"][0]
    end["action"]["items"].append({"instance": "web/1", "goal": "stopped", "state": "succeeded", "text": ""})
    done = ctl("scale", "web=1", "db=2")
    assert done.out == "web/0 running (pid 48213)\nweb/1 removed\n"
    assert daemon.asked_for("POST", "/actions")[0].document["arguments"] == {"counts": {"web": 1, "db": 2}}


@pytest.mark.parametrize("counts", [["web"], ["web="], ["=1"], ["web=-1"], ["web=x"], ["web=1", "web=2"], []])
def test_a_wrong_count_is_a_usage_error(ctl: Ctl, daemon: StubDaemon, counts: list[str]) -> None:
    assert ctl("scale", *counts).status == 2
    assert daemon.asked == []

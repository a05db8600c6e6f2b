"""Verbs that look: `describe`, `why`, `history`, `issues`, `version`, `api`, `completion`, errors, help."""

import grp
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from droned.ctl.api import Api
from droned.ctl.session import Session
from tests.ctl.conftest import Ctl
from tests.ctl.stub import AT, Reply, StubDaemon, event, problem, row

CRASHED = row(
    "web/0",
    "backoff",
    exit={"code": 1, "signal": None, "at": AT, "reason": "exited 1 after 0.4s"},
    next_start_at="2026-11-22T12:04:43Z",
)


def test_describe_is_one_page(ctl: Ctl, daemon: StubDaemon) -> None:
    shape = {
        "server": "web1",
        "version": 5,
        "at": AT,
        "instance": CRASHED,
        "app": {
            "revision": 41,
            "origin": "droned.yaml:14:3",
            "spec": {
                "launch": {"command": ["gunicorn", "app:app"], "directory": None, "env": {}},
                "restart": {"policy": "on-failure"},
            },
        },
        "issues": [
            {
                "key": "instance-failed:web/0",
                "kind": "instance-failed",
                "subject": "web/0",
                "text": "gave up",
                "remedy": "look",
                "opened_at": AT,
                "version": 4,
            }
        ],
        "exits": [{"run": 3, "code": 1, "signal": None, "at": AT, "reason": "exited 1 after 0.4s"}],
        "events": [event(4, "instance-crashed", "web/0", "exited 1")],
        "logs": {"stdout": "/var/lib/droned/logs/web/0.out", "stderr": "/var/lib/droned/logs/web/0.err"},
    }
    daemon.will("GET", "/instances/web/0", Reply(200, shape))
    done = ctl("describe", "web/0")
    assert done.status == 0
    for words in [
        "web/0 on web1",
        "state       backoff",
        "wanted      up, enabled",
        "process     none; 3 runs so far",
        f"last exit   exited 1 after 0.4s, {AT}",
        "next start  at 2026-11-22T12:04:43Z",
        "app web, droned.yaml:14:3",
        'launch.command  ["gunicorn", "app:app"]',
        "restart.policy  on-failure",
        "  → look",
        "stderr  /var/lib/droned/logs/web/0.err",
        "instance-crashed",
        f"version 5 of {AT}",
    ]:
        assert words in done.out, words
    assert json.loads(ctl("show", "web/0", "-o", "json").out) == shape


def test_an_apps_name_describes_each_instance(ctl: Ctl, daemon: StubDaemon) -> None:
    for label in "01":
        shape = {"server": "web1", "version": 5, "at": AT, "instance": row(f"web/{label}"), "app": {}}
        daemon.will("GET", f"/instances/web/{label}", Reply(200, shape))
    assert ctl("describe", "web", "web/0").out.count("on web1") == 2
    assert ctl("describe", "nope").status == 4
    assert ctl("describe").status == 2


def test_names_are_percent_encoded(ctl: Ctl, daemon: StubDaemon) -> None:
    ctl("status", "w*b/é?&x")
    assert daemon.asked_for("GET", "/instances")[0].query == {"target": ["w*b/é?&x"]}


def test_why_is_the_chain_of_causes(ctl: Ctl, daemon: StubDaemon) -> None:
    chain = [
        event(90, "instance-backoff", "web/0", "next start in 12s", cause=89),
        event(89, "instance-crashed", "web/0", "exited 1", cause=60),
        event(60, "command-accepted", "web/0", "start web by root: new layout", actor="root"),
    ]
    daemon.will("GET", "/instances/web/0/why", Reply(200, {"instance": CRASHED, "chain": chain}))
    lines = ctl("why", "web/0").out.splitlines()
    assert lines[0] == "web/0 backoff (exited 1 after 0.4s; retry at 2026-11-22T12:04:43Z)"
    assert [line.split()[0] for line in lines[2:]] == ["90", "89", "60"]
    assert lines[-1].endswith("start web by root: new layout  <- began here")


def test_the_last_lines_of_a_run_stand_below_its_end(ctl: Ctl, daemon: StubDaemon) -> None:
    lines = [{"stream": "stdout", "line": "a\tb\x1b"}, {"stream": "stderr", "line": "no module\udcff"}]
    exits = [
        {"run": run, "code": 1, "at": AT, "reason": "exited 1", "last_lines": lines} for run in (1, 2, 4)
    ]
    exits.insert(2, {"run": 3, "code": 0, "at": AT, "reason": "exited 0"})
    shape = {"server": "web1", "version": 5, "at": AT, "instance": CRASHED, "exits": exits}
    daemon.will("GET", "/instances/web/0", Reply(200, shape))
    told = ctl("describe", "web/0").out
    assert told.split("last exits\n")[1].splitlines()[:9] == [
        "  RUN  AT                           REASON",
        f"  1    {AT}  exited 1",
        f"  2    {AT}  exited 1",
        "       out  a\tb\\x1b",
        "       err  no module\\xff",
        f"  3    {AT}  exited 0",
        f"  4    {AT}  exited 1",
        "       out  a\tb\\x1b",
        "       err  no module\\xff",
    ]
    chain = [
        event(90, "instance-backoff", "web/0", "next start in 12s", cause=89),
        event(89, "instance-crashed", "web/0", "exited 1", cause=60, data={"run": 3}),
        event(60, "command-accepted", "web/0", "start web by root", actor="root"),
    ]
    crashed = {**CRASHED, "exit": {**CRASHED["exit"], "run": 3}}
    shape = {"instance": crashed, "chain": chain, "last_lines": lines[1:]}
    daemon.will("GET", "/instances/web/0/why", Reply(200, shape))
    told = ctl("why", "web/0").out
    assert [line.split()[:2] for line in told.splitlines()[3:6]] == [
        ["89", AT],
        ["err", "no"],
        ["60", AT],
    ]
    daemon.will("GET", "/instances/web/0/why", Reply(200, {**shape, "chain": chain[:1]}))
    assert ctl("why", "web/0").out.endswith(
        "\nlast lines of the run that ended last\n  err  no module\\xff\n"
    )


def test_history_of_several_is_one_by_version(ctl: Ctl, daemon: StubDaemon) -> None:
    for label, versions in [("0", (1, 3)), ("1", (2, 4))]:
        events = [event(number, "instance-started", f"web/{label}", "") for number in versions]
        daemon.will("GET", f"/instances/web/{label}/history", Reply(200, {"events": events}))
    done = ctl("history", "web", "--limit", "7", "--since", "1", "--no-headers")
    assert [line.split()[0] for line in done.out.splitlines()] == ["1", "2", "3", "4"]
    assert daemon.asked_for("GET", "/instances/web/0/history")[0].query == {"limit": ["7"], "since": ["1"]}


def test_issues(ctl: Ctl, daemon: StubDaemon) -> None:
    assert ctl("issues") == (0, "", "no open issues\n")
    daemon.issues = [
        {
            "key": "instance-failed:web/0",
            "kind": "instance-failed",
            "subject": "web/0",
            "text": "10 restarts in 10m",
            "remedy": "dronectl start web/0",
            "opened_at": AT,
            "version": 4,
        }
    ]
    assert ctl("issues").out == (
        f"instance-failed  web/0  (opened {AT})\n  10 restarts in 10m\n  → dronectl start web/0\n"
    )
    daemon.issues[0]["text"] = "cannot use a.yaml:\na.yaml:1:1: \x1b[2J\na.yaml:2:1: no"
    assert ctl("issues").out.splitlines()[1:4] == [
        "  cannot use a.yaml:",
        "    a.yaml:1:1: \\x1b[2J",
        "    a.yaml:2:1: no",
    ]
    assert ctl("issues", "-o", "name").out == "instance-failed:web/0\n"


def test_version_is_told_with_and_without_a_daemon(ctl: Ctl, daemon: StubDaemon) -> None:
    from droned.models.version import VERSION

    assert ctl("version").out == f"dronectl {VERSION}\ndroned 0.1.0 (web1, pid 4711)\n"
    assert json.loads(ctl("version", "-o", "json").out) == {"client": VERSION, "daemon": "0.1.0"}
    daemon.stop()
    done = ctl("version")
    assert (done.status, done.out) == (0, f"dronectl {VERSION}\n")
    assert "cannot reach droned" in done.err
    assert ctl("--version").out == f"dronectl {VERSION}\n"


def test_api_sends_and_prints_as_it_is(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/apps", Reply(200, body=b'{"apps":[]}\n', pieces=[b'{"apps":', b"[]}\n"]))
    assert ctl("api", "get", "apps").out == '{"apps":[]}\n'
    assert ctl("api", "GET", "/api/v1/apps").out == '{"apps":[]}\n'
    daemon.will("POST", "/actions", Reply(202, {"version": 1}))
    assert ctl("api", "POST", "actions", '{"command":"stop"}').out == '{"version": 1}'
    assert daemon.asked_for("POST", "/actions")[0].document == {"command": "stop"}
    daemon.will("GET", "/apps", problem(403, "not-allowed", "cannot"))
    assert ctl("api", "GET", "apps") == (6, "", "error: cannot\n")


@pytest.mark.parametrize(
    "words", [["G T", "x"], ["GET", "x y"], ["GET", "x\r\nHost: y"], ["GET", "/é"], ["GET", ""], ["GET"]]
)
def test_api_never_lets_a_request_be_split(ctl: Ctl, daemon: StubDaemon, words: list[str]) -> None:
    assert ctl("api", *words).status == 2
    assert daemon.asked == []


def test_daemon_unreachable_names_what_was_tried(
    ctl: Ctl, daemon: StubDaemon, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.stop()
    monkeypatch.delenv("DRONED_HOST")
    monkeypatch.setenv("DRONED_STATE", str(folder))
    done = ctl("status")
    assert (done.status, done.out) == (5, "")
    assert f"cannot reach droned at {folder}/droned.sock: nobody listens there (ECONNREFUSED)" in done.err
    assert f"also tried {folder}/demo.sock: no such socket (ENOENT)" in done.err


def test_permission_denied_asks_about_the_group(daemon: StubDaemon, folder: Path) -> None:
    """Root becomes nobody for it; anybody else is shut out by the folder's mode alone."""
    is_root = os.geteuid() == 0
    # Everything is loaded first: nobody may not read the interpreter's own folder.
    code = (
        "import grp, os, sys; from droned.ctl import main, status, unreachable; import droned.models.places\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(main.run(['status']))"
    )
    folder.chmod(0o750 if is_root else 0)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    folder.chmod(0o700)
    assert done.returncode == 5
    group = grp.getgrgid(folder.stat().st_gid).gr_name
    assert f"permission denied (EACCES): are you in group {group}?" in done.stderr


@pytest.mark.parametrize("host", ["http://x", "unix:relative", "droned.sock"])
def test_a_host_that_is_none_is_a_usage_error(ctl: Ctl, daemon: StubDaemon, host: str) -> None:
    done = ctl("-H", host, "status")
    assert done.status == 2
    assert "give the socket as unix:///path" in done.err


def test_options_behind_the_verb_win(ctl: Ctl, daemon: StubDaemon) -> None:
    assert ctl("-H", "unix:///nowhere", "-o", "json", "check", "-H", daemon.host, "-o", "name", "web").out
    assert ctl("-o", "jsonl", "check", "web").status == 2


def test_an_unknown_verb_has_near_names(ctl: Ctl) -> None:
    done = ctl("restrat", "web")
    assert (done.status, done.out) == (2, "")
    assert 'cannot find a verb "restrat"; did you mean "restart"' in done.err
    assert ctl().status == 2


def test_debug_tells_requests(ctl: Ctl) -> None:
    assert (
        "> GET /api/v1/instances?target=web\n< 200 application/json\n" in ctl("--debug", "status", "web").err
    )


def test_a_bug_of_ours_is_one_line(ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(session: Session) -> Api:
        raise ZeroDivisionError("x")

    monkeypatch.setattr(Session, "asking", fail)
    done = ctl("status")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("error: cannot go on, dronectl itself failed: ZeroDivisionError: x\n")
    with pytest.raises(ZeroDivisionError):
        ctl("status", "--debug")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(ctl: Ctl, shell: str) -> None:
    assert "_DRONECTL_COMPLETE" in ctl("completion", shell).out


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("dronectl sta", ["status", "start"]),
        ("dronectl restart ", ["web", "db"]),
        ("dronectl restart we", ["web"]),
        ("dronectl restart web/", ["web/0", "web/1"]),
        ("dronectl restart web", ["web", "web/0", "web/1"]),
        ("dronectl kill --to ", ["main", "group", "tree"]),
        ("dronectl daemon re", ["reload", "restart"]),
    ],
)
def test_the_shell_is_answered(
    ctl: Ctl, monkeypatch: pytest.MonkeyPatch, words: str, found: list[str]
) -> None:
    monkeypatch.setattr("droned.ctl.completing.LIMIT_S", 20.0)  # names, however busy the machine is
    monkeypatch.setenv("_DRONECTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split(" ")) - 1))
    done = ctl()
    assert [line.split(",")[1] for line in done.out.splitlines()] == found


def test_a_slow_daemon_never_holds_up_a_tab_key(
    ctl: Ctl, daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    def slowly(asked: object) -> Reply:
        time.sleep(2.0)
        return Reply(200, {"instances": []})

    daemon.will("GET", "/instances", slowly)
    monkeypatch.setenv("_DRONECTL_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "dronectl stop w")
    monkeypatch.setenv("COMP_CWORD", "2")
    began = time.monotonic()
    assert ctl().out.strip() == ""
    assert time.monotonic() - began < 1.8

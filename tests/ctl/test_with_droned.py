"""dronectl with a real droned: what the stand-in cannot prove."""

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.ctl.stub import StubDaemon, event, row
from tests.running import Droned, environment, in_tree, until

pytestmark = pytest.mark.live

CONFIGURATION = """\
version: 1
apps:
  web: {command: [sleep, "1000"], instances: 2, start: {grace: 300ms}}
  bad: {command: [sh, -c, "echo out; echo 'no module' >&2; exit 3"], restart: {policy: never}}
"""


@pytest.fixture
def running(droned: Droned) -> Droned:
    droned.configure(CONFIGURATION)
    droned.start()
    droned.until_state("running", of=("web/0", "web/1"))
    return droned


def pids(droned: Droned) -> dict[str, int]:
    return {key: each["pid"] for key, each in droned.rows().items() if key.startswith("web")}


def test_a_round_through_the_verbs(running: Droned) -> None:
    before = pids(running)
    assert running.done("status", "-o", "name").split() == ["web/0", "web/1", "bad/0"]
    running.done("restart", "web")
    after = pids(running)
    assert set(before.values()).isdisjoint(after.values())
    running.done("stop", "web/1")
    assert running.ctl("check", "web").returncode == 3
    running.done("start", "web/1")
    running.done("check", "--healthy", "web")
    assert running.done("scale", "web=3").startswith("web/2 running")
    assert running.done("scale", "web=2") == "web/2 removed\n"
    assert "restart web by" in running.done("why", "web/0")
    assert "instance-started" in running.done("history", "web/0")
    assert running.done("wait", "web", "--for", "running") == "web/0 running\nweb/1 running\n"
    first, *_ = running.done("events", "--since", "1h", "-o", "jsonl").splitlines()
    assert json.loads(first)["version"] < 10
    assert running.ctl("events", "--since", "0s").stdout.count("\n") <= 2
    assert "launch.command" in running.done("describe", "web/0")
    running.done("disable", "web/0")
    running.done("kill", "-s", "KILL", "web/0")
    running.done("wait", "web/0", "--for", "exit", "--timeout", "20s")
    running.done("enable", "web/0")
    running.done("daemon", "reload")


def test_a_failed_start_says_why(running: Droned) -> None:
    running.until_state("exited", of=("bad/0",))
    told = running.ctl("start", "bad")
    assert (told.returncode, told.stdout) == (1, "")
    assert "cannot start bad/0: exited 3" in told.stderr
    # It has run before, with the same words in the same file.
    assert told.stderr.count("  err  no module\n") == 1
    assert "see: dronectl why bad/0" in told.stderr


def test_refusals_have_their_exit_status(running: Droned) -> None:
    told = running.ctl("stop", "wbe")
    assert (told.returncode, told.stdout) == (4, "")
    assert 'did you mean "web"' in told.stderr
    assert running.ctl("kill", "-s", "NOPE", "web").returncode == 2
    assert running.ctl("events", "--type", "nope").returncode == 2
    running.configure("version: 1\napps: {web: {commnd: x}}\n")
    told = running.ctl("daemon", "reload")
    assert (told.returncode, told.stdout) == (1, "")
    assert "droned.yaml:2:" in told.stderr


def test_a_kill_of_the_daemon_in_the_middle_of_a_restart_is_a_notice(running: Droned) -> None:
    for delay_s in (0.12, 0.2, 0.3, 0.4):
        before = pids(running)
        daemon = running.daemon_pid
        killer = threading.Timer(delay_s, os.kill, (daemon, signal.SIGKILL))
        killer.start()
        told = running.ctl("restart", "web")
        killer.join()
        assert told.returncode == 0, told.stderr
        running.in_control(other_than=daemon)  # the restart may have been quicker than the kill
        assert set(before.values()).isdisjoint(pids(running).values())
    # Nothing was done twice: the first run, and one for each restart.
    assert [running.rows()[key]["run"] for key in ("web/0", "web/1")] == [5, 5]


def test_a_followed_stream_survives_the_daemon(running: Droned, tmp_path: Path) -> None:
    out = tmp_path / "events"
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*in_tree("dronectl"), "events", "-f", "--since", "0", "-o", "jsonl", "web"],
            env=environment({"DRONED_HOST": f"unix://{running.socket}"}),
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
    try:
        for _ in range(2):
            running.done("restart", "web/0")
            pid = running.daemon_pid
            os.kill(pid, signal.SIGKILL)
            running.in_control(other_than=pid)
        running.done("restart", "web/1")
        last = json.loads(running.done("events", "-n", "1", "-o", "jsonl", "web").splitlines()[-1])["id"]
        until(lambda: f'"id":"{last}"' in out.read_text(), what="the last event")
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    followed = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    kept = running.done("events", "--since", "0", "-o", "jsonl", "web").splitlines()
    assert followed == [json.loads(line)["id"] for line in kept][: len(followed)]


def test_the_daemon_comes_and_goes_without_an_app_noticing(running: Droned) -> None:
    before = pids(running)
    daemon = running.daemon_pid
    running.done("daemon", "restart")
    assert running.daemon_pid != daemon
    running.done("daemon", "stop", "--reason", "a look at the disk")
    told = running.ctl("status")
    assert told.returncode == 5
    assert "the daemon was stopped on purpose by root" in told.stderr
    assert "(a look at the disk); apps run on" in told.stderr
    time.sleep(0.3)
    assert all(Path(f"/proc/{pid}").exists() for pid in before.values())
    told = running.ctl("daemon", "start")
    assert told.returncode == 0, told.stderr
    assert pids(running) == before
    # Word of a stop is of that one: a daemon that is gone otherwise is not said to be stopped.
    assert not Path(f"{running.socket}.stopped").exists()
    assert "runs already" in running.ctl("daemon", "start", "--state", str(running.state_dir)).stderr
    running.done("daemon", "shutdown")
    assert running.process is not None
    assert running.process.wait(10) == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in before.values())


def test_the_stand_in_speaks_as_the_real_one_does(running: Droned, folder: Path) -> None:
    """Every member that the stand-in's answers have is in the real ones, of the same JSON type where set."""

    def real(path: str) -> dict[str, object]:
        answer: dict[str, object] = json.loads(running.done("api", "GET", path))
        return answer

    stub = StubDaemon(folder / "unused.sock")
    stub.rows = [row("web/0")]
    status = real("instances")
    rows = status["instances"]
    assert isinstance(rows, list)
    events = real("events")["events"]
    assert isinstance(events, list)
    action = json.loads(running.done("stop", "web/0", "-o", "json"))
    stub.action("stop", [row("web/0", "stopped")])
    for ours, theirs in [
        (json.loads(stub.status([]).body), status),
        (row("web/0"), rows[0]),
        (stub.daemon(), real("daemon")),
        (event(1, "a", "b", "c"), events[0]),
        (stub.actions["A1"][0], action),
        (stub.actions["A1"][0]["action"], action["action"]),
        (stub.actions["A1"][0]["action"]["items"][0], action["action"]["items"][0]),
    ]:
        for name, value in ours.items():
            assert name in theirs, name
            if value is not None and theirs[name] is not None and name != "reactor_lag_s":
                assert type(value) is type(theirs[name]), name

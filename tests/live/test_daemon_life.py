"""How droned as a whole begins and ends: conditions, background, signals, PID 1."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults import processes
from tests.running import IS_ROOT, OURSELVES, Droned, environment, in_tree, until

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 200ms}}
apps:
  web: {command: [sleep, "1000"], instances: 2}
"""
TASKS = """\
version: 1
defaults: {restart: {policy: never}, start: {grace: 50ms}}
apps:
  one: {command: [sh, -c, "exit %d"]}
  two: {command: [sleep, "0.3"]}
"""


def ended(droned: Droned, within_s: float = 30.0) -> int:
    assert droned.process is not None
    return droned.process.wait(within_s)


def pids(droned: Droned) -> dict[str, int]:
    return {key: row["pid"] for key, row in droned.rows().items()}


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 3)])
def test_it_ends_when_all_have_stopped_with_the_code_of_the_first_that_failed(
    droned: Droned, code: int, expected: int
) -> None:
    droned.configure(TASKS % code)
    droned.start("--exit-when", "all-stopped", wait=False)
    assert ended(droned) == expected, droned.log()


def test_it_ends_when_an_app_has_failed_and_takes_the_others_with_it(droned: Droned) -> None:
    droned.configure("""\
version: 1
defaults: {start: {grace: 50ms}}
apps:
  main: {command: [sh, -c, "kill -9 $$$$"], restart: {policy: always, delay: 0s, limit: 2 in 10s}}
  side: {command: [sh, -c, "trap '' HUP; sleep 1000"]}
""")
    droned.start("--exit-when", "failed:main", wait=False)
    assert ended(droned) == 128 + signal.SIGKILL, droned.log()
    assert "failed:main is met" in droned.log()


@pytest.mark.skipif(not IS_ROOT, reason="makes namespaces")
def test_as_pid_1_it_reaps_strangers_ends_all_on_term_and_gives_its_code(droned: Droned) -> None:
    """In a PID namespace of its own, where what is orphaned falls to it."""
    droned.configure("""\
version: 1
defaults: {start: {grace: 100ms}}
apps:
  web: {command: [sh, -c, "(sleep 0.3 &) ; (setsid sleep 0.4 &) ; sleep 1000"]}
""")
    droned.state_dir.mkdir()
    places = ("-c", str(droned.config_path), "--state", str(droned.state_dir), "--socket", str(droned.socket))
    with droned.log_path.open("ab") as log:
        space = subprocess.Popen(
            ["unshare", "-fp", "--mount-proc", "--kill-child", *in_tree("droned"), "run", *places],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    droned.process = space
    assert droned.in_control()["guardian_pid"] == 1
    droned.until_state("running")
    (first,) = processes.children_of(space.pid)

    def without_strangers() -> bool:
        below = processes.children_of(first)
        states = [found.state for found in map(processes.stat, below) if found is not None]
        return len(states) == 3 and "Z" not in states

    until(without_strangers, what="only the daemon, droned-logs and the app are left, and no zombie")
    os.kill(first, signal.SIGTERM)
    assert ended(droned) == 0, droned.log()


@pytest.mark.skipif(not IS_ROOT, reason="makes namespaces")
def test_pid_1_ends_with_the_code_of_what_failed(droned: Droned) -> None:
    droned.configure(TASKS % 7)
    places = ("-c", str(droned.config_path), "--state", str(droned.state_dir), "--socket", str(droned.socket))
    run = [*in_tree("droned"), "run", *places, "--exit-when", "all-stopped"]
    told = subprocess.run(
        ["unshare", "-fp", "--mount-proc", "--kill-child", *run],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 7, told.stdout + told.stderr


def test_in_the_background_it_is_found_by_its_pidfile_and_ends_in_order(droned: Droned) -> None:
    droned.configure(APPS)
    pidfile = droned.folder / "droned.pid"
    pidfile.write_text("1\n")  # stale, and of a process that lives
    places = ("-c", str(droned.config_path), "--state", str(droned.state_dir), "--socket", str(droned.socket))
    run = [*in_tree("droned"), "run", *places, "--daemonize", "--pidfile", str(pidfile)]
    told = subprocess.run(run, env=environment(), stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")
    droned.in_control()
    before = pids(droned)
    guardian = int(pidfile.read_text())
    assert guardian == droned.guardian_pid
    found = processes.stat(guardian)
    assert found is not None
    assert os.getsid(guardian) != os.getsid(0)
    os.kill(guardian, signal.SIGTERM)
    until(lambda: not pidfile.exists() and not processes.is_alive(guardian), what="it has ended")
    assert not any(processes.is_alive(pid) for pid in before.values())
    assert not droned.socket.exists()
    assert "stopping everything" in (droned.state_dir / "droned.log").read_text()


def test_term_to_the_daemon_replaces_it_and_no_app_notices(droned: Droned) -> None:
    droned.configure(APPS)
    droned.start()
    droned.until_state("running")
    before, daemon = pids(droned), droned.daemon_pid
    os.kill(daemon, signal.SIGTERM)
    droned.in_control(other_than=daemon)
    assert pids(droned) == before
    for number in (signal.SIGINT, signal.SIGHUP):
        os.kill(droned.daemon_pid, number)
    second = droned.daemon_pid
    time.sleep(0.2)
    assert droned.daemon_pid == second


def test_the_daemon_goes_away_and_comes_back_while_the_guardian_ends_apps_in_order(droned: Droned) -> None:
    """A daemon that was sent away is started for an ordered stop."""
    droned.configure(APPS)
    droned.start()
    droned.until_state("running")
    before = pids(droned)
    droned.done("daemon", "stop")
    assert all(processes.is_alive(pid) for pid in before.values())
    assert droned.stop() == 0
    assert not any(processes.is_alive(pid) for pid in before.values())
    # What was wanted is wanted still.
    droned.start()
    rows = droned.until_state("running", of=("web/0", "web/1"))
    assert [row["run"] for row in rows.values()] == [2, 2]


def test_a_second_term_hurts_nobody_and_a_stubborn_app_is_killed_in_the_end(droned: Droned) -> None:
    droned.configure("""\
version: 1
defaults: {start: {grace: 100ms}}
apps:
  deaf:
    command: [sh, -c, "trap '' TERM INT; while :; do sleep 1; done"]
    stop: [{signal: TERM, to: main, for: 700ms}, {signal: KILL, to: tree}]
""")
    process = droned.start()
    droned.until_state("running")
    pid = pids(droned)["deaf/0"]
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert ended(droned) == 0
    assert not processes.is_alive(pid)


def test_dronectl_shuts_down_and_reports_its_own_state_meanwhile(droned: Droned) -> None:
    droned.configure(APPS)
    droned.start()
    shown = json.loads(droned.done("daemon", "status", "-o", "json"))
    assert {each["name"]: each["state"] for each in shown["services"]} == {
        "journal": "running",
        "supervision": "running",
        "logs": "running",
        "api": "running",
        "forward": "running",
        "stall-watch": "running",
    }
    assert (shown["degraded"], shown["issues"]) == ([], 0)
    assert b"logs/__main__.py" in Path(f"/proc/{shown['logs_pid']}/cmdline").read_bytes()
    droned.done("daemon", "shutdown", "--reason", "over")
    assert ended(droned) == 0
    assert droned.ctl("status").returncode == 5
    assert f"daemon-shutdown by {OURSELVES}: over" in droned.log()

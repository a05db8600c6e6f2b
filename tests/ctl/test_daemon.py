"""`daemon …`: replaced, stopped, started, shut down; each ends when it is so."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from droned.ctl import daemon_life, following
from droned.drivers import stop_note
from tests.ctl import captured
from tests.ctl.conftest import Ctl
from tests.ctl.stub import Asked, Reply, StubDaemon, problem, row

RECEIPT: dict[str, Any] = {"version": 5, "durable": True, "action": None, "result": {}}


@pytest.fixture
def guardian(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands in for the guardian: it tells each USR1 that it gets."""
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b'woken\\n'))\n"
        "os.write(1, b'here\\n'); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    write_json(folder, process.pid)
    yield process
    process.kill()
    process.communicate()


def write_json(folder: Path, pid: int, **other: object) -> None:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    said = {"pid": pid, "start_time": int(fields[19]), "boot_id": boot_id, "protocol": 1, **other}
    (folder / "guardian").mkdir(exist_ok=True)
    (folder / "guardian/guardian.json").write_text(json.dumps(said))


def test_status_is_a_page_and_services(ctl: Ctl, daemon: StubDaemon) -> None:
    lines = ctl("daemon", "status").out.splitlines()
    assert "guardian  pid 4700" in lines
    assert lines.count("logs      pid 4705") == 1
    assert "lag       0.4 ms" in lines
    assert lines[-2:] == ["SERVICE  STATE    NOTE", "journal  running  -"]
    assert json.loads(ctl("daemon", "status", "-o", "json").out) == daemon.daemon()


def test_degraded_is_a_warning(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/daemon", Reply(200, {**daemon.daemon(), "degraded": ["the journal cannot write"]}))
    done = ctl("daemon", "status")
    assert (done.status, done.err) == (0, "warning: degraded: the journal cannot write\n")


def test_restart_ends_when_another_pid_answers(ctl: Ctl, daemon: StubDaemon) -> None:
    def replace() -> None:
        time.sleep(0.1)
        daemon.stop()
        time.sleep(0.1)
        daemon.pid = 4712
        daemon.start()

    thread = threading.Thread(target=replace)

    def accept(asked: Asked) -> Reply:
        assert asked.document["command"] == "daemon-restart"
        thread.start()
        return Reply(202, RECEIPT)

    daemon.will("POST", "/actions", accept)
    done = ctl("daemon", "restart")
    thread.join()
    assert (done.status, done.out) == (0, "")
    assert "the daemon was replaced (pid 4711 → 4712); apps run on" in done.err


def test_a_restart_that_does_not_come_about_is_7(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("POST", "/actions", Reply(202, RECEIPT))
    done = ctl("daemon", "restart", "--timeout", "200ms")
    assert done.status == 7
    assert "cannot wait any longer for the new daemon to answer" in done.err


def test_stop_ends_when_nobody_answers_and_says_that_apps_run_on(ctl: Ctl, daemon: StubDaemon) -> None:
    timer = threading.Timer(0.1, daemon.stop)

    def accept(asked: Asked) -> Reply:
        timer.start()
        return Reply(202, RECEIPT)

    daemon.will("POST", "/actions", accept)
    done = ctl("daemon", "stop")
    timer.join()
    assert done.status == 0
    assert "apps run on" in done.err
    assert "dronectl daemon start" in done.err


def leave_note(folder: Path, socket: Path) -> None:
    stop_note.leave_note(str(socket), str(folder), at=1_800_000_000.0, actor="root", reason="new \x1b[1mdisk")


@pytest.mark.parametrize("verb", [("status",), ("restart", "web"), ("events", "-f"), ("daemon", "status")])
def test_a_daemon_that_was_stopped_on_purpose_is_said_to_be(
    ctl: Ctl, daemon: StubDaemon, folder: Path, guardian: subprocess.Popen[bytes], verb: tuple[str, ...]
) -> None:
    leave_note(folder, daemon.path)
    daemon.stop()
    daemon.path.unlink()
    done = ctl(*verb)
    assert (done.status, done.out) == (5, "")
    assert done.err == (
        f"error: cannot reach droned at {daemon.path}: the daemon was stopped on purpose by root "
        "at 2027-01-15T08:00:00Z (new \\x1b[1mdisk); apps run on under the guardian "
        f"(pid {guardian.pid}), and dronectl daemon start brings the daemon back\n"
    )


def test_a_follow_that_a_stop_ends_says_so_and_where_the_files_are(
    ctl: Ctl,
    daemon: StubDaemon,
    folder: Path,
    guardian: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.3)
    (folder / "logs").mkdir()

    def end(asked: Asked) -> Reply:
        leave_note(folder, daemon.path)
        daemon.path.unlink()
        return captured.broken(captured.line(1, "a"))

    daemon.will("GET", "/logs", end)
    done = ctl("logs", "-f", "web/0")
    assert (done.status, done.out) == (5, "a\n")
    assert "the daemon was stopped on purpose by root" in done.err
    assert done.err.endswith(f"what was captured is in {folder}/logs/APP/LABEL\n")
    assert ctl("logs", "web/0").err.endswith(f"; what was captured is in {folder}/logs/APP/LABEL\n")


def test_where_files_are_is_known_without_a_guardian(
    ctl: Ctl, daemon: StubDaemon, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a shutdown, of the droned that the environment names; not where there are none."""
    monkeypatch.delenv("DRONED_HOST")
    monkeypatch.setenv("DRONED_STATE", str(folder))
    daemon.stop()
    daemon.path.unlink()
    assert "what was captured" not in ctl("logs").err
    (folder / "logs").mkdir()
    done = ctl("logs")
    assert (done.status, done.err.count(f"what was captured is in {folder}/logs/APP/LABEL")) == (5, 1)
    assert "what was captured" not in ctl("logs", "-H", f"unix://{folder}/other.sock").err


def test_word_of_a_stop_does_not_outlive_the_guardian(
    ctl: Ctl, daemon: StubDaemon, folder: Path, guardian: subprocess.Popen[bytes]
) -> None:
    leave_note(folder, daemon.path)
    daemon.stop()
    daemon.path.unlink()
    guardian.kill()
    guardian.wait()
    assert "is droned running?" in ctl("status").err


@pytest.mark.parametrize(
    "said", ["", "[]", "{}", '{"guardian": 1}', "[" * 10_000, '{"guardian": {"pid": {}}}']
)
def test_a_note_that_makes_no_sense_says_nothing(
    ctl: Ctl, daemon: StubDaemon, folder: Path, said: str
) -> None:
    daemon.stop()
    daemon.path.unlink()
    (folder / "droned.sock.stopped").write_text(said)
    assert "is droned running?" in ctl("status").err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_note_of_a_stranger_is_not_believed(
    ctl: Ctl, daemon: StubDaemon, folder: Path, guardian: subprocess.Popen[bytes]
) -> None:
    leave_note(folder, daemon.path)
    daemon.stop()
    daemon.path.unlink()
    os.chown(folder / "droned.sock.stopped", 12345, -1)
    assert "is droned running?" in ctl("status").err


def test_start_finds_the_guardian_by_the_word_that_was_left(
    ctl: Ctl, daemon: StubDaemon, folder: Path, guardian: subprocess.Popen[bytes]
) -> None:
    elsewhere = folder / "run"
    elsewhere.mkdir()
    daemon.stop()
    daemon.path = elsewhere / "droned.sock"
    leave_note(folder, daemon.path)
    timer = threading.Timer(0.2, daemon.start)
    timer.start()
    done = ctl("-H", daemon.host, "daemon", "start")
    timer.join()
    assert done.status == 0, done.err
    assert guardian.stdout is not None
    assert guardian.stdout.readline() == b"woken\n"


def test_start_wakes_the_guardian_and_waits(
    ctl: Ctl, daemon: StubDaemon, folder: Path, guardian: subprocess.Popen[bytes]
) -> None:
    daemon.stop()
    daemon.will("GET", "/daemon", lambda asked: Reply(200, {**daemon.daemon(), "state_dir": str(folder)}))
    woken: list[bytes] = []

    def wake() -> None:
        assert guardian.stdout is not None
        woken.append(guardian.stdout.readline())
        daemon.start()

    thread = threading.Thread(target=wake)
    thread.start()
    done = ctl("daemon", "start", "--state", str(folder))
    thread.join()
    assert done.status == 0
    assert woken == [b"woken\n"]
    assert "the daemon runs (pid 4711)" in done.err
    assert "runs already" in ctl("daemon", "start", "--state", str(folder)).err
    assert json.loads(ctl("daemon", "start", "-o", "json").out)["pid"] == 4711


def test_start_looks_for_the_guardian_beside_the_socket(
    ctl: Ctl, daemon: StubDaemon, guardian: subprocess.Popen[bytes]
) -> None:
    """With nothing but DRONED_HOST to go by, a state folder of one's own is found by its socket."""
    daemon.stop()

    def wake() -> None:
        assert guardian.stdout is not None
        assert guardian.stdout.readline() == b"woken\n"
        daemon.start()

    thread = threading.Thread(target=wake, daemon=True)
    thread.start()
    done = ctl("daemon", "start")
    assert done.status == 0, done.err
    thread.join(10)
    assert not thread.is_alive()


def test_start_signals_nobody_but_the_guardian(
    ctl: Ctl, daemon: StubDaemon, folder: Path, guardian: subprocess.Popen[bytes]
) -> None:
    daemon.stop()
    for other in ({"start_time": 1}, {"boot_id": "of another boot"}):
        write_json(folder, guardian.pid, **other)
        done = ctl("daemon", "start", "--state", str(folder))
        assert done.status == 5
        assert "is gone; start droned with droned run" in done.err
    for broken in ("", "{}", "[]", '{"pid": "x", "start_time": 1, "boot_id": ""}'):
        (folder / "guardian/guardian.json").write_text(broken)
        done = ctl("daemon", "start", "--state", str(folder))
        assert done.status == 5
        assert "cannot use" in done.err
    (folder / "guardian/guardian.json").unlink()
    assert "there is no" in ctl("daemon", "start", "--state", str(folder)).err
    guardian.send_signal(signal.SIGTERM)
    assert guardian.stdout is not None
    assert guardian.stdout.read() == b"", "it was never woken"


def test_shutdown_shows_what_is_left_and_ends_with_the_guardian(
    ctl: Ctl, daemon: StubDaemon, guardian: subprocess.Popen[bytes]
) -> None:
    daemon.will("GET", "/daemon", Reply(200, {**daemon.daemon(), "guardian_pid": guardian.pid}))
    daemon.rows = [row("web/0"), row("web/1")]

    def end() -> None:
        time.sleep(0.15)
        daemon.rows = [row("web/0", "stopped"), row("web/1", "stopping")]
        time.sleep(0.15)
        daemon.stop()
        time.sleep(0.1)
        guardian.kill()

    thread = threading.Thread(target=end)

    def accept(asked: Asked) -> Reply:
        thread.start()
        return Reply(202, RECEIPT)

    daemon.will("POST", "/actions", accept)
    done = ctl("daemon", "shutdown")
    thread.join()
    assert done.status == 0
    assert done.err.splitlines() == [
        "2 instances: 2 running",
        "2 instances: 1 stopped, 1 stopping",
        "droned is stopped, and all apps with it",
    ]


def test_reload_shows_what_it_changed(ctl: Ctl, daemon: StubDaemon) -> None:
    many = [f"many/{number}" for number in range(10)]
    result: dict[str, Any] = {
        "configuration": ["/etc/droned/droned.yaml"],
        "apps": {"added": ["mailer"], "changed": ["web", "api"], "removed": ["many"]},
        "instances": {
            "started": ["mailer/0", "web/2"],
            "restarted": ["web/0", "web/1"],
            "stopped": many,
        },
        "settings_changed": True,
    }
    daemon.will("POST", "/actions", Reply(202, {**RECEIPT, "result": result}))
    done = ctl("daemon", "reload")
    assert (done.status, done.err) == (0, "")
    assert done.out == (
        "+ mailer  new: mailer/0 starts\n"
        "~ web     changed: web/2 starts; web/0, web/1 restart one after the other\n"
        "~ api     changed\n"
        "- many    removed: many/0, many/1, many/2, many/3, many/4, many/5, many/6, many/7 and 2 more stop\n"
        "~ the settings of droned itself\n"
    )
    assert json.loads(ctl("daemon", "reload", "-o", "json").out)["result"] == result
    assert ctl("daemon", "reload", "-q") == (0, "", "")


def test_reload_says_that_nothing_changed(ctl: Ctl, daemon: StubDaemon) -> None:
    kinds: dict[str, list[str]] = {"added": [], "changed": [], "removed": []}
    result = {"apps": kinds, "instances": {}, "settings_changed": False}
    daemon.will("POST", "/actions", Reply(202, {**RECEIPT, "result": result}))
    assert ctl("daemon", "reload") == (0, "nothing changed\n", "")


def test_reload_tells_every_fault_of_a_configuration(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("POST", "/actions", Reply(202, RECEIPT))
    assert ctl("daemon", "reload").status == 0
    faults = ["droned.yaml:3:5: unknown key", "droned.yaml:9:1: bad unit"]
    daemon.will(
        "POST", "/actions", problem(422, "configuration", "cannot use the configuration", problems=faults)
    )
    done = ctl("daemon", "reload")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines() == [
        "error: cannot use the configuration",
        *(f"  {fault}" for fault in faults),
    ]


def test_debug_pauses_the_watchdog(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("POST", "/actions", Reply(202, RECEIPT))
    assert ctl("daemon", "debug", "--pause", "5m").status == 0
    assert daemon.asked[-1].document["arguments"] == {"pause_s": 300.0}
    assert ctl("daemon", "debug").status == 2


def test_a_guardian_of_another_user_is_not_allowed(
    ctl: Ctl,
    daemon: StubDaemon,
    folder: Path,
    guardian: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(descriptor: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    daemon.stop()
    done = ctl("daemon", "start", "--state", str(folder))
    assert done.status == 6
    assert f"cannot wake the guardian (pid {guardian.pid}): it belongs to another user" in done.err


def test_the_daemons_limit_is_the_guardians_patience() -> None:
    assert daemon_life.LIMIT_S == 60.0

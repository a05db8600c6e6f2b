"""What a hostile or unlucky user gives droned: one clear line each, nothing half done, nothing disturbed."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.faults import processes
from tests.running import SOCKET_MODE, Droned, environment, in_tree, until

pytestmark = pytest.mark.live

GOOD = """\
version: 1
defaults: {start: {grace: 100ms}}
apps:
  web: {command: [sleep, "1000"]}
"""
EX_TEMPFAIL, EX_CONFIG = 75, 78


def bomb() -> str:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(["version: 1", "l0: &l0 [x]", *levels, "apps: {}"])


BAD_FILES = {
    "an unknown key": (
        "version: 1\napps:\n  web: {command: x, dirctory: /}\n",
        'yaml:3:21: unknown key "dirctory" in apps.web (did you mean "directory"?)',
    ),
    "a key twice": ("version: 1\napps:\n  web: {command: a, command: b}\n", "yaml:3:"),
    "a unit": ("version: 1\napps:\n  web: {command: a, start: {grace: 3 parsecs}}\n", "3 parsecs"),
    "a key of later": ("version: 1\napps:\n  web: {command: a, ready: {tcp: 1}}\n", "comes later"),
    "ten megabytes": ("version: 1\napps: {}\n" + "# nothing\n" * 1_000_000, "cannot read"),
    "an alias bomb": (bomb(), "cannot"),
    "no yaml": ("version: 1\napps: [", "yaml:3:1: cannot read this as YAML"),
    "no text": ("version: 1\n\x00\x01", "cannot"),
    "nothing": ("", "cannot"),
}


def refused(droned: Droned, *options: str) -> tuple[int, str]:
    """The exit status of a `droned run` that cannot, and the one line in which it says so."""
    begins = len(droned.log())
    status = droned.start(*options, wait=False).wait(30)
    return status, complaint(droned.log()[begins:])


def complaint(told: str) -> str:
    """What begins with one line "droned: cannot …"; below it there may be more problems, by their place."""
    assert "Traceback" not in told
    first, *others = [line for line in told.splitlines() if " services" not in line]
    assert first.startswith("droned: cannot"), told
    assert all(".yaml:" in line or line.startswith("and ") for line in others), told
    return told


def second_droned(droned: Droned, state: str) -> tuple[int, str]:
    """The exit status of another `droned run` beside the one that runs, and what it says."""
    places = ("-c", str(droned.config_path), "--state", state, "--socket", f"{droned.folder}/other.sock")
    told = subprocess.run(
        [*in_tree("droned"), "run", *places],
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return told.returncode, told.stdout + told.stderr


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_first_start_with_a_bad_file_is_refused_in_one_line(droned: Droned, what: str) -> None:
    text, expected = BAD_FILES[what]
    droned.configure(text)
    status, told = refused(droned)
    assert status == EX_CONFIG
    assert expected in told
    assert not droned.socket.exists()
    assert sum(path.stat().st_blocks for path in droned.state_dir.rglob("*")) == 0, "nothing is left of it"


def test_a_running_droned_refuses_each_of_them_and_nothing_moves(droned: Droned) -> None:
    droned.configure(GOOD)
    droned.start()
    before = droned.until_state("running")
    for text, expected in BAD_FILES.values():
        droned.configure(text)
        told = droned.ctl("daemon", "reload")
        assert (told.returncode, told.stdout) == (1, "")
        assert expected in told.stderr
        assert "Traceback" not in told.stderr
    droned.config_path.unlink()
    assert "cannot" in droned.ctl("daemon", "reload").stderr
    droned.config_path.mkdir(mode=0o700)
    (droned.config_path / "web.yaml").symlink_to("nowhere")
    assert droned.ctl("daemon", "reload").returncode == 1
    now = droned.rows()
    assert [(key, row["pid"], row["run"]) for key, row in now.items()] == [
        (key, row["pid"], row["run"]) for key, row in before.items()
    ]
    assert "Traceback" not in droned.log()
    assert droned.api.daemon()["reactor_lag_s"] < 5


def test_all_problems_of_a_first_start_are_told_at_once(droned: Droned) -> None:
    droned.configure("version: 1\napps:\n  web: {comand: [x], umask: 999}\n  API: {command: a}\n")
    status, told = refused(droned)
    assert status == EX_CONFIG
    lines = told.splitlines()[1:]
    assert len([line for line in lines if "droned.yaml:3:" in line]) >= 2
    assert any("droned.yaml:4:" in line for line in lines)


def test_an_app_that_cannot_start_says_why_and_the_others_run(droned: Droned) -> None:
    plain = droned.folder / "plain"
    plain.write_text("text")
    droned.configure(f"""\
version: 1
defaults: {{start: {{grace: 100ms}}}}
apps:
  user: {{command: [sleep, "1"], user: nobody-of-this-name}}
  group: {{command: [sleep, "1"], group: no-such-group}}
  folder: {{command: [sleep, "1"], directory: {droned.folder}/missing}}
  plain: {{command: [{plain}]}}
  program: {{command: [{droned.folder}/nothing]}}
  good: {{command: [sleep, "1000"]}}
""")
    droned.start()
    bad = ("user/0", "group/0", "folder/0", "plain/0", "program/0")
    rows = droned.until_state("failed", of=bad)
    droned.until_state("running", of=("good/0",))
    texts = {each["subject"]: each["text"] for each in droned.api.get("/issues")["issues"]}
    assert set(texts) == set(bad)
    for key, word in (
        ("user/0", 'no user "nobody-of-this-name"'),
        ("group/0", 'no group "no-such-group"'),
        ("folder/0", f"{droned.folder}/missing"),
        ("plain/0", str(plain)),
        ("program/0", f"{droned.folder}/nothing"),
    ):
        assert texts[key].startswith(f"cannot start {key}: "), texts[key]
        assert word in texts[key]
        assert "droned.yaml:" in texts[key]
        assert "\n" not in texts[key]
        assert rows[key]["pid"] is None
    # What was missing is there now, and somebody says so.
    plain.write_text("#!/bin/sh\nexec sleep 1000\n")
    plain.chmod(0o755)
    (droned.folder / "missing").mkdir()
    droned.done("start", "plain")
    assert droned.ctl("start", "user").returncode == 1
    assert "plain/0" not in {each["subject"] for each in droned.api.get("/issues")["issues"]}


def test_a_second_droned_on_the_same_state_folder_is_refused_and_disturbs_nothing(droned: Droned) -> None:
    droned.configure(GOOD)
    droned.start()
    before = droned.until_state("running")["web/0"]["pid"]
    daemon = droned.daemon_pid
    other = droned.folder / "other"
    other.symlink_to(droned.state_dir)
    for state in (str(droned.state_dir), str(other)):
        status, told = second_droned(droned, state)
        assert status == EX_TEMPFAIL
        assert f"cannot use {state}: the droned with pid {droned.guardian_pid} holds it" in told
        assert told.count("\n") == 1
    assert (droned.daemon_pid, droned.rows()["web/0"]["pid"]) == (daemon, before)


def test_a_socket_of_somebody_else_is_refused_and_a_stale_one_replaced(droned: Droned) -> None:
    droned.configure(GOOD)
    droned.socket.write_text("a file")
    status, told = refused(droned)
    assert status == EX_CONFIG
    assert f"cannot listen on {droned.socket}: something that is not a socket" in told
    assert droned.socket.read_text() == "a file"
    droned.socket.unlink()
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(droned.socket))
    droned.start()
    assert droned.socket.stat().st_mode & 0o777 == SOCKET_MODE


def test_a_socket_path_that_is_too_long_is_refused_in_one_line(droned: Droned) -> None:
    droned.configure(GOOD)
    long = f"{droned.folder}/{'s' * 100}.sock"
    status, told = refused(droned, "--socket", long)
    assert status == EX_CONFIG
    assert f"cannot listen on {long}: the path has" in told
    droned.configure(GOOD + f"droned: {{socket: {long}}}\n")
    status, told = refused(droned)
    assert status == EX_CONFIG
    assert "droned.yaml:5:18: cannot use" in told


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--reactor", "kqueue"), 2),
        (("--exit-when", "bored"), 2),
        (("--pidfile", "x.pid"), 2),
        (("--set", "nonsense"), 2),
        (("--set", "apps.web.comand=x"), EX_CONFIG),
        (("-c", "/nonexistent/droned.yaml"), EX_CONFIG),
        (("--state", "/dev/null/state"), EX_CONFIG),
        (("--wat",), 2),
    ],
)
def test_options_that_cannot_be_taken_are_refused_in_one_line(
    droned: Droned, arguments: tuple[str, ...], status: int
) -> None:
    droned.configure(GOOD)
    found, told = refused(droned, *arguments)
    assert (found, told.count("\n")) == (status, 1)


def test_a_stale_card_of_a_guardian_is_not_believed(droned: Droned) -> None:
    """`guardian.json` of a droned that was killed names a pid that others have now."""
    droned.configure(GOOD)
    process = droned.start()
    pids = {row["pid"] for row in droned.until_state("running").values()}
    daemon = droned.daemon_pid
    for pid in (process.pid, daemon):
        os.kill(pid, signal.SIGSTOP)
    for pid in (process.pid, daemon):
        os.kill(pid, signal.SIGKILL)
    process.wait()
    until(lambda: not processes.is_alive(daemon), what="the daemon is dead")
    card = droned.state_dir / "guardian" / "guardian.json"
    text = card.read_text()
    card.write_text(text.replace(str(process.pid), str(os.getpid())))
    told = droned.ctl("daemon", "start", "--state", str(droned.state_dir), "--timeout", "5s")
    assert told.returncode != 0
    assert "cannot" in told.stderr
    droned.start()
    assert {row["pid"] for row in droned.rows().values()} == pids
    assert Path(f"/proc/{os.getpid()}").exists()

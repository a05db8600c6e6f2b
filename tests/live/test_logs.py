"""`dronectl logs` with a real droned: what apps wrote is found, followed over any death, and cleared."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.running import Droned, environment, in_tree, until

pytestmark = pytest.mark.live

COUNT = "import time; [(print(n, flush=True), time.sleep(0.005)) for n in range(10**9)]"
SAY = (
    "import os, sys, time; print('said', os.environ['DRONED_INSTANCE'], flush=True);"
    "os.write(2, b'\\xffoh \\x1b[31mno\\n'); time.sleep(1000)"
)
BAD = "echo out; echo 'no module' >&2; exit 3"


@pytest.fixture
def running(droned: Droned) -> Droned:
    apps: dict[str, Any] = {
        "count": {"command": [sys.executable, "-c", COUNT]},
        "say": {"command": [sys.executable, "-c", SAY], "instances": 2, "start": {"grace": "300ms"}},
        "bad": {"command": ["sh", "-c", BAD], "restart": {"policy": "never"}},
    }
    droned.configure(json.dumps({"version": 1, "apps": apps}))
    droned.start()
    droned.until_state("running", of=("say/0", "say/1"))
    return droned


def records(droned: Droned, *words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in droned.done("logs", "-o", "jsonl", *words).splitlines()]


def both_said(droned: Droned) -> bool:
    return sum("line" in each for each in records(droned, "say")) == 4


@contextmanager
def following(droned: Droned, out: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`dronectl logs -f` into a file, ended by Ctrl-C, which is 130."""
    with out.open("wb") as file:
        process = subprocess.Popen(
            [*in_tree("dronectl"), "logs", "-f", *words],
            env=environment({"DRONED_HOST": f"unix://{droned.socket}"}),
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


def test_what_was_written_is_found(running: Droned) -> None:
    until(lambda: both_said(running), what="both instances' lines")
    told = running.done("logs", "say").splitlines()
    assert sorted(each for each in told if " | " in each) == ["say/0 | said say/0", "say/1 | said say/1"]
    assert running.done("logs", "say/1", "--stdout") == "said say/1\n"
    assert running.done("logs", "-g", "said .*1$", "say") == "say/1 | said say/1\n"
    assert running.done("logs", "-g", "nothing", "say") == ""
    assert running.done("logs", "--since", "boot", "--until", "1h", "say") == ""
    raw = subprocess.run(
        [*in_tree("dronectl"), "logs", "-o", "raw", "--stderr", "say/0"],
        env=environment({"DRONED_HOST": f"unix://{running.socket}"}),
        capture_output=True,
        check=True,
        timeout=30,
    )
    assert raw.stdout == b"\xffoh \x1b[31mno\n"
    assert running.ctl("logs", "nope").returncode == 4
    assert running.ctl("logs", "-g", "(").returncode == 2
    assert running.ctl("logs", "--since", "yesterday").returncode == 2


def test_one_run_can_be_had(running: Droned) -> None:
    until(lambda: both_said(running), what="the first run's lines")
    running.done("restart", "say/0")
    until(lambda: "said" in running.done("logs", "say/0", "--run", "2"), what="the second run's line")
    for words, run in [(("-p",), 1), (("--run", "1"), 1), (("--run", "2"), 2)]:
        assert {each["run"] for each in records(running, "say/0", *words) if "line" in each} == {run}
    events = [
        (each["run"], each["what"]) for each in records(running, "say/0", "--since", "1h") if "what" in each
    ]
    assert events == [(1, "began"), (1, "ended"), (2, "began")]


def test_from_any_position_it_goes_on(running: Droned) -> None:
    """With what comes later, and with the events and the cut off lines at that very position."""
    until(lambda: both_said(running), what="both instances' lines")
    running.done("restart", "say/0")
    until(lambda: "said" in running.done("logs", "say/0", "--run", "2"), what="the second run's line")
    whole = records(running, "say", "-n", "all")
    for position in {each["position"] for each in whole}:
        rest = [
            each
            for each in whole
            if each["position"] > position
            or (each["position"] == position and ("event" in each or "partial" in each))
        ]
        assert records(running, "say", "--after", str(position)) == rest


def test_a_follow_has_every_line_once_whoever_dies(running: Droned, tmp_path: Path) -> None:
    """Everything of droned by kill, the app by restart, and a rotation: numbers go up by one in each run."""
    out = tmp_path / "followed"

    def told() -> list[dict[str, Any]]:
        *whole, _ = out.read_bytes().split(b"\n")
        return [each for each in map(json.loads, whole) if "line" in each]

    def until_more(than: int) -> None:
        until(lambda: len(told()) > than + 50, what="more lines")

    with following(running, out, "-n", "all", "-o", "jsonl", "count"):
        until_more(0)
        for _ in range(2):
            daemon = running.daemon_pid
            os.kill(daemon, signal.SIGKILL)
            running.in_control(other_than=daemon)
            until_more(len(told()))
        os.kill(running.in_control()["logs_pid"], signal.SIGKILL)
        until_more(len(told()))
        guardian = running.guardian_pid
        os.kill(guardian, signal.SIGKILL)
        until(lambda: running.guardian_pid != guardian, what="another guardian")
        until_more(len(told()))
        running.done("logs", "rotate", "count")
        until_more(len(told()))
        running.done("restart", "count")
        until(lambda: told()[-1]["run"] == 2, what="the second run")
        until_more(len(told()))
    followed = told()
    for run in (1, 2):
        numbers = [int(each["line"]) for each in followed if each["run"] == run and not each.get("partial")]
        assert numbers == list(range(len(numbers)))
    assert len({each["position"] for each in followed}) == len(followed)


def test_a_new_instance_joins_a_follow(running: Droned, tmp_path: Path) -> None:
    out = tmp_path / "followed"
    with following(running, out, "say"):
        until(lambda: b"said say/1" in out.read_bytes(), what="the history")
        running.done("scale", "say=3")
        until(lambda: b"say/2 | said say/2\n" in out.read_bytes(), what="the third instance")


def test_usage_and_clear(running: Droned) -> None:
    until(lambda: both_said(running), what="both instances' lines")
    kept = json.loads(running.done("logs", "usage", "-o", "json"))["instances"]
    assert kept["say/0"]["bytes"] >= len("said say/0\n")
    assert "say/0" in running.done("logs", "usage")
    assert running.ctl("logs", "clear", "say/0").returncode == 2
    running.done("logs", "clear", "say/0", "--yes")
    assert running.done("logs", "say/0") == ""
    assert "said" in running.done("logs", "say/1")


def test_what_a_failed_run_wrote_is_told_where_it_is_looked_for(running: Droned) -> None:
    running.until_state("exited", of=("bad/0",))
    told = running.ctl("start", "bad")
    assert told.returncode == 1
    assert told.stderr.count("  err  no module\n") == 1, "it has run before, with the same words"
    until(lambda: "err  no module" in running.done("why", "bad/0"), what="the last lines in why")
    assert running.done("describe", "bad/0").count("err  no module") == 2

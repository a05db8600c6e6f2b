"""The lock of the demo and what it finds in its state folder."""

import fcntl
import json
import os
from pathlib import Path

import pytest

from droned.demo import foreground
from droned.errors import BadRequest, StateInUse


def test_the_demo_takes_no_arguments() -> None:
    with pytest.raises(BadRequest, match="--port"):
        foreground.demo_command(["--port"], {})


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        foreground.demo_command(["--help"], {})
    assert end.value.code == 0
    assert "usage: droned demo" in capsys.readouterr().out


def test_a_second_demo_is_refused_with_the_way_out(tmp_path: Path) -> None:
    state_dir = str(tmp_path / "new" / "demo")
    first = foreground.take_lock(state_dir)
    with pytest.raises(StateInUse, match=r"one runs already .* daemon shutdown"):
        foreground.take_lock(state_dir)
    os.close(first)
    os.close(foreground.take_lock(state_dir))


def test_a_guardian_that_outlived_its_terminal_counts_as_a_demo(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as guardians:
        fcntl.flock(guardians, fcntl.LOCK_EX)
        with pytest.raises(StateInUse):
            foreground.take_lock(str(tmp_path))


def test_a_guardian_is_known_by_pid_and_start_time(tmp_path: Path) -> None:
    named = tmp_path / "guardian" / "guardian.json"
    assert foreground.guardian_pid(str(tmp_path)) is None
    named.parent.mkdir()
    named.write_text("{torn")
    assert foreground.guardian_pid(str(tmp_path)) is None
    start_time = int(Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()[19])
    named.write_text(json.dumps({"pid": os.getpid(), "start_time": start_time}))
    assert foreground.guardian_pid(str(tmp_path)) == os.getpid()
    named.write_text(json.dumps({"pid": os.getpid(), "start_time": start_time + 1}))
    assert foreground.guardian_pid(str(tmp_path)) is None


def test_clearing_leaves_what_others_put_beside(tmp_path: Path) -> None:
    state_dir, run_dir = tmp_path / "state", tmp_path / "run"
    state_dir.mkdir()
    (state_dir / "demo.yaml").touch()
    run_dir.mkdir()
    (run_dir / "droned.sock").touch()
    foreground.clear(str(state_dir), str(run_dir))
    assert not state_dir.exists()
    assert (run_dir / "droned.sock").exists()

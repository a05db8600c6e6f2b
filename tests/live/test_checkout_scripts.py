"""`bin/`: finds its checkout from anywhere, makes `.venv` once, and leaves no shell behind."""

import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = '[project]\nname = "droned"\ndependencies = []\n[project.optional-dependencies]\ndev = []\n'

pytestmark = pytest.mark.live

# Stands for the daemon and for dronectl: says who it is and what it was given.
MAIN = """
import os, sys
def main():
    print(os.getpid(), os.getppid(), *sys.argv, sep="\\n")
    return 0
"""


def bare_checkout(root: Path) -> Path:
    """A checkout at `root` that has no `.venv` yet; its droned and dronectl only say who they are."""
    shutil.copytree(ROOT / "bin", root / "bin")
    (root / "pyproject.toml").write_text(PROJECT)
    for package in ("daemon", "ctl"):
        (root / "droned" / package).mkdir(parents=True)
        (root / "droned" / package / "main.py").write_text(MAIN)
    return root


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    return bare_checkout(tmp_path / "a checkout")


@dataclass(frozen=True, kw_only=True)
class FirstRun:
    """What two first runs at the same moment did; their `.venv` is copied for the tests that need one."""

    venv: Path
    outputs: list[str]
    errors: str


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> FirstRun:
    root = bare_checkout(tmp_path_factory.mktemp("first") / "a checkout")
    argv = [str(root / "bin/dronectl")]
    both = [
        subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    told = [process.communicate(timeout=240) for process in both]
    return FirstRun(
        venv=root / ".venv", outputs=[out for out, _ in told], errors="".join(errors for _, errors in told)
    )


@pytest.fixture
def ready(checkout: Path, first_run: FirstRun) -> Path:
    """The checkout with its `.venv`."""
    shutil.copytree(first_run.venv, checkout / ".venv", symlinks=True)
    shutil.copystat(checkout / "pyproject.toml", checkout / ".venv/run.seen")
    return checkout


def lines_of(argv: list[str], cwd: Path | None = None) -> tuple[int, list[str], str]:
    """The pid that was started, its lines and its errors."""
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd, stdin=subprocess.DEVNULL
    ) as process:
        out, errors = process.communicate(timeout=120)
    return process.pid, out.splitlines(), errors


@pytest.mark.parametrize("name", ["droned", "dronectl"])
def test_a_script_becomes_the_program_with_its_arguments(ready: Path, name: str) -> None:
    pid, lines, errors = lines_of([str(ready / "bin" / name), "status", "a b", ""])
    assert errors == ""
    assert lines == [str(pid), str(os.getpid()), name, "status", "a b", ""]


@pytest.mark.parametrize("name", ["droned", "dronectl"])
def test_a_script_is_found_from_anywhere(ready: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(ready / "bin" / name)
    (tmp_path / "relative").symlink_to(f"a checkout/bin/{name}")
    (tmp_path / "again").symlink_to("link")
    (tmp_path / "folder").symlink_to(ready / "bin")
    for argv, cwd in (
        ([f"bin/{name}"], ready),
        ([f"./{name}"], ready / "bin"),
        (["sh", name], ready / "bin"),
        ([f"../bin/{name}"], ready / "bin"),
        ([str(tmp_path / "link")], Path("/")),
        (["./relative"], tmp_path),
        ([str(tmp_path / "again")], Path("/")),
        ([f"folder/{name}"], tmp_path),
    ):
        _, lines, errors = lines_of(argv, cwd)
        assert (lines[2:], errors) == ([name], ""), argv


def test_the_usual_call_makes_no_second_process(ready: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    tracer = ["strace", "-f", "-o", str(trace), "-e", "trace=process", str(ready / "bin/dronectl")]
    subprocess.run(tracer, check=True, capture_output=True, cwd="/")
    text = trace.read_text()
    assert text.count("execve(") == 2
    assert not [word for word in ("clone(", "clone3(", "fork(") if word in text]


def test_two_first_runs_at_once_make_one_environment_and_both_go_on(first_run: FirstRun) -> None:
    assert [out.splitlines()[2:] for out in first_run.outputs] == [["dronectl"], ["dronectl"]]
    assert first_run.errors.count("first run: making .venv") == 1
    assert first_run.errors.count("ready after") == 1
    assert "waiting for it" in first_run.errors


def test_an_installation_that_was_cut_short_is_done_again(checkout: Path) -> None:
    argv = [str(checkout / "bin/dronectl")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0) as process:
        deadline = time.monotonic() + 60
        while not (checkout / ".venv/bin/python").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(process.pid, 9)
    assert not (checkout / ".venv/run.list").exists()
    _, lines, errors = lines_of(argv)
    assert (lines[2:], "making .venv" in errors) == (["dronectl"], True)


def test_a_changed_list_installs_again_and_a_mere_touch_does_not(ready: Path) -> None:
    project = ready / "pyproject.toml"
    project.write_text(PROJECT + "# nothing that matters\n")
    assert lines_of([str(ready / "bin/dronectl")])[2] == ""
    project.write_text(PROJECT.replace("dependencies = []", 'dependencies = ["./no-such-folder"]', 1))
    _, lines, errors = lines_of([str(ready / "bin/dronectl")])
    assert lines == []
    assert "cannot install what pyproject.toml names" in errors
    project.write_text(PROJECT)
    assert lines_of([str(ready / "bin/dronectl")])[1][2:] == ["dronectl"]


def test_a_checkout_that_moved_still_runs(ready: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    ready.rename(moved)
    for name in ("droned", "dronectl"):
        _, lines, errors = lines_of([str(moved / "bin" / name)])
        assert (lines[2:], errors) == ([name], "")


def test_without_a_python_that_is_new_enough_one_line_says_so(checkout: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "date", "id", "readlink"):
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    old = tools / "python3"
    old.write_text("#!/bin/sh\necho\n")
    old.chmod(0o755)
    done = subprocess.run(
        [checkout / "bin/droned"], env={"PATH": str(tools)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("droned: cannot run: no Python 3.11 or newer")
    assert done.stderr.count("\n") == 1

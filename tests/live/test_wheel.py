"""The wheel: what is in it, and that it can be used from there."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from droned.models.version import VERSION
from tests.running import ROOT, environment, keeping_orphans, until

SOURCES = ("droned", "pyproject.toml", "setup.py", "README.rst", "LICENSE")

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    built = subprocess.run(
        [sys.executable, "-I", "-m", "pip", "wheel", "-q", "--no-deps", "-w", source / "dist", source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = (source / "dist").iterdir()
    return path


def test_the_wheel_is_for_every_platform_and_names_the_release(wheel: Path) -> None:
    assert wheel.name == f"droned-{VERSION}-py3-none-any.whl"


def test_the_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("droned/")}
    source = wheel.parent.parent
    assert held == {str(path.relative_to(source)) for path in source.glob("droned/**/*") if path.is_file()}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel in it. Dependencies are those of the tests; droned comes from nowhere else."""
    folder = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-I", "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return folder


def outside(folder: Path) -> dict[str, str]:
    """An environment in which Python finds `folder` and not this tree."""
    return environment({"PYTHONPATH": str(folder), "DRONED_STATE": str(folder / "state")})


@pytest.mark.parametrize("name", ["droned", "dronectl"])
def test_both_commands_start_from_the_installed_wheel(installed: Path, name: str) -> None:
    argv = [str(installed / "bin" / name), "--version"]
    told = subprocess.run(
        argv, env=outside(installed), cwd=installed, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert VERSION in told.stdout


def test_the_demo_runs_from_the_installed_wheel(installed: Path) -> None:
    log = installed / "out"
    (installed / "state").mkdir(mode=0o700)
    with keeping_orphans() as left, log.open("wb") as out:
        demo = subprocess.Popen(
            [installed / "bin/droned", "demo"],
            env=outside(installed),
            cwd=installed,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            until(lambda: "web/1: running" in log.read_text(), 40, what="the demo runs")
            programs = [command for command in left().values() if "/web.py" in command]
            assert len(programs) == 2
            assert all(f" {installed}/droned/demo/programs/web.py " in command for command in programs)
            demo.send_signal(signal.SIGINT)
            assert demo.wait(40) == 0
            assert not left()
        finally:
            for pid in left():
                os.kill(pid, signal.SIGKILL)
            demo.wait(10)
    assert "dronectl status " in log.read_text()
    assert not list((installed / "state").iterdir())

"""The wheel: what is in it, and that it can be used from there."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from droned.models.version import VERSION

ROOT = Path(__file__).resolve().parents[2]
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


def test_both_commands_start_from_the_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """Dependencies are those of the tests; droned itself comes from the wheel and from nowhere else."""
    install = [sys.executable, "-I", "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    for name in ("droned", "dronectl"):
        told = subprocess.run(
            [tmp_path / "bin" / name, "--version"],
            env={"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert VERSION in told.stdout

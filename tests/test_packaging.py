"""What is shipped beside the code: entry points, package data, scripts, unit, example configuration."""

import ast
import configparser
import os
import subprocess
import tomllib
from pathlib import Path

import pytest

from droned.daemon import main as daemon
from droned.guardian import orders
from droned.models.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SCRIPTS = sorted(path for path in (ROOT / "bin").iterdir() if path.suffix != ".sh")
SHELL = [*sorted((ROOT / "bin").iterdir()), ROOT / "etc/droned.init"]


def test_every_program_names_the_same_release(capsys: pytest.CaptureFixture[str]) -> None:
    """The guardian may import nothing of ours and so says it itself; from a checkout there is no metadata."""
    assert orders.RELEASE == VERSION
    assert daemon.main(["version"]) == 0
    assert capsys.readouterr().out == f"droned {VERSION}\n"


@pytest.mark.parametrize("target", PROJECT["project"]["scripts"].values())
def test_entry_points_name_functions_that_exist(target: str) -> None:
    module, name = target.split(":")
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_file_that_is_not_code_is_package_data() -> None:
    globs = PROJECT["tool"]["setuptools"]["package-data"]
    shipped = {
        path
        for package, patterns in globs.items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    packages = {path.parent for path in (ROOT / "droned").rglob("__init__.py")}
    files = {path for path in (ROOT / "droned").rglob("*") if path.is_file() and path.suffix != ".pyc"}
    left_out = {path for path in files - shipped if path.suffix != ".py" or path.parent not in packages}
    assert not left_out


@pytest.mark.parametrize("script", SHELL, ids=lambda path: path.name)
def test_scripts_are_posix_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", str(script)], check=True)
    if script.suffix != ".sh":
        assert os.access(script, os.X_OK)
        assert script.read_text("utf-8").startswith("#!/bin/sh\n")


def test_the_unit_is_the_designs() -> None:
    unit = configparser.RawConfigParser(strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # as the module's manual says
    unit.read_string((ROOT / "etc/droned.service").read_text("utf-8"))
    service = dict(unit["Service"])
    assert {
        "Type": "notify",
        "NotifyAccess": "all",
        "KillMode": "process",
        "ExitType": "cgroup",
        "Delegate": "yes",
        "TimeoutStopSec": "infinity",
        "Restart": "always",
        "RestartPreventExitStatus": "0 78",
        "WatchdogSec": "30",
        "ExecReload": "kill -USR2 $MAINPID",
    }.items() <= service.items()

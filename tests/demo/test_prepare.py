"""The demo's configuration and the ports it takes."""

import socket
import sys
from pathlib import Path

import pytest

from droned.demo import prepare as demo
from droned.errors import CannotRun


def test_the_words_between_at_signs_are_put_in() -> None:
    text = demo.configuration(18080)
    settings = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert "@" not in "".join(settings)
    assert sys.executable in text
    assert '"18080"' in text


def test_every_program_of_the_configuration_is_shipped() -> None:
    programs = sorted(path.name for path in (demo.HERE / "programs").glob("*.py"))
    assert programs == ["flaky.py", "web.py", "worker.py"]
    assert all(program in demo.configuration(8080) for program in programs)


def test_a_dollar_sign_in_a_path_stays_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", '/opt/py$HOME/"python"')
    assert r'"/opt/py$$HOME/\"python\""' in demo.configuration(8080)


def test_a_taken_port_moves_the_demo_to_the_next_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(demo, "BASE_PORTS", (port - 1,))
        with pytest.raises(CannotRun, match=f"no free ports on 127.0.0.1 among {port - 1} to {port}"):
            demo.free_base_port()


def test_prepare_writes_into_the_demos_own_folder(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    made = demo.prepare(1000, {"DRONED_STATE": str(tmp_path), "DRONED_CONFIG": "/nowhere"})
    assert made.arguments == [
        *("-c", f"{tmp_path}/demo/demo.yaml"),
        *("--state", f"{tmp_path}/demo"),
        *("--socket", f"{tmp_path}/demo.sock"),
    ]
    assert Path(made.config_path).read_text("utf-8").startswith("# The demo")
    assert "dronectl status" in made.text


def test_prepare_says_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"cannot prepare the demo: .*demo\.yaml"):
        demo.prepare(1000, {"DRONED_STATE": str(tmp_path), "DRONED_CONFIG": "/nowhere"})

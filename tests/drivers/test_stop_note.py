"""The word that a daemon leaves when it is stopped on purpose."""

import json
import os
import socket
from pathlib import Path

import pytest

from droned.drivers.stop_note import leave_note, take_note_away

CARD = {"pid": 4700, "start_time": 1, "boot_id": "b"}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "guardian").mkdir()
    (tmp_path / "guardian/guardian.json").write_text(json.dumps(CARD))
    return tmp_path


def leave(state: Path, at: Path) -> Path:
    leave_note(str(at), str(state), at=5.0, actor="root", reason="")
    return Path(f"{at}.stopped")


def test_it_names_the_guardian_and_is_for_those_whom_the_socket_lets_in(state: Path) -> None:
    path = state / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o660)
        note = leave(state, path)
    assert json.loads(note.read_text()) == {
        "at": 5.0,
        "actor": "root",
        "reason": "",
        "state_dir": str(state),
        "guardian": CARD,
    }
    assert note.stat().st_mode & 0o777 == 0o640
    path.chmod(0o600)
    assert leave(state, path).stat().st_mode & 0o777 == 0o600


def test_without_a_socket_it_is_for_its_owner(state: Path) -> None:
    assert leave(state, state / "s").stat().st_mode & 0o777 == 0o600


def test_it_is_never_written_through_a_link(state: Path) -> None:
    (state / "victim").write_text("mine")
    (state / "s.stopped").symlink_to(state / "victim")
    leave(state, state / "s")
    assert (state / "victim").read_text() == "mine"


def test_it_is_taken_away_and_need_not_be_there(state: Path) -> None:
    leave(state, state / "s")
    for _ in range(2):
        take_note_away(str(state / "s"))
        assert os.listdir(state) == ["guardian"]

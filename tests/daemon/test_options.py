"""The options of `droned run`."""

from __future__ import annotations

import pytest

from droned.daemon.options import run_options
from droned.errors import BadRequest

ROOT: dict[str, str] = {}


def test_root_uses_the_systems_places() -> None:
    options = run_options([], 0, ROOT)
    assert (options.config, options.state_dir, options.socket) == (
        "/etc/droned",
        "/var/lib/droned",
        "/run/droned/droned.sock",
    )
    assert not options.socket_is_given


def test_a_state_folder_of_ones_own_has_its_socket_inside() -> None:
    options = run_options(["--state", "/srv/d"], 0, ROOT)
    assert options.socket == "/srv/d/droned.sock"


def test_options_win_over_the_environment() -> None:
    environ = {"DRONED_STATE": "/env/state", "DRONED_CONFIG": "/env/config"}
    assert run_options([], 0, environ).state_dir == "/env/state"
    options = run_options(["--state", "/mine", "-c", "/my.yaml"], 0, environ)
    assert (options.state_dir, options.config) == ("/mine", "/my.yaml")


@pytest.mark.parametrize(
    "argv",
    [
        ["-c", "/a", "--state", "/b", "--socket", "/c", "--set", "x=1", "--set", "y=2"],
        ["--reactor", "poll", "--exit-when", "failed:web"],
        ["--state", "/b"],
        [],
    ],
)
def test_the_daemon_gets_the_same_options(argv: list[str]) -> None:
    options = run_options(argv, 0, ROOT)
    assert run_options(options.for_daemon(), 0, ROOT) == options


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--exit-when", "bored"], "bored"),
        (["--pidfile", "/p"], "--daemonize"),
        (["--set", "novalue"], "novalue"),
        (["--reactor", "iocp"], "iocp"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_what_cannot_be_taken_is_named(argv: list[str], words: str) -> None:
    with pytest.raises(BadRequest, match="cannot") as refused:
        run_options(argv, 0, ROOT)
    assert words in str(refused.value)

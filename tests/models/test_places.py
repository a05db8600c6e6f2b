"""Where files and sockets stand, by user and environment."""

import pytest

from droned.errors import BadRequest, CannotRun
from droned.models.places import places_beside, places_of, sockets_to_try

HOME = {"HOME": "/home/ann"}
SESSION = {**HOME, "XDG_RUNTIME_DIR": "/run/user/1000"}


def test_root_uses_the_systems_folders() -> None:
    places = places_of(0, {"HOME": "/root", "XDG_STATE_HOME": "/elsewhere"})
    assert places.config == "/etc/droned"
    assert places.state_dir == "/var/lib/droned"
    assert places.socket == "/run/droned/droned.sock"
    assert places.demo_state_dir == "/var/lib/droned-demo"
    assert places.demo_socket == "/run/droned/demo.sock"


def test_others_use_the_xdg_folders() -> None:
    places = places_of(1000, SESSION)
    assert places.config == "/home/ann/.config/droned"
    assert places.state_dir == "/home/ann/.local/state/droned"
    assert places.socket == "/run/user/1000/droned/droned.sock"


def test_xdg_variables_are_followed_and_relative_ones_ignored() -> None:
    environ = {**HOME, "XDG_CONFIG_HOME": "/c/", "XDG_STATE_HOME": "relative", "XDG_RUNTIME_DIR": "run"}
    places = places_of(1000, environ)
    assert places.config == "/c/droned"
    assert places.state_dir == "/home/ann/.local/state/droned"
    assert places.socket == "/home/ann/.local/state/droned/run/droned.sock"


@pytest.mark.parametrize("uid", [0, 1000])
def test_a_state_folder_of_ones_own_carries_its_socket(uid: int) -> None:
    places = places_of(uid, {**SESSION, "DRONED_STATE": "/srv/d/", "DRONED_CONFIG": "/srv/d.yaml"})
    assert places.config == "/srv/d.yaml"
    assert (places.state_dir, places.run_dir) == ("/srv/d", "/srv/d")
    assert places.socket == "/srv/d/droned.sock"
    assert places.demo_state_dir == "/srv/d/demo"
    assert places == places_of(uid, {**SESSION, "DRONED_STATE": "/srv/d", "DRONED_CONFIG": "/srv/d.yaml"})


def test_an_option_does_what_the_variable_does() -> None:
    places = places_beside("/srv/d", places_of(0, {}))
    assert (places.config, places.state_dir, places.socket) == ("/etc/droned", "/srv/d", "/srv/d/droned.sock")


def test_a_named_host_is_the_only_one_tried() -> None:
    environ = {"DRONED_HOST": "unix:///tmp/x.sock"}
    assert sockets_to_try(0, environ) == ("/tmp/x.sock",)
    assert places_of(0, environ).socket == "/tmp/x.sock"


@pytest.mark.parametrize("host", ["unix://relative", "/run/droned.sock", "https://web1:5500", "unix:"])
def test_any_other_host_is_refused(host: str) -> None:
    with pytest.raises(BadRequest, match="cannot use DRONED_HOST"):
        sockets_to_try(0, {"DRONED_HOST": host})


def test_the_demo_is_tried_second_and_the_systems_droned_last() -> None:
    assert sockets_to_try(0, {}) == ("/run/droned/droned.sock", "/run/droned/demo.sock")
    assert sockets_to_try(1000, SESSION) == (
        "/run/user/1000/droned/droned.sock",
        "/run/user/1000/droned/demo.sock",
        "/run/droned/droned.sock",
    )


def test_a_missing_home_is_told_unless_nothing_hangs_on_it() -> None:
    with pytest.raises(CannotRun, match="HOME"):
        places_of(1000, {})
    places_of(1000, {"DRONED_STATE": "/s", "DRONED_CONFIG": "/c"})


def test_a_relative_state_folder_is_refused() -> None:
    with pytest.raises(BadRequest, match='DRONED_STATE "state"'):
        places_of(0, {"DRONED_STATE": "state"})

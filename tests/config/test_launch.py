"""What the guardian is told to start."""

from droned.config import launch_order
from droned.config.launch import DEFAULT_PATH
from tests.config.loading import app

SURROUNDINGS = {
    "PATH": "/opt/bin",
    "LANG": "C.UTF-8",
    "LC_TIME": "de_DE",
    "TZ": "UTC",
    "HOME": "/root",
    "LD_PRELOAD": "/x.so",
    "LD_LIBRARY_PATH": "/x",
    "PYTHONPATH": "/x",
    "PYTHONSTARTUP": "/x",
    "BASH_ENV": "/x",
    "IFS": ":",
    "DRONED_STATE": "/x",
    "NOTIFY_SOCKET": "/x",
    "SECRET": "x",
}
OWN = {"DRONED_APP": "web", "DRONED_INSTANCE": "web/0", "DRONED_LABEL": "0", "DRONED_SERVER": "host1"}


def environment(*lines: str, base: dict[str, str]) -> object:
    return launch_order(app(*lines), "0", "host1", base)["env"]


def test_the_whole_order() -> None:
    spec = app(
        "directory: /srv/${DRONED_LABEL}",
        "user: www",
        "group: 33",
        "groups: [adm, 4]",
        "umask: '027'",
        "limits: {nofile: [1K, unlimited], core: 0}",
        "nice: 5",
        "oom_score_adj: -5",
        "no_new_privs: true",
        command="[web, '800${DRONED_LABEL}']",
    )
    assert launch_order(spec, "0", "host1", {"PATH": "/bin"}) == {
        "argv": ["web", "8000"],
        "env": {"PATH": "/bin", **OWN},
        "directory": "/srv/0",
        "user": "www",
        "group": 33,
        "groups": ["adm", 4],
        "umask": 0o27,
        "limits": {"core": [0, 0], "nofile": [1024, -1]},
        "nice": 5,
        "oom_score_adj": -5,
        "no_new_privs": True,
    }


def test_what_is_not_configured_is_none() -> None:
    order = launch_order(app(), "0", "host1", {})
    assert [name for name, value in order.items() if value is None] == [
        *("directory", "user", "group", "groups", "umask", "nice", "oom_score_adj")
    ]
    assert order["limits"] == {}
    assert order["no_new_privs"] is False


def test_an_app_gets_few_of_our_own_variables() -> None:
    assert environment(base=SURROUNDINGS) == {
        "PATH": "/opt/bin",
        "LANG": "C.UTF-8",
        "LC_TIME": "de_DE",
        "TZ": "UTC",
        **OWN,
    }


def test_a_path_is_always_there() -> None:
    assert environment(base={}) == {"PATH": DEFAULT_PATH, **OWN}


def test_what_is_configured_wins() -> None:
    found = environment("env: {PATH: /mine, LD_PRELOAD: /mine.so}", base=SURROUNDINGS)
    assert isinstance(found, dict)
    assert (found["PATH"], found["LD_PRELOAD"]) == ("/mine", "/mine.so")


def test_odd_bytes_pass_unchanged() -> None:
    spec = app("env: {ODD: '${ODD}'}", command="[web, '${ODD}', 'ü\\n']", environ={"ODD": "a\udcff"})
    order = launch_order(spec, "0", "host1", {})
    assert order["argv"] == ["web", "a\udcff", "ü\\n"]
    assert isinstance(order["env"], dict)
    assert order["env"]["ODD"] == "a\udcff"

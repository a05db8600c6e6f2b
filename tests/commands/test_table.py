"""The one table of commands and the check of arguments against it."""

import pytest

from droned.commands.arguments import SIGNAL_TO
from droned.commands.table import (
    COMMANDS,
    Command,
    CommandClass,
    Role,
    TakesTargets,
    check_arguments,
    check_query,
    find_command,
)
from droned.errors import BadRequest, NoSuchTarget
from droned.models.policy import SignalTo

READS = {
    "status",
    "describe",
    "why",
    "history",
    "events",
    "issues",
    "actions",
    "apps",
    "daemon-status",
    "logs",
    "logs-usage",
}
OPERATES = {"start", "stop", "restart", "enable", "disable", "kill", "logs-rotate"}
ADMINISTERS = {
    "scale",
    "logs-clear",
    "daemon-restart",
    "daemon-stop",
    "daemon-shutdown",
    "daemon-reload",
    "daemon-debug",
}


def names(role: Role) -> set[str]:
    return {command.name for command in COMMANDS.values() if command.role is role}


def test_every_command_has_the_role_that_was_agreed() -> None:
    assert names(Role.READ) == READS
    assert names(Role.OPERATE) == OPERATES
    assert names(Role.ADMIN) == ADMINISTERS


def test_only_reading_commands_have_the_role_read() -> None:
    assert {name for name, row in COMMANDS.items() if row.klass is CommandClass.READ} == READS


def test_an_operator_can_always_look_stop_and_kill() -> None:
    """SEMANTICS: with a journal that cannot write, status, stop and kill work."""
    degraded = {name for name, row in COMMANDS.items() if row.works_degraded}
    assert degraded >= READS | {"stop", "kill"}
    assert not degraded & {"start", "restart", "enable", "disable", "scale", "daemon-reload"}


def test_whatever_changes_instances_needs_a_target() -> None:
    for name in OPERATES:
        assert COMMANDS[name].takes_targets is TakesTargets.SOME


def test_roles_include_those_before_them() -> None:
    assert Role.ADMIN.includes(Role.READ)
    assert Role.OPERATE.includes(Role.OPERATE)
    assert not Role.READ.includes(Role.OPERATE)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: command.name)
def test_every_row_says_what_it_is(command: Command) -> None:
    assert command.help
    assert not command.help.endswith(".")
    assert all(argument.help for argument in command.arguments)
    assert len({argument.name for argument in command.arguments}) == len(command.arguments)


def test_an_unknown_command_names_its_neighbour() -> None:
    with pytest.raises(NoSuchTarget) as caught:
        find_command("restrat")
    assert str(caught.value).startswith('cannot find a command "restrat"; did you mean "restart"')


def test_missing_arguments_get_their_default() -> None:
    assert check_arguments(COMMANDS["kill"], {"signal": "hup"}) == {"signal": 1, "to": "main"}


@pytest.mark.parametrize("value", ["TERM", "SIGTERM", "term", 15, "15"])
def test_a_signal_is_a_name_or_a_number(value: object) -> None:
    assert check_arguments(COMMANDS["kill"], {"signal": value})["signal"] == 15


@pytest.mark.parametrize("value", ["SIGNOPE", "", 0, -9, 65, True, 9.0, None, "0", "９", ["TERM"], "SIG_DFL"])
def test_what_is_no_signal_is_refused(value: object) -> None:
    with pytest.raises(BadRequest, match="as signal: it must be a signal such as"):
        check_arguments(COMMANDS["kill"], {"signal": value})


def test_a_required_argument_must_be_there() -> None:
    with pytest.raises(BadRequest, match="cannot kill without signal"):
        check_arguments(COMMANDS["kill"], {"to": "tree"})


def test_an_unknown_argument_names_its_neighbour() -> None:
    with pytest.raises(BadRequest) as caught:
        check_arguments(COMMANDS["kill"], {"singal": "TERM"})
    assert caught.value.facts["near"] == ["signal"]
    assert "did you mean" in str(caught.value)


def test_a_choice_is_one_of_the_choices() -> None:
    with pytest.raises(BadRequest, match="one of main, group, tree"):
        check_arguments(COMMANDS["kill"], {"signal": 9, "to": "all"})


def test_a_signal_goes_where_a_stop_step_can_send_it() -> None:
    assert tuple(SignalTo) == SIGNAL_TO


def test_counts_are_apps_with_numbers() -> None:
    assert check_arguments(COMMANDS["scale"], {"counts": {"web": 4, "db": 0}})["counts"] == {
        "web": 4,
        "db": 0,
    }


@pytest.mark.parametrize(
    "counts",
    [{}, [], {"web": -1}, {"web": True}, {"web": 1.0}, {"web": 10_001}, {"../x": 1}, {"": 1}, "web=1"],
)
def test_what_are_no_counts_is_refused(counts: object) -> None:
    with pytest.raises(BadRequest, match=r"^cannot take "):
        check_arguments(COMMANDS["scale"], {"counts": counts})


@pytest.mark.parametrize("pause", [-1, "5", True, float("inf"), float("nan"), 1e9, None])
def test_what_are_no_seconds_is_refused(pause: object) -> None:
    with pytest.raises(BadRequest, match="a number of seconds from 0 to 86400"):
        check_arguments(COMMANDS["daemon-debug"], {"pause_s": pause})


def test_a_query_gives_the_same_values_as_json() -> None:
    given = {"since": ["88214.2"], "type": ["a", "b"], "limit": ["7"], "follow": ["1"], "target": ["web"]}
    assert check_query(COMMANDS["events"], given) == {
        "since": (88214, 2),
        "type": ("a", "b"),
        "limit": 7,
        "follow": True,
    }


def test_counts_in_a_query_are_pairs() -> None:
    assert check_query(COMMANDS["scale"], {"counts": ["web=4", "db=0"]})["counts"] == {"web": 4, "db": 0}


def test_a_flag_is_true_or_false_and_nothing_else() -> None:
    assert check_arguments(COMMANDS["events"], {"follow": True})["follow"] is True
    for value in (1, "true", None):
        with pytest.raises(BadRequest, match="as follow: it must be true or false"):
            check_arguments(COMMANDS["events"], {"follow": value})


def test_a_list_of_texts_is_a_list_of_texts() -> None:
    for value in ("a", [1], ["a\nb"], ["a"] * 10_001):
        with pytest.raises(BadRequest, match="as type"):
            check_arguments(COMMANDS["events"], {"type": value})


def test_a_bare_version_stands_behind_all_its_events() -> None:
    since = check_query(COMMANDS["events"], {"since": ["88214"]})["since"]
    assert isinstance(since, tuple)
    assert (88214, 999_999_999) < since < (88215, 0)


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("events", {"since": ["88214."]}),
        ("events", {"since": ["-1"]}),
        ("events", {"since": ["1", "2"]}),
        ("events", {"follow": ["yes"]}),
        ("events", {"limit": ["10001"]}),
        ("events", {"limit": ["1e3"]}),
        ("events", {"limit": ["9" * 5000]}),
        ("actions", {"wait": ["61"]}),
        ("actions", {"wait": ["nan"]}),
        ("actions", {"wait": ["soon"]}),
        ("apps", {"target": ["web"]}),
        ("status", {"after": ["a\nb"]}),
        ("scale", {"counts": ["web"]}),
        ("scale", {"counts": ["web=x"]}),
    ],
)
def test_a_wrong_query_is_refused(name: str, query: dict[str, list[str]]) -> None:
    with pytest.raises(BadRequest, match=r"^cannot take "):
        check_query(COMMANDS[name], query)

"""The API's page says what the tables say."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from droned.commands.table import COMMANDS, Command, CommandClass
from droned.errors import DronedError, all_errors
from droned.models.events import MEANINGS, EventType

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "api.rst").read_text("utf-8")
CHANGING = [command for command in COMMANDS.values() if command.klass is not CommandClass.READ]


def row(name: str) -> str:
    """The line of a table that begins with this name."""
    [found] = re.findall(rf"^``{re.escape(name)}``  .*$", PAGE, re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("command", CHANGING, ids=lambda command: command.name)
def test_every_command_is_documented(command: Command) -> None:
    cells = re.split(r"  +", row(command.name))
    arguments = ", ".join(f"``{argument.name}``" for argument in command.arguments)
    taken = "taken" if command.works_degraded else "refused"
    wanted = [f"``{command.name}``", command.role, command.takes_targets, arguments, taken]
    assert cells == [cell for cell in wanted if cell]


@pytest.mark.parametrize("kind", EventType)
def test_every_event_is_documented(kind: EventType) -> None:
    assert MEANINGS[kind][:60] in row(kind)


@pytest.mark.parametrize("error", all_errors(), ids=lambda error: error.code)
def test_every_error_is_documented(error: type[DronedError]) -> None:
    assert re.split(r"  +", row(error.code))[1:3] == [str(error.http_status), f"exit {error.exit_status}"]


def test_the_tree_of_errors_is_all_that_the_server_side_knows() -> None:
    """The page is drawn from one module: an error defined elsewhere would be on no page."""
    import_module("droned.daemon.build")
    found: list[type[DronedError]] = [DronedError]
    for error in found:
        found += error.__subclasses__()
    own = {error for error in found if re.match(r"droned\.(?!ctl\.)", error.__module__)}
    assert own == set(all_errors())


def test_no_line_of_the_page_is_too_long() -> None:
    assert max(map(len, PAGE.splitlines())) <= 120

"""The documentation's page of dronectl says what the program takes: held against the tree of verbs."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click

from droned.ctl import failures
from droned.ctl.app import ALIASES, VERBS, app
from droned.ctl.listing import COLUMNS
from droned.ctl.options import COMMON, Verb, common_options
from droned.errors import DronedError, all_errors

PAGE = (Path(__file__).parents[2] / "docs/dronectl.rst").read_text("utf-8")


def table(name: str) -> list[list[str]]:
    """The rows of a table of the page; a line without a first column continues the one above it."""
    text = PAGE.split(f".. table begins: {name}\n")[1].split(f".. table ends: {name}")[0]
    border, *lines = [line for line in text.splitlines() if line]
    starts = [match.start() for match in re.finditer(r"=+", border)]
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("="):
            continue
        cells = [line[start:end].strip() for start, end in pairwise([*starts, None])]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{above} {cell}".strip() for above, cell in zip(rows[-1], cells, strict=True)]
    return rows


def verbs() -> Iterator[tuple[str, Verb]]:
    context = click.Context(app)
    for name in VERBS:
        command = app.get_command(context, name)
        if isinstance(command, click.Group):
            for below, each in command.commands.items():
                assert isinstance(each, Verb)
                yield f"{name} {below}", each
        else:
            assert isinstance(command, Verb)
            yield name, command
            yield from ((f"{name} {below}", each) for below, each in command.below.items())


def test_verbs_and_their_formats() -> None:
    documented = {name: formats for name, formats, _ in table("verbs")[1:]}
    assert documented == {f"``{name}``": ", ".join(verb.formats) for name, verb in verbs()}


def test_aliases() -> None:
    for alias in ALIASES:
        assert f"``{alias}``" in PAGE


def test_common_options() -> None:
    documented = " ".join(first for first, _ in table("common options"))
    spelled = [name for option in common_options() for name in option.opts]
    assert sorted(re.findall(r"``(.+?)``", documented)) == sorted(spelled)


def test_every_verbs_own_options() -> None:
    documented = {
        (name, " ".join(sorted(re.findall(r"``(.+?)``", options))))
        for options, names, _ in table("own options")[1:]
        for name in names.split(", ")
    }
    assert documented == {
        (name, " ".join(sorted(option.opts)))
        for name, verb in verbs()
        for option in verb.params
        if isinstance(option, click.Option) and option.name not in COMMON
    }


def test_columns() -> None:
    assert " ".join(COLUMNS) in " ".join(PAGE.split())


def test_exit_statuses() -> None:
    documented = {int(first) for first, _ in table("exit status")}
    own = [each for each in vars(failures).values() if isinstance(each, type)]
    errors = {each for each in (*all_errors(), *own) if issubclass(each, DronedError)}
    known = {error.exit_status for error in errors} - {75, 78}  # those of droned itself
    assert documented == known | {0, 3, failures.INTERRUPTED, failures.OUTPUT_CLOSED}
    assert failures.__doc__ is not None
    for first, second in table("exit status"):
        assert f"| {first:4} | {second} |" in failures.__doc__


def test_every_verb_has_a_line_of_help_that_is_its_own() -> None:
    for name, verb in verbs():
        help_ = verb.get_short_help_str(200)
        assert help_, name
        if name in VERBS:
            assert VERBS[name].rstrip(".").split()[0] == help_.split()[0], name

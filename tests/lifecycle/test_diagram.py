"""What is drawn from the table, and the page that holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from droned.lifecycle.diagram import GONE, arrows, cells, drawn, rules, transitions
from droned.lifecycle.table import MATRIX, STATES
from droned.models.records import State

PAGE = Path(__file__).resolve().parents[2] / "docs/design/lifecycle.rst"
MARK = ".. The rest is drawn: python -m droned.lifecycle.diagram\n\n"


def test_the_page_holds_what_the_table_says() -> None:
    assert PAGE.read_text("utf-8").partition(MARK)[2] == drawn()


def test_there_is_a_row_for_every_input_and_a_column_for_every_state() -> None:
    _, head, _, *rows, _ = cells().splitlines()
    assert head.split() == ["input", *(str(state) for state in STATES)]
    assert [row.split()[0] for row in rows] == [given.__name__ for given in MATRIX]


def test_every_rule_is_said_in_words() -> None:
    entries = rules().strip().split("\n\n")
    assert len(entries) == len({rule for row in MATRIX.values() for rule in row})
    assert all(entry.splitlines()[1].startswith("    ") and entry.endswith(".") for entry in entries)


def test_every_state_but_waiting_can_be_reached_and_left() -> None:
    """Nothing waits for a condition yet: `waiting` can be left, and nothing leads there."""
    found = transitions()
    assert {end for _, end in found} == {*map(str, State), GONE} - {"waiting"}
    assert {start for start, _ in found} == {*map(str, State)}


@pytest.mark.parametrize(
    ("start", "end", "given"),
    [
        ("stopped", "starting", "Start"),
        ("starting", "running", "Elapsed"),
        ("running", "stopping", "Stop"),
        ("running", "backoff", "Ended"),
        ("running", "starting", "Ended"),
        ("stopping", "stopped", "TreeGone"),
        ("backoff", "starting", "Elapsed"),
        ("failed", "starting", "Cleared"),
        ("stopping", GONE, "Ended"),
    ],
)
def test_the_arrows_that_everybody_expects_are_there(start: str, end: str, given: str) -> None:
    assert given in transitions()[start, end]
    assert any(line.split()[:3] == [start, "->", end] and given in line for line in arrows().splitlines())


def test_nothing_goes_from_running_to_stopped_but_with_the_host() -> None:
    assert transitions()["running", "stopped"] == ("Rebooted",)

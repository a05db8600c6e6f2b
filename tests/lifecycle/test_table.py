# ruff: noqa: E501  (the matrix reads as a matrix only with one line a row)
"""Every cell of the table does what this second matrix says, seen from outside."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from msgspec.structs import replace

from droned.errors import NotNow
from droned.lifecycle import inputs as i
from droned.lifecycle.table import MATRIX, STATES, TABLE, step
from droned.models.records import DueKind, InstanceRecord, State
from tests.lifecycle.samples import WEB, at, ended, found, not_started, record, spawned

INPUTS: dict[type[Any], i.Input] = {
    i.Start: i.Start(),
    i.Stop: i.Stop(),
    i.Restart: i.Restart(),
    i.SendSignal: i.SendSignal(number=10, to="main"),
    i.Enable: i.Enable(),
    i.Disable: i.Disable(),
    i.Replace: i.Replace(),
    i.Remove: i.Remove(),
    i.Rejoin: i.Rejoin(),
    i.Begin: i.Begin(),
    i.ShutDown: i.ShutDown(),
    i.Rebooted: i.Rebooted(),
    i.Spawned: spawned(),
    i.StartFailed: not_started(),
    i.Ended: ended(),
    i.TreeGone: i.TreeGone(run=3),
    i.Found: found(),
    i.TakenOver: i.TakenOver(run=3),
    i.Vanished: i.Vanished(run=3),
    i.Elapsed: i.Elapsed(kind=DueKind.START),
    i.Cleared: i.Cleared(),
}
ELAPSED = {
    State.STARTING: DueKind.GRACE,
    State.STOPPING: DueKind.STOP,
    State.FAILED: DueKind.RETRY,
}

# What becomes of a wanted, enabled `web/0` on its third run: the state, or `gone`; `=` is the state as it
# was with the whole record unchanged; `~` is the same state with another record; `!` is refused. What is
# ordered follows: s(pawn), k (signal), l(ook), f(orget).
EXPECTED = """
             stopped     waiting     starting    running     stopping    backoff     exited      failed      unknown
Start        starting+s  starting+s  =           =           ~           starting+s  starting+s  starting+s  starting+s
Stop         ~           stopped     stopping+k  stopping+k  ~           stopped     stopped     stopped     stopped
Restart      starting+s  starting+s  stopping+k  stopping+k  ~           starting+s  starting+s  starting+s  starting+s
SendSignal   !           !           ~+k         ~+k         =+k         !           !           !           !
Enable       =           =           =           =           =           =           =           =           =
Disable      ~           stopped     ~           ~           ~           exited      ~           ~           ~
Replace      =           =           stopping+k  stopping+k  =           =           =           starting+s  =
Remove       gone+f      gone+f      stopping+k  stopping+k  ~           gone+f      gone+f      gone+f      gone+f
Rejoin       =           =           =           =           =           =           =           =           =
Begin        starting+s  starting+s  =           =           ~           =           starting+s  =           starting+s
ShutDown     =           stopped     stopping+k  stopping+k  =           stopped     =           ~           =
Rebooted     ~           ~           stopped     stopped     stopped     ~           ~           ~           ~
Spawned      running     =           =           =           =           running     running     running     running
StartFailed  =           =           backoff     backoff     stopped     =           =           =           =
Ended        =           =           backoff     backoff     stopped     =           =           =           exited
TreeGone     =           =           =           =           =           =           =           =           =
Found        running     running     =           =           =           running     running     running     running
TakenOver    =           =           =           =           ~+k         =           =           =           =
Vanished     =           =           backoff     backoff     stopped     =           =           =           =
Elapsed      =           starting+s  running     =           ~+k         starting+s  =           starting+s  =
Cleared      =           =           =           =           =           =           =           =           =
"""
"""Cells that depend on more than the state have their tests in `test_commands`, `test_observations` and `test_taking_over`."""

CELLS = [
    (name, State(state), cell)
    for line in EXPECTED.strip().splitlines()[1:]
    for name, *cells in [line.split()]
    for state, cell in zip(EXPECTED.split()[:9], cells, strict=True)
]


def letters(effects: tuple[i.Effect, ...]) -> str:
    names = {i.Spawn: "s", i.Signal: "k", i.Look: "l", i.Forget: "f"}
    return "".join(names[type(effect)] for effect in effects)


def seen(before: InstanceRecord, given: i.Input) -> str:
    """What the step does, in the words of `EXPECTED`."""
    try:
        outcome = step(before, WEB, given, at(10.0))
    except NotNow:
        return "!"
    became = outcome.record
    if became is None:
        word = "gone"
    elif became.state is before.state:
        word = "=" if became == before else "~"
    else:
        word = str(became.state)
    return word + (f"+{letters(outcome.effects)}" if outcome.effects else "")


@pytest.mark.parametrize(("name", "state", "cell"), CELLS)
def test_each_cell_does_what_the_matrix_says(name: str, state: State, cell: str) -> None:
    given = INPUTS[getattr(i, name)]
    if isinstance(given, i.Elapsed) and state in ELAPSED:
        given = i.Elapsed(kind=ELAPSED[state])
    assert seen(record(state), given) == cell


def test_the_table_has_every_input_in_every_state() -> None:
    every = {*get_args(i.Command), *get_args(i.Observation)}
    assert set(MATRIX) == every == set(INPUTS)
    assert set(STATES) == set(State)
    assert len(CELLS) == len(every) * len(STATES)
    for state in State:
        assert set(TABLE[state]) == every


def test_commands_are_refused_only_where_there_is_no_process() -> None:
    refused = {
        (given, state)
        for given, row in MATRIX.items()
        for state, rule in zip(STATES, row, strict=True)
        if rule.__name__ == "refused"
    }
    has_process = {State.STARTING, State.RUNNING, State.STOPPING}
    assert refused == {(i.SendSignal, state) for state in State if state not in has_process}


def test_a_refusal_says_what_it_is_and_why() -> None:
    with pytest.raises(NotNow, match=r"^cannot signal web/0: it is exited, there is no process$"):
        step(record(State.EXITED), WEB, i.SendSignal(number=10, to="main"), at())


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(
    "given",
    [
        spawned(2),
        not_started(run=2),
        ended(run=2),
        i.TreeGone(run=2),
        found(2),
        i.TakenOver(run=2),
        i.Vanished(run=2),
    ],
)
def test_what_is_seen_of_an_earlier_run_is_of_the_past(given: i.Input, state: State) -> None:
    before = record(state)
    assert step(before, WEB, given, at()).record is before


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", list(DueKind))
def test_a_time_that_is_not_due_changes_nothing(kind: DueKind, state: State) -> None:
    before = replace(record(state), due=None)
    assert step(before, WEB, i.Elapsed(kind=kind), at()).record is before


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", list(DueKind))
def test_the_time_of_another_kind_changes_nothing(kind: DueKind, state: State) -> None:
    before = record(state)
    if before.due is not None and before.due.kind is not kind:
        assert step(before, WEB, i.Elapsed(kind=kind), at()).record is before


@pytest.mark.parametrize("given", INPUTS.values(), ids=lambda given: type(given).__name__)
@pytest.mark.parametrize("state", list(State))
def test_no_state_changes_without_an_event(given: i.Input, state: State) -> None:
    before = record(state)
    try:
        outcome = step(before, WEB, given, at(10.0))
    except NotNow:
        return
    if outcome.record is None or outcome.record.state is not state:
        assert outcome.occurrences
    assert all(each.subject == "web/0" and each.text for each in outcome.occurrences)

"""What a daemon makes of the guardian's table: what is found, what vanished, what ended unseen."""

from __future__ import annotations

import pytest

from droned.lifecycle import inputs as i
from droned.models.policy import DEFAULT_STOP, SignalTo, StopStep
from droned.models.records import DueKind, State, Then, Wanted
from tests.lifecycle.samples import (
    CRASH,
    MONO,
    WALL,
    after,
    after_main,
    app,
    due,
    ended,
    found,
    in_setup,
    record,
    signals,
    take,
)

DOWN = Wanted.DOWN


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_a_process_that_is_known_is_no_news(state: State) -> None:
    before = record(state)
    assert take(before, found()).record is before


def test_an_order_that_was_carried_out_is_taken_up() -> None:
    outcome = take(in_setup(revision=7), found(spawned_at=WALL - 0.25))
    now = outcome.record
    assert now is not None
    assert (now.state, now.pid, now.revision) == (State.STARTING, 4712, 7)
    assert now.due == due(DueKind.GRACE, 0.75)
    assert now.started_mono == MONO - 0.25


@pytest.mark.parametrize("state", list(State))
def test_a_later_run_of_a_wanted_instance_is_taken_over_whatever_the_journal_says(state: State) -> None:
    """The journal's last moments were lost with the daemon; the guardian's table is ahead."""
    then = Then.START if state is State.STOPPING else Then.REST
    outcome = take(record(state, then=then), found(run=6, pid=9))
    now = outcome.record
    assert now is not None
    assert (now.state, now.run, now.pid, now.ready, now.due) == (State.RUNNING, 6, 9, True, None)
    assert (now.then, now.stop_step) == (Then.REST, None)
    assert not outcome.effects


def test_a_restart_by_the_policy_that_was_carried_out_is_not_undone() -> None:
    assert after(after_main(Then.POLICY), found(run=4)).state is State.RUNNING


@pytest.mark.parametrize("state", [State.STOPPED, State.EXITED, State.FAILED, State.UNKNOWN])
def test_a_later_run_of_an_unwanted_instance_is_stopped(state: State) -> None:
    outcome = take(record(state, wanted=DOWN), found(run=6))
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.run) == (State.STOPPING, 6)
    assert outcome.effects == (i.Signal(instance="web/0", run=6, number=15, to="main"),)


@pytest.mark.parametrize("then", [Then.REST, Then.REMOVE])
def test_a_later_run_found_in_the_middle_of_a_stop_is_stopped_from_the_first_step(then: Then) -> None:
    outcome = take(record(State.STOPPING, wanted=DOWN, then=then, stop_step=2), found(run=6))
    now = outcome.record
    assert now is not None
    assert (now.state, now.then, now.stop_step) == (State.STOPPING, then, 0)
    assert outcome.effects == (i.Signal(instance="web/0", run=6, number=15, to="main"),)


def test_a_process_found_in_the_middle_of_its_stop_gets_the_signal_that_it_may_have_missed() -> None:
    outcome = take(after(in_setup(), i.Stop()), found())
    assert outcome.record is not None
    assert (outcome.record.pid, outcome.record.stop_step) == (4712, 0)
    assert signals([outcome]) == [(15, "main")]


def test_an_order_that_never_arrived_is_given_again() -> None:
    outcome = take(in_setup(), i.Vanished(run=3))
    assert outcome.effects == (i.Spawn(instance="web/0", run=3, automatic=False),)
    assert outcome.record == in_setup()


def test_an_order_that_never_arrived_and_was_taken_back_ends_in_nothing() -> None:
    now = after(in_setup(), i.Stop(), i.Vanished(run=3))
    assert (now.state, now.exit) == (State.STOPPED, None)


def test_a_run_that_nobody_holds_ended_unseen() -> None:
    now = after(record(State.RUNNING), i.Vanished(run=3))
    assert now.exit is not None
    assert (now.state, now.exit.is_unseen) == (State.BACKOFF, True)
    stopped = after(record(State.STOPPING), i.Vanished(run=3))
    assert stopped.exit is not None
    assert (stopped.state, stopped.exit.is_unseen) == (State.STOPPED, True)


def test_a_tree_that_nobody_holds_leaves_the_end_that_was_seen() -> None:
    now = after(after_main(Then.POLICY), i.Vanished(run=3))
    assert now.exit is not None
    assert (now.state, now.exit.code) == (State.BACKOFF, 1)


def test_ends_after_the_journal_was_lost_are_all_recorded() -> None:
    """Runs 4 and 5 came and went in the moments that the journal lost."""
    now = after(record(State.RUNNING), ended(), found(run=4), ended(9, run=4), found(run=5))
    assert now.exit is not None
    assert (now.run, now.exit.run, now.exit.signal, now.state) == (5, 4, 9, State.RUNNING)


def test_a_wall_clock_that_steps_never_makes_a_time_negative() -> None:
    ahead = after(record(State.STOPPED), found(run=4, spawned_at=WALL + 3600.0))
    assert ahead.started_mono == MONO
    assert after(ahead, ended(CRASH, run=4, at_s=7200.0), seconds=1.0).state is State.BACKOFF


def test_a_stop_goes_on_with_its_signal_and_what_is_left_of_its_time() -> None:
    """The daemon before may have died between the journal's word and its own to the guardian."""
    before = record(State.STOPPING, wanted=DOWN)
    outcome = take(before, i.TakenOver(run=3), seconds=4.0)
    assert outcome.record == before
    assert signals([outcome]) == [(15, "main")]


def test_a_signal_that_comes_late_is_given_a_moment_to_be_heard() -> None:
    late = after(record(State.STOPPING, wanted=DOWN), i.TakenOver(run=3), seconds=60.0)
    assert late.due == due(DueKind.STOP, 62.0)
    short = app(stop=(StopStep(signal=15, to=SignalTo.MAIN, for_s=0.5), *DEFAULT_STOP[1:]))
    assert after(record(State.STOPPING), i.TakenOver(run=3), web=short, seconds=60.0).due == due(
        DueKind.STOP, 60.5
    )


@pytest.mark.parametrize("then", list(Then))
def test_what_is_left_of_a_tree_is_stopped_on_from_its_step(then: Then) -> None:
    outcome = take(after_main(then), i.TakenOver(run=3))
    assert outcome.record == after_main(then)
    assert signals([outcome]) == [(15, "tree")]


def test_a_run_in_its_set_up_gets_the_signal_of_its_stop_again() -> None:
    going = take(after(in_setup(), i.Stop()), i.TakenOver(run=3))
    assert signals([going]) == [(15, "main")]
    assert going.record == after(in_setup(), i.Stop())

"""What commands do where it depends on more than the state."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from droned.lifecycle import inputs as i
from droned.lifecycle.failed_starts import LOOK_EVERY_S
from droned.lifecycle.table import step
from droned.models.events import EventType
from droned.models.policy import Leftovers, RestartWhen
from droned.models.records import DueKind, Exit, State, Then, Wanted
from tests.lifecycle.samples import (
    CRASHED,
    MONO,
    WALL,
    after,
    after_main,
    app,
    at,
    due,
    ended,
    in_setup,
    not_started,
    record,
    signals,
    take,
    texts,
    types,
)

DOWN = Wanted.DOWN


# --- start


def test_a_start_forgets_the_tries_before_it() -> None:
    tired = record(State.FAILED, tries=7, recent_mono=(MONO - 3.0, MONO - 2.0))
    started = after(tired, i.Start())
    assert (started.run, started.tries, started.recent_mono) == (4, 0, ())


def test_a_start_by_command_is_no_automatic_restart() -> None:
    outcome = take(record(State.BACKOFF), i.Start())
    assert outcome.effects == (i.Spawn(instance="web/0", run=4, automatic=False),)
    assert outcome.record is not None
    assert outcome.record.restarts == 0


def test_a_start_takes_the_configuration_of_now() -> None:
    assert after(record(State.STOPPED), i.Start(), web=app(revision=9)).revision == 9


def test_a_start_while_going_down_comes_up_when_nothing_is_left() -> None:
    outcome = take(record(State.STOPPING, wanted=DOWN), i.Start(), ended(0))
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.run) == (State.STARTING, 4)
    assert outcome.effects == (i.Spawn(instance="web/0", run=4, automatic=False),)


def test_a_start_while_leftovers_are_ended_wins_over_the_policy() -> None:
    web = app(policy=RestartWhen.NEVER)
    assert after(after_main(Then.POLICY), i.Start(), i.TreeGone(run=3), web=web).state is State.STARTING


@pytest.mark.parametrize("given", [i.Start(), i.Restart()])
def test_what_leaves_the_configuration_is_not_started_again(given: i.Input) -> None:
    leaving = record(State.STOPPING, wanted=DOWN, then=Then.REMOVE)
    assert take(leaving, given, ended(0)).record is None


# --- stop


def test_a_stop_takes_its_steps_one_after_the_other() -> None:
    first = take(record(State.RUNNING), i.Stop())
    assert first.record is not None
    assert first.record.due == due(DueKind.STOP, 10.0)
    second = take(first.record, i.Elapsed(kind=DueKind.STOP), seconds=10.0)
    assert second.record is not None
    assert second.record.due == due(DueKind.STOP, 12.0)
    third = take(second.record, i.Elapsed(kind=DueKind.STOP), seconds=12.0)
    assert signals((first, second, third)) == [(15, "main"), (15, "tree"), (9, "tree")]


def test_a_tree_that_nothing_ends_gets_kill_again_and_is_told_once() -> None:
    outcome = take(record(State.RUNNING), i.Stop())
    told = []
    for _ in range(8):
        assert outcome.record is not None
        outcome = take(outcome.record, i.Elapsed(kind=DueKind.STOP))
        told.append(texts(outcome))
    now = outcome.record
    assert now is not None
    assert now.note == "does not end, not even by KILL"
    assert told[1] == "still there: KILL to tree"
    assert told[2] == "does not end, not even by KILL: KILL to tree again"
    assert told[3:] == [""] * 5
    assert signals([outcome]) == [(9, "tree")]
    assert now.due == due(DueKind.STOP, 5.0)


def test_a_stop_is_over_only_when_nothing_of_the_tree_is_left() -> None:
    outcome = take(record(State.RUNNING), i.Stop(), ended(0, leftovers=2))
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.pid) == (State.STOPPING, None)
    assert signals([outcome]) == [(15, "tree")]
    assert "2 of its processes live on" in texts(outcome)
    stopped = take(outcome.record, i.TreeGone(run=3))
    assert stopped.record is not None
    assert stopped.record.state is State.STOPPED
    assert texts(stopped) == "stopped (exited 0)"


def test_a_main_process_that_ends_in_a_later_step_leaves_that_step_its_time() -> None:
    now = after(record(State.RUNNING), i.Stop(), i.Elapsed(kind=DueKind.STOP))
    outcome = take(now, ended(0, leftovers=2))
    assert outcome.record is not None
    assert outcome.record == replace(now, pid=None, start_time=None, exit=outcome.record.exit)
    assert not outcome.effects


def test_leftovers_keep_is_about_ends_that_nobody_asked_for() -> None:
    """`Stopped` is said when nothing of the tree is left."""
    keep = app(leftovers=Leftovers.KEEP)
    now = after(record(State.RUNNING), i.Stop(), ended(0, leftovers=2), web=keep)
    assert now.state is State.STOPPING


def test_a_stop_during_the_set_up_waits_for_what_becomes_of_it() -> None:
    outcome = take(in_setup(), i.Stop())
    assert outcome.record is not None
    assert signals([outcome]) == [(15, "main")]
    failed = take(outcome.record, not_started())
    assert failed.record is not None
    assert failed.record.state is State.STOPPED
    assert failed.record.exit is not None
    assert failed.record.exit.stage == "limits"


def test_a_program_that_begins_after_its_stop_gets_the_signal_that_it_may_have_missed() -> None:
    stopping = after(in_setup(), i.Stop())
    outcome = take(stopping, i.Spawned(run=3, pid=7, start_time=1, at=WALL))
    assert outcome.record is not None
    assert outcome.record.pid == 7
    assert signals([outcome]) == [(15, "main")]


def test_a_stop_while_leftovers_are_ended_is_no_crash() -> None:
    outcome = take(after_main(Then.POLICY), i.Stop(), i.TreeGone(run=3))
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.wanted) == (State.STOPPED, DOWN)
    assert not outcome.effects


def test_a_stop_of_a_leaving_instance_changes_nothing_about_that() -> None:
    assert take(record(State.STOPPING, then=Then.REMOVE), i.Stop(), ended(0)).record is None


def test_a_stop_of_a_waiting_instance_leaves_no_timer() -> None:
    stopped = after(record(State.BACKOFF), i.Stop())
    assert (stopped.state, stopped.due, stopped.exit) == (State.STOPPED, None, CRASHED)


# --- restart


def test_a_restart_is_a_stop_while_still_wanted() -> None:
    first = take(record(State.RUNNING, tries=3), i.Restart())
    assert first.record is not None
    assert (first.record.wanted, first.record.then, first.record.tries) == (Wanted.UP, Then.START, 0)
    assert after(first.record, ended(15)).run == 4


def test_a_second_restart_on_the_way_down_is_the_same_restart() -> None:
    outcome = take(record(State.RUNNING), i.Restart(), i.Restart(), i.Restart(), ended(15))
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.run) == (State.STARTING, 4)


def test_a_stop_after_a_restart_wins_and_a_restart_after_a_stop_too() -> None:
    assert after(record(State.RUNNING), i.Restart(), i.Stop(), ended(15)).state is State.STOPPED
    assert after(record(State.RUNNING), i.Stop(), i.Restart(), ended(15)).state is State.STARTING


# --- replace


def test_a_changed_configuration_replaces_the_process_and_keeps_the_counters() -> None:
    now = after(record(State.RUNNING, tries=2), i.Replace(), ended(15), web=app(revision=8))
    assert (now.state, now.run, now.revision, now.tries) == (State.STARTING, 4, 8, 2)


@pytest.mark.parametrize("fields", [{"wanted": DOWN}, {"enabled": False}])
def test_a_changed_configuration_starts_only_what_may_run(fields: dict[str, object]) -> None:
    failed = record(State.FAILED, **fields)
    assert after(failed, i.Replace()) == failed


def test_a_changed_configuration_gives_a_failed_instance_a_new_chance() -> None:
    outcome = take(record(State.FAILED, due=None, tries=9), i.Replace())
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.tries) == (State.STARTING, 0)


def test_a_changed_configuration_adds_nothing_to_a_stop() -> None:
    stopping = record(State.STOPPING, wanted=DOWN)
    assert after(stopping, i.Replace()) == stopping


# --- remove


def test_a_removed_instance_goes_with_the_last_of_its_tree() -> None:
    outcome = take(record(State.RUNNING), i.Remove(), ended(15, leftovers=1))
    assert outcome.record is not None
    assert outcome.record.then is Then.REMOVE
    gone = take(outcome.record, i.TreeGone(run=3))
    assert gone.record is None
    assert gone.effects == (i.Forget(instance="web/0"),)
    assert types(gone) == [EventType.INSTANCE_STOPPED, EventType.INSTANCE_REMOVED]


def test_a_removal_while_stopping_is_not_lost() -> None:
    assert take(record(State.RUNNING), i.Stop(), i.Remove(), ended(15)).record is None
    assert take(record(State.RUNNING), i.Restart(), i.Remove(), ended(15)).record is None
    assert take(after_main(Then.POLICY), i.Remove(), i.TreeGone(run=3)).record is None


def test_what_is_back_in_the_configuration_comes_up_again() -> None:
    """A label that left and returned before its process was gone."""
    now = after(record(State.RUNNING), i.Remove(), i.Rejoin(), ended(15))
    assert (now.state, now.run, now.wanted) == (State.STARTING, 4, Wanted.UP)


# --- enable, disable


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_disabling_leaves_what_runs_alone(state: State) -> None:
    before = record(state)
    outcome = take(before, i.Disable())
    assert outcome.record == replace(before, enabled=False)
    assert not outcome.effects


def test_a_disabled_instance_is_left_as_it_ended() -> None:
    now = after(record(State.RUNNING, enabled=False), ended())
    assert (now.state, now.note, now.due) == (State.EXITED, "it is not enabled", None)
    unseen = after(record(State.RUNNING, enabled=False), ended(None))
    assert unseen.state is State.UNKNOWN


@pytest.mark.parametrize(
    ("exit_", "state"),
    [
        (CRASHED, State.EXITED),
        (Exit(run=3, at=WALL, reason="its end could not be seen"), State.UNKNOWN),
        (Exit(run=3, at=WALL, reason="set-up failed at limits", stage="limits", errno=1), State.FAILED),
        (None, State.STOPPED),
    ],
)
def test_disabling_calls_the_next_start_off(exit_: Exit | None, state: State) -> None:
    now = after(record(State.BACKOFF, exit=exit_), i.Disable())
    assert (now.state, now.due, now.enabled) == (state, None, False)


def test_disabling_takes_a_failed_instance_its_next_chance_and_enabling_gives_it_back() -> None:
    disabled = after(record(State.FAILED), i.Disable())
    assert disabled.due is None
    assert after(disabled, i.Enable(), seconds=7.0).due == due(DueKind.RETRY, 307.0)


def test_what_misses_something_is_looked_for_again_after_enabling() -> None:
    missing = Exit(run=3, at=WALL, reason='no user "www" on this host', stage="user", errno=2)
    disabled = after(record(State.FAILED, exit=missing, due=due(DueKind.LOOK)), i.Disable())
    assert after(disabled, i.Enable()).due == due(DueKind.LOOK, LOOK_EVERY_S)


def test_enabling_does_not_give_a_permanent_failure_another_chance() -> None:
    web = app(permanent_exit=(1,))
    assert after(record(State.FAILED, due=None, enabled=False), i.Enable(), web=web).due is None


@pytest.mark.parametrize("state", [State.STOPPED, State.EXITED, State.UNKNOWN])
def test_enabling_starts_what_was_down_only_for_not_being_enabled(state: State) -> None:
    outcome = take(record(state, enabled=False, tries=5), i.Enable())
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.tries) == (State.STARTING, 0)
    assert outcome.effects == (i.Spawn(instance="web/0", run=4, automatic=True),)
    assert types(outcome) == [EventType.INSTANCE_ENABLED, EventType.INSTANCE_STARTING]


def test_enabling_leaves_down_what_is_down_for_another_reason() -> None:
    never = app(policy=RestartWhen.NEVER)
    assert after(record(State.EXITED, enabled=False), i.Enable(), web=never).state is State.EXITED
    done = Exit(run=3, at=WALL, reason="exited 0", code=0)
    assert after(record(State.EXITED, enabled=False, exit=done), i.Enable()).state is State.EXITED
    assert after(record(State.EXITED, enabled=False, wanted=DOWN), i.Enable()).state is State.EXITED
    assert after(record(State.STOPPED, enabled=False, wanted=DOWN), i.Enable()).state is State.STOPPED


# --- begin, shutdown, reboot


def test_a_shutdown_whose_daemon_died_is_taken_back_by_the_next_beginning() -> None:
    assert after(record(State.RUNNING), i.ShutDown(), i.Begin(), ended(15)).state is State.STARTING
    assert take(record(State.RUNNING), i.Remove(), i.Begin(), ended(15)).record is None
    assert after(record(State.RUNNING), i.Stop(), i.Begin(), ended(15)).state is State.STOPPED


@pytest.mark.parametrize("fields", [{"wanted": DOWN}, {"enabled": False}])
@pytest.mark.parametrize("state", [State.STOPPED, State.EXITED, State.UNKNOWN])
def test_only_what_is_wanted_and_enabled_comes_up_by_itself(state: State, fields: dict[str, object]) -> None:
    before = record(state, **fields)
    assert after(before, i.Begin()) == before


def test_a_shutdown_keeps_what_is_wanted() -> None:
    down = after(record(State.RUNNING), i.ShutDown(), ended(15))
    assert (down.state, down.wanted) == (State.STOPPED, Wanted.UP)
    assert after(down, i.Begin()).state is State.STARTING


def test_a_shutdown_stays_a_shutdown_for_what_was_restarting() -> None:
    assert after(record(State.RUNNING), i.Restart(), i.ShutDown(), ended(15)).state is State.STOPPED
    assert after(after_main(Then.POLICY), i.ShutDown(), i.TreeGone(run=3)).state is State.STOPPED
    assert take(record(State.RUNNING), i.Remove(), i.ShutDown(), ended(15)).record is None


def test_nothing_starts_during_a_shutdown_and_a_failed_instance_waits_anew_after_it() -> None:
    down = after(record(State.FAILED), i.ShutDown())
    assert (down.state, down.due) == (State.FAILED, None)
    assert after(down, i.Begin(), seconds=60.0).due == due(DueKind.RETRY, 360.0)
    assert after(replace(down, enabled=False), i.Begin()).due is None


def test_a_reboot_ends_every_run_unseen_and_counts_no_failure() -> None:
    down = after(record(State.RUNNING, tries=2, recent_mono=(MONO,)), i.Rebooted())
    assert (down.state, down.wanted, down.tries, down.recent_mono) == (State.STOPPED, Wanted.UP, 2, ())
    assert down.exit is not None
    assert down.exit.is_unseen
    assert down.exit.reason == "the host was restarted"


def test_a_reboot_does_not_forget_an_end_that_was_seen() -> None:
    assert after(after_main(Then.POLICY), i.Rebooted()).exit == CRASHED


def test_a_reboot_takes_away_what_was_leaving() -> None:
    outcome = take(record(State.STOPPING, then=Then.REMOVE), i.Rebooted())
    assert outcome.record is None
    assert outcome.effects == (i.Forget(instance="web/0"),)


def test_back_off_goes_on_after_a_reboot_by_the_new_clock() -> None:
    waiting = record(State.BACKOFF, due=due(DueKind.START, 20.0), tries=5)
    booted = replace(at(15.0), mono=3.0)
    became = step(waiting, app(), i.Rebooted(), booted).record
    assert became is not None
    assert became.due is not None
    assert (became.due.at_mono, became.due.at, became.tries) == (8.0, WALL + 20.0, 5)


@pytest.mark.parametrize(
    ("kind", "state", "longest_s"),
    [
        (DueKind.START, State.BACKOFF, 37.5),
        (DueKind.RETRY, State.FAILED, 300.0),
        (DueKind.LOOK, State.FAILED, LOOK_EVERY_S),
    ],
)
def test_a_wall_clock_that_went_back_makes_no_wait_longer(
    kind: DueKind, state: State, longest_s: float
) -> None:
    now = after(record(state, due=due(kind, 20.0)), i.Rebooted(), seconds=-86_400.0)
    assert now.due is not None
    assert now.due.at_mono == pytest.approx(MONO - 86_400.0 + longest_s)


# --- signals


@pytest.mark.parametrize("to", ["main", "group", "tree"])
def test_a_signal_goes_to_the_present_run_and_is_noted(to: str) -> None:
    """Noted: so what the signal leads to has it as its cause."""
    before = record(State.RUNNING)
    outcome = take(before, i.SendSignal(number=15, to=to))
    assert outcome.record == replace(before, note=f"TERM sent to {to}")
    assert outcome.effects == (i.Signal(instance="web/0", run=3, number=15, to=to),)
    assert texts(outcome) == f"TERM sent to {to}"

"""How far an action is, judged by the records that the steps leave behind."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from droned.lifecycle import inputs as i
from droned.lifecycle.actions import begin_items, judge, with_items
from droned.models.policy import RestartLimit, RestartWhen
from droned.models.records import (
    ActionItem,
    ActionRecord,
    ActionState,
    AppRecord,
    DueKind,
    Exit,
    Goal,
    InstanceRecord,
    State,
    Then,
    Wanted,
)
from droned.models.registry import Moment
from tests.lifecycle.samples import (
    WALL,
    WEB,
    after,
    after_main,
    app,
    at,
    ended,
    in_setup,
    not_started,
    record,
    spawned,
    take,
)

RUNNING, SUCCEEDED, FAILED = ActionState.RUNNING, ActionState.SUCCEEDED, ActionState.FAILED
DOWN = Wanted.DOWN
GRACE = i.Elapsed(kind=DueKind.GRACE)
COMMANDS: dict[str, i.Input] = {"start": i.Start(), "restart": i.Restart(), "stop": i.Stop()}


def run_through(
    command: str, before: InstanceRecord, *given: i.Input, web: AppRecord = WEB
) -> tuple[ActionState, str]:
    """The item of `command` on `before`, after the command and the inputs that follow it."""
    (item,) = begin_items(command, [before])
    now: InstanceRecord | None = before
    for each in (COMMANDS[command], *given):
        assert now is not None
        now = take(now, each, web=web).record
        item = judge(item, now)
    return item.state, item.text


# --- start and restart


def test_a_start_has_succeeded_when_the_new_run_runs() -> None:
    stopped = record(State.STOPPED)
    assert run_through("start", stopped) == (RUNNING, "starting, run 4")
    assert run_through("start", stopped, spawned(4)) == (RUNNING, "starting, run 4")
    assert run_through("start", stopped, spawned(4, pid=7), GRACE) == (SUCCEEDED, "running, pid 7")


def test_a_start_of_what_runs_has_succeeded_already() -> None:
    (item,) = begin_items("start", [record(State.RUNNING)])
    assert (item.state, item.text, item.after_run) == (SUCCEEDED, "running, pid 4711", 2)


def test_a_start_of_what_is_starting_waits_for_this_run() -> None:
    assert run_through("start", record(State.STARTING)) == (RUNNING, "starting, run 3")
    assert run_through("start", record(State.STARTING), GRACE)[0] is SUCCEEDED


def test_a_restart_is_not_satisfied_by_the_run_that_was_there() -> None:
    running = record(State.RUNNING)
    assert run_through("restart", running) == (RUNNING, "stopping, then starts")
    assert run_through("restart", running, ended(15)) == (RUNNING, "starting, run 4")
    assert run_through("restart", running, ended(15), spawned(4), GRACE)[0] is SUCCEEDED


@pytest.mark.parametrize(
    ("web", "given", "text"),
    [
        (WEB, ended(run=4, at_s=0.4), "exited 1 after 0.4s; next start in 0.5s"),
        (WEB, ended(0, run=4, at_s=2.0), "exited 0 after 2s; restart policy is on-failure"),
        (WEB, ended(None, run=4), "its end could not be seen; next start in 0.5s"),
        (
            app(limit=RestartLimit(count=0, within_s=60.0)),
            ended(run=4, at_s=1.0),
            "exited 1 after 1s; gave up: 0 restarts in 1m",
        ),
        (app(policy=RestartWhen.NEVER), ended(run=4, at_s=1.0), "exited 1 after 1s; restart policy is never"),
        (app(policy=RestartWhen.NEVER), ended(None, run=4, at_s=1.0), None),
        (app(delay_s=0.0), ended(run=4), "exited 1; started again"),
        (
            WEB,
            ended(run=4, at_s=1.0, leftovers=2),
            "exited 1 after 1s; ending what is left of its tree",
        ),
    ],
)
def test_it_has_failed_as_soon_as_the_new_run_ended(web: AppRecord, given: i.Input, text: str | None) -> None:
    state, said = run_through("start", record(State.STOPPED), spawned(4), given, web=web)
    assert state is FAILED
    assert text is None or said == text


def test_a_failed_start_says_what_is_missing() -> None:
    state, text = run_through("start", record(State.STOPPED), not_started("exec", 2, run=4))
    assert (state, text) == (FAILED, 'the program "/bin/web", or the interpreter it names, does not exist')
    state, text = run_through("start", record(State.STOPPED), not_started("fork", 11, run=4))
    assert text == "set-up failed at fork: too many processes (EAGAIN); next start in 0.5s"


def test_it_has_failed_when_somebody_stops_or_removes_it() -> None:
    stopped = record(State.STOPPED)
    assert run_through("start", stopped, i.Stop()) == (FAILED, "it is being stopped by another command")
    assert run_through("restart", record(State.RUNNING), i.Stop())[0] is FAILED
    assert run_through("start", stopped, i.Remove()) == (FAILED, "it is being removed")
    assert run_through("start", stopped, i.ShutDown()) == (
        FAILED,
        "it is being stopped while droned shuts down",
    )
    assert run_through("start", record(State.BACKOFF), i.Stop())[0] is FAILED


def test_another_restart_moves_the_goal_to_the_run_that_follows() -> None:
    twice = (ended(15), spawned(4), i.Restart())
    assert run_through("restart", record(State.RUNNING), *twice) == (RUNNING, "stopping, then starts")
    through = (*twice, ended(15, run=4), spawned(5))
    assert run_through("restart", record(State.RUNNING), *through) == (RUNNING, "starting, run 5")
    assert run_through("restart", record(State.RUNNING), *through, GRACE)[0] is SUCCEEDED
    assert run_through("restart", record(State.RUNNING), *through, ended(run=5))[0] is FAILED


def test_a_start_of_what_is_leaving_fails() -> None:
    leaving = record(State.STOPPING, wanted=DOWN, then=Then.REMOVE)
    assert run_through("start", leaving) == (FAILED, "it is being removed")
    item = ActionItem(instance="web/0", goal=Goal.RUNNING, after_run=3)
    assert judge(item, None) == replace(item, state=FAILED, text="it was removed")


def test_a_start_while_leftovers_are_ended_waits_for_them() -> None:
    assert run_through("start", after_main(Then.POLICY))[0] is RUNNING
    assert run_through("start", after_main(Then.POLICY), i.TreeGone(run=3), spawned(4), GRACE)[0] is SUCCEEDED


def test_an_action_that_outlived_a_daemon_does_not_wait_for_ever() -> None:
    """The record that it waits for was lost with the journal's last moments."""
    item = ActionItem(instance="web/0", goal=Goal.RUNNING, after_run=3)
    for state in (State.STOPPED, State.BACKOFF, State.EXITED, State.FAILED, State.UNKNOWN):
        assert judge(item, record(state)).state is FAILED
    for state in (State.WAITING, State.STARTING, State.RUNNING):
        assert judge(item, record(state)).state is RUNNING


# --- stop


def test_a_stop_has_succeeded_when_nothing_is_left() -> None:
    running = record(State.RUNNING)
    assert run_through("stop", running) == (RUNNING, "stopping")
    assert run_through("stop", running, ended(15, leftovers=1)) == (RUNNING, "stopping")
    assert run_through("stop", running, ended(15)) == (SUCCEEDED, "stopped (killed by TERM)")


@pytest.mark.parametrize("state", [State.STOPPED, State.EXITED, State.FAILED, State.UNKNOWN])
def test_a_stop_of_what_is_down_has_succeeded_already(state: State) -> None:
    (item,) = begin_items("stop", [record(state)])
    assert item.state is SUCCEEDED


def test_a_stop_of_what_waits_is_done_at_once() -> None:
    assert run_through("stop", record(State.BACKOFF)) == (SUCCEEDED, "stopped (exited 1)")


def test_a_stop_shows_a_tree_that_does_not_end() -> None:
    elapsed = i.Elapsed(kind=DueKind.STOP)
    state, text = run_through("stop", record(State.RUNNING), elapsed, elapsed, elapsed)
    assert (state, text) == (RUNNING, "stopping, does not end, not even by KILL")


def test_a_stop_has_failed_when_something_starts_it_again() -> None:
    running = record(State.RUNNING)
    assert run_through("stop", running, i.Start()) == (FAILED, "another command starts it again")
    item = ActionItem(instance="web/0", goal=Goal.STOPPED, after_run=3)
    assert judge(item, in_setup()).state is FAILED


def test_a_stop_ends_with_the_instance() -> None:
    assert run_through("stop", record(State.RUNNING), i.Remove(), ended(15)) == (
        SUCCEEDED,
        "stopped and removed",
    )


# --- the rest


@pytest.mark.parametrize("command", ["enable", "disable", "kill"])
def test_what_is_done_with_the_commit_is_done(command: str) -> None:
    (item,) = begin_items(command, [record(State.RUNNING)])
    assert (item.goal, item.state) == (Goal.NONE, SUCCEEDED)


def test_scaling_starts_some_and_stops_others() -> None:
    new = InstanceRecord(key="web/3", app="web", label="3")
    items = begin_items("scale", [record(State.RUNNING), new], leaving={"web/0"})
    assert [(item.goal, item.state) for item in items] == [(Goal.STOPPED, RUNNING), (Goal.RUNNING, RUNNING)]


def test_a_command_without_a_goal_is_refused() -> None:
    with pytest.raises(ValueError, match='cannot follow the command "status"'):
        begin_items("status", [])


def action(*items: ActionItem) -> ActionRecord:
    return ActionRecord(
        key="a1", command="start", targets=("web",), actor="root", reason="", began_at=WALL, items=items
    )


def item(instance: str, state: ActionState = RUNNING) -> ActionItem:
    return ActionItem(instance=instance, goal=Goal.RUNNING, after_run=2, state=state)


def moved_by(
    given: ActionRecord, instance_after: InstanceRecord | None, key: str, moment: Moment
) -> ActionRecord:
    """The action after the instance `key` became this."""
    judged = {item.instance: judge(item, instance_after) for item in given.items if item.instance == key}
    return with_items(given, judged, moment)


def test_an_action_ends_when_all_of_its_items_have() -> None:
    begun = action(item("web/0"), item("web/1"))
    half = moved_by(begun, record(State.RUNNING), "web/0", at(1.0))
    assert (half.state, half.ended_at) == (RUNNING, None)
    done = moved_by(half, record(State.RUNNING, key="web/1"), "web/1", at(2.0))
    assert (done.state, done.ended_at) == (SUCCEEDED, WALL + 2.0)
    failed = moved_by(half, None, "web/1", at(2.0))
    assert (failed.state, failed.ended_at) == (FAILED, WALL + 2.0)


def test_an_action_that_has_ended_never_changes_again() -> None:
    done = with_items(action(item("web/0", SUCCEEDED)), {}, at())
    assert done.state is SUCCEEDED
    assert (
        moved_by(done, record(State.EXITED, exit=Exit(run=3, at=WALL, reason="exited 1")), "web/0", at())
        is done
    )
    assert with_items(done, {"web/0": item("web/0", FAILED)}, at(9.0)) is done
    ended_item = item("web/0", FAILED)
    assert judge(ended_item, record(State.RUNNING)) is ended_item


def test_nothing_new_is_the_same_object() -> None:
    begun = action(item("web/0"))
    begun = moved_by(begun, record(State.STARTING), "web/0", at())
    assert moved_by(begun, record(State.STARTING), "web/0", at(1.0)) is begun
    assert moved_by(begun, record(State.RUNNING), "db/0", at(1.0)) is begun
    assert with_items(begun, {}, at(1.0)) is begun


def test_an_action_without_items_has_ended() -> None:
    assert with_items(action(), {}, at()).state is SUCCEEDED


def test_a_hundred_starts_move_only_their_own_item() -> None:
    begun = action(*(item(f"web/{number}") for number in range(100)))
    moved = moved_by(begun, after(in_setup(), spawned()), "web/7", at())
    assert sum(one is not other for one, other in zip(begun.items, moved.items, strict=True)) == 1

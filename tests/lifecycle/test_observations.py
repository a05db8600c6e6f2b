"""What observations do where it depends on more than the state."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from droned.lifecycle import inputs as i
from droned.lifecycle.endings import BACKGROUND_NOTE, BUDGET_NOTE, BUDGET_SPREAD_S
from droned.lifecycle.failed_starts import LOOK_EVERY_S
from droned.lifecycle.table import step
from droned.models.events import EventType
from droned.models.policy import Launch, Leftovers, RestartLimit, RestartWhen, SignalTo, StopStep
from droned.models.records import DueKind, State, Then
from tests.lifecycle.samples import (
    MONO,
    SUCCESS,
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
    spawned,
    take,
    texts,
    types,
)

# --- starting


def test_a_process_counts_as_running_after_its_grace() -> None:
    now = after(in_setup(), spawned(pid=7), seconds=2.0)
    assert (now.state, now.pid, now.ready) == (State.STARTING, 7, False)
    assert (now.started_at, now.started_mono) == (WALL, MONO + 2.0)
    assert now.due == due(DueKind.GRACE, 3.0)
    outcome = take(now, i.Elapsed(kind=DueKind.GRACE), seconds=3.0)
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.ready, outcome.record.due) == (State.RUNNING, True, None)
    assert texts(outcome) == "running, pid 7"


def test_without_a_grace_it_runs_at_once() -> None:
    outcome = take(in_setup(), spawned(), web=app(grace_s=0.0))
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.due) == (State.RUNNING, None)
    assert types(outcome) == [EventType.INSTANCE_STARTED]


def test_the_same_news_twice_is_one_news() -> None:
    now = after(in_setup(), spawned())
    assert after(now, spawned(), seconds=0.5) == now


# --- failed starts


@pytest.mark.parametrize(
    ("stage", "launch", "reason"),
    [
        ("user", Launch(command=("web",), user="www"), 'no user "www" on this host'),
        ("group", Launch(command=("web",), group="www-${DRONED_LABEL}"), 'no group "www-0" on this host'),
        ("groups", Launch(command=("web",), groups=("a", 7)), 'no such group on this host, one of "a", 7'),
        (
            "directory",
            Launch(command=("web",), directory="/srv/web"),
            'the working directory "/srv/web" does not exist (ENOENT)',
        ),
        ("exec", Launch(command=("web", "-x")), 'no program "web" in the search path'),
        (
            "exec",
            Launch(command=("/srv/${DRONED_APP}/run",)),
            'the program "/srv/web/run", or the interpreter it names, does not exist',
        ),
    ],
)
def test_what_is_missing_fails_at_once_and_is_looked_for(stage: str, launch: Launch, reason: str) -> None:
    outcome = take(in_setup(), not_started(stage, errno=2), web=app(launch=launch))
    now = outcome.record
    assert now is not None
    assert (now.state, now.note, now.due) == (State.FAILED, reason, due(DueKind.LOOK, LOOK_EVERY_S))
    assert now.exit is not None
    assert (now.exit.reason, now.exit.stage, now.exit.errno) == (reason, stage, 2)
    assert texts(outcome) == f"cannot start: {reason}; droned looks every 30s whether that changed"


def test_a_program_that_may_not_be_executed_is_looked_for_as_well() -> None:
    now = after(in_setup(), not_started("exec", errno=13))
    assert (now.state, now.note) == (State.FAILED, 'the program "/bin/web": permission denied (EACCES)')


def test_every_look_is_followed_by_another_until_it_is_there() -> None:
    failed = after(in_setup(), not_started("exec", errno=2))
    looked = take(failed, i.Elapsed(kind=DueKind.LOOK), seconds=30.0)
    assert looked.effects == (i.Look(instance="web/0"),)
    assert looked.record is not None
    assert looked.record == replace(failed, due=due(DueKind.LOOK, 60.0))
    cleared = take(looked.record, i.Cleared(), seconds=31.0)
    assert cleared.effects == (i.Spawn(instance="web/0", run=4, automatic=True),)


def test_a_late_answer_to_a_look_starts_nothing() -> None:
    failed = record(State.FAILED, due=None)
    assert after(failed, i.Cleared()) == failed
    retried = record(State.FAILED)
    assert after(retried, i.Cleared()) == retried


NO_ROOM = (
    "no room for its output: too many open files (EMFILE) under droned's hard limit, which is raised by "
    "LimitNOFILE= of the unit or ulimit -Hn from droned's next start on"
)


@pytest.mark.parametrize(
    ("stage", "errno", "reason"),
    [
        ("limits", 1, "set-up failed at limits: operation not permitted (EPERM)"),
        ("timeout at directory", 110, "set-up took too long at directory"),
        ("fork", 11, "set-up failed at fork: too many processes (EAGAIN)"),
        (
            "descriptors",
            24,
            NO_ROOM,
        ),
        ("verify", 0, "set-up failed at verify"),
        ("directory", 5, 'the working directory "/srv": EIO'),
    ],
)
def test_other_failed_starts_say_stage_and_errno(stage: str, errno: int, reason: str) -> None:
    web = app(launch=Launch(command=("web",), directory="/srv"))
    now = after(in_setup(), not_started(stage, errno), web=web)
    assert now.exit is not None
    assert (now.exit.reason, now.state) == (reason, State.BACKOFF)


def test_other_failed_starts_back_off() -> None:
    outcome = take(in_setup(), not_started("fork", 11))
    now = outcome.record
    assert now is not None
    assert (now.state, now.due, now.tries) == (State.BACKOFF, due(DueKind.START, 0.5), 1)
    assert outcome.occurrences[0].data["stage"] == "fork"


@pytest.mark.parametrize("policy", [RestartWhen.NEVER, RestartWhen.ON_SUCCESS])
def test_a_failed_start_that_nothing_follows_is_a_failure_for_a_person(policy: RestartWhen) -> None:
    now = after(in_setup(), not_started("fork", 11), web=app(policy=policy))
    assert (now.state, now.due) == (State.FAILED, None)


def test_an_order_given_twice_does_not_end_the_run_that_it_named() -> None:
    running = record(State.RUNNING)
    assert after(running, not_started("refused", 0)) == running
    stopping = record(State.STOPPING)
    assert after(stopping, not_started("refused", 0)) == stopping


def test_a_refused_order_is_a_failed_start() -> None:
    now = after(in_setup(), not_started("refused", 0))
    assert now.state is State.BACKOFF


def test_a_set_up_that_was_taken_for_running_and_fails_is_a_failed_start() -> None:
    assert after(record(State.RUNNING), not_started("fork", 11)).state is State.BACKOFF


# --- ends


def test_a_crash_says_how_when_and_what_follows() -> None:
    outcome = take(record(State.RUNNING), ended())
    assert texts(outcome) == "exited 1 after 5s; next start in 0.5s (try 1)"
    assert outcome.occurrences[0].data == {
        "run": 3,
        "ran_s": 5.0,
        "code": 1,
        "signal": None,
        "delay_s": 0.5,
        "tries": 1,
    }
    now = outcome.record
    assert now is not None
    assert (now.state, now.pid, now.start_time, now.note) == (State.BACKOFF, None, None, "exited 1")
    assert now.due == due(DueKind.START, 0.5)


def test_the_first_crash_after_a_long_run_starts_again_at_once() -> None:
    lasting = record(State.RUNNING, started_mono=MONO - 40.0, tries=6)
    outcome = take(lasting, ended())
    now = outcome.record
    assert now is not None
    assert (now.state, now.run, now.tries, now.restarts) == (State.STARTING, 4, 0, 1)
    assert types(outcome) == [EventType.INSTANCE_CRASHED, EventType.INSTANCE_STARTING]
    assert outcome.effects == (i.Spawn(instance="web/0", run=4, automatic=True),)


def test_the_second_crash_waits_and_the_third_waits_longer() -> None:
    web = app(jitter=0.0)
    now = after(record(State.RUNNING, started_mono=MONO - 40.0), ended(), web=web)
    waits = []
    for run in (4, 5, 6):
        now = after(now, spawned(run), ended(run=run), web=web)
        assert now.due is not None
        waits.append(now.due.at_mono - MONO)
        now = after(now, i.Elapsed(kind=DueKind.START), web=web)
    assert waits == pytest.approx([0.5, 1.0, 2.0])


def test_how_long_it_ran_does_not_count_what_came_after_its_end() -> None:
    """No daemon was there to hear of it, or its leftovers took long."""
    short = record(State.RUNNING, started_mono=MONO - 5.0)
    assert after(short, ended(at_s=0.0), seconds=60.0).state is State.BACKOFF


def test_a_success_is_left_by_the_default_policy() -> None:
    outcome = take(record(State.RUNNING), ended(SUCCESS))
    now = outcome.record
    assert now is not None
    assert (now.state, now.due, now.note) == (State.EXITED, None, "restart policy is on-failure")
    assert types(outcome) == [EventType.INSTANCE_EXITED]


def test_an_unseen_end_counts_as_a_failure_and_is_never_invented() -> None:
    outcome = take(record(State.RUNNING), ended(None))
    now = outcome.record
    assert now is not None
    assert now.state is State.BACKOFF
    assert now.exit is not None
    assert (now.exit.code, now.exit.signal, now.exit.is_unseen) == (None, None, True)
    assert types(outcome) == [EventType.INSTANCE_LOST]
    left = after(record(State.RUNNING), ended(None), web=app(policy=RestartWhen.NEVER))
    assert left.state is State.UNKNOWN


def test_after_too_many_restarts_it_has_failed_until_its_next_chance() -> None:
    web = app(limit=RestartLimit(count=2, within_s=600.0))
    outcome = take(record(State.RUNNING, recent_mono=(MONO - 500.0, MONO - 1.0)), ended(), web=web)
    now = outcome.record
    assert now is not None
    assert (now.state, now.due) == (State.FAILED, due(DueKind.RETRY, 300.0))
    assert texts(outcome) == "exited 1 after 5s; gave up: 2 restarts in 10m; tried again in 5m"
    retried = take(now, i.Elapsed(kind=DueKind.RETRY), seconds=300.0, web=web)
    assert retried.effects == (i.Spawn(instance="web/0", run=4, automatic=True),)
    assert retried.record is not None
    assert (retried.record.tries, retried.record.recent_mono) == (0, ())


def test_without_another_chance_only_a_command_helps() -> None:
    web = app(limit=RestartLimit(count=1, within_s=600.0), retry_failed_after_s=None)
    outcome = take(record(State.RUNNING, recent_mono=(MONO,)), ended(), web=web)
    assert outcome.record is not None
    assert outcome.record.due is None
    assert texts(outcome).endswith("only a command starts it again")


def test_a_permanent_exit_fails_for_good() -> None:
    now = after(record(State.RUNNING), ended(125 << 8), web=app(permanent_exit=(125,)))
    assert (now.state, now.due, now.note) == (State.FAILED, None, "gave up: exit code 125 is permanent")


# --- leftovers


def test_what_is_left_of_the_tree_is_ended_before_the_decision() -> None:
    outcome = take(record(State.RUNNING), ended(leftovers=3))
    now = outcome.record
    assert now is not None
    assert (now.state, now.then, now.stop_step, now.pid) == (State.STOPPING, Then.POLICY, 1, None)
    assert signals([outcome]) == [(15, "tree")]
    assert texts(outcome) == (
        "exited 1 after 5s, 3 of its processes live on: ending what is left of its tree"
    )
    outcome = take(now, i.TreeGone(run=3), seconds=2.0)
    assert outcome.record is not None
    assert (outcome.record.state, outcome.record.tries) == (State.BACKOFF, 1)
    assert texts(outcome) == "exited 1 after 5s; next start in 0.5s (try 1)"


def test_a_step_to_a_main_process_that_is_gone_goes_to_its_tree() -> None:
    """Also where it ended within its grace."""
    steps = (
        StopStep(signal=2, to=SignalTo.MAIN, for_s=10.0),
        StopStep(signal=9, to=SignalTo.TREE, for_s=None),
    )
    outcome = take(record(State.STARTING), ended(leftovers=1), web=app(stop=steps))
    assert signals([outcome]) == [(2, "tree")]


def test_leftovers_are_kept_on_request() -> None:
    now = after(record(State.RUNNING), ended(leftovers=3), web=app(leftovers=Leftovers.KEEP))
    assert now.state is State.BACKOFF


@pytest.mark.parametrize("leftovers", list(Leftovers))
def test_a_program_that_puts_itself_in_the_background_is_told_so(leftovers: Leftovers) -> None:
    web = app(leftovers=leftovers, policy=RestartWhen.ALWAYS)
    young = record(State.STARTING, started_mono=MONO - 0.2)
    now = after(young, ended(SUCCESS, leftovers=1), web=web)
    assert now.note == BACKGROUND_NOTE
    now = after(now, i.TreeGone(run=3), web=web)
    assert (now.state, now.note) == (State.BACKOFF, BACKGROUND_NOTE)


def test_the_same_end_told_twice_is_one_end() -> None:
    """Ends are told again to a daemon that takes over before they were acknowledged."""
    waiting = after_main(Then.POLICY)
    assert after(waiting, ended(leftovers=2)).due == waiting.due
    backoff = after(record(State.RUNNING), ended())
    assert after(backoff, ended()) == backoff
    assert after(waiting, ended(leftovers=0)).state is State.BACKOFF


def test_a_tree_is_not_gone_while_its_main_process_is_there() -> None:
    stopping = record(State.STOPPING)
    assert after(stopping, i.TreeGone(run=3)) == stopping
    early = after(in_setup(), i.Stop())
    assert after(early, i.TreeGone(run=3)) == early


# --- the start budget


def test_an_automatic_restart_waits_for_the_budget_and_says_so() -> None:
    waiting = step(record(State.BACKOFF), app(), i.Elapsed(kind=DueKind.START), at(budget_wait_s=0.3))
    now = waiting.record
    assert now is not None
    assert (now.state, now.note, now.due) == (State.BACKOFF, BUDGET_NOTE, due(DueKind.START, 0.3))
    assert not waiting.effects
    assert types(waiting) == [EventType.INSTANCE_BACKOFF]


def test_those_who_wait_for_the_budget_spread_and_are_told_once() -> None:
    now = record(State.BACKOFF, note=BUDGET_NOTE)
    again = step(now, app(), i.Elapsed(kind=DueKind.START), at(1.0, draw=0.25, budget_wait_s=0.02))
    assert again.record is not None
    assert again.record.due == due(DueKind.START, 1.0 + 0.02 + 0.25 * 4.0)
    assert not again.occurrences
    long = step(now, app(), i.Elapsed(kind=DueKind.START), at(900.0, draw=1.0, budget_wait_s=0.02))
    assert long.record is not None
    assert long.record.due == due(DueKind.START, 900.02 + BUDGET_SPREAD_S)


def test_the_turn_comes_as_an_automatic_restart() -> None:
    outcome = take(record(State.BACKOFF, note=BUDGET_NOTE), i.Elapsed(kind=DueKind.START))
    assert outcome.effects == (i.Spawn(instance="web/0", run=4, automatic=True),)


@pytest.mark.parametrize("given", [i.Start(), i.Restart(), i.Begin()])
def test_commands_do_not_wait_for_the_budget(given: i.Input) -> None:
    outcome = step(record(State.STOPPED), app(), given, at(budget_wait_s=60.0))
    assert outcome.effects == (i.Spawn(instance="web/0", run=4, automatic=False),)


@pytest.mark.parametrize("order", [i.Restart(), i.Stop(), i.Remove()])
def test_how_a_run_ended_that_was_stopped_is_told_wherever_it_leads(order: i.Input) -> None:
    """An event of its own: the record keeps only the last end, and a description the last five."""
    outcome = take(record(State.RUNNING), order, ended(15))
    stopped = next(each for each in outcome.occurrences if each.type is EventType.INSTANCE_STOPPED)
    assert stopped.text == "stopped (killed by TERM)"
    assert (stopped.data["run"], stopped.data["code"], stopped.data["signal"]) == (3, None, 15)

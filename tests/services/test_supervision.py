"""The spine: inputs become commits, commits become effects, and timers follow the records."""

from __future__ import annotations

import pytest

from droned.errors import KeyReused, NotNow
from droned.models.policy import (
    DEFAULT_STOP,
    RestartPolicy,
    SignalTo,
    StartBudget,
    StopStep,
)
from droned.models.records import ActionRecord, ActionState, State
from tests.services.spine import Spine, app, ended, result_of

CRASHED = 1 << 8


@pytest.fixture
def spine() -> Spine:
    """A spine with nothing configured."""
    return Spine()


def test_a_configured_instance_is_ordered_and_runs_after_its_grace(spine: Spine) -> None:
    spine.configure(app())
    assert spine.spawner.spawned == [("web/0", 1)]
    spine.spawned("web/0", 4711)
    assert spine.record("web/0").state is State.STARTING
    spine.clock.advance(1.0)
    record = spine.record("web/0")
    assert (record.state, record.pid, record.ready) == (State.RUNNING, 4711, True)
    assert spine.clock.pending == 0


def test_kill_follows_term_after_the_grace(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    result_of(spine.command("stop", "web"))
    spine.clock.advance(10.0)
    spine.clock.advance(2.0)
    assert [(number, to) for _, _, number, to in spine.spawner.signals] == [
        (15, "main"),
        (15, "tree"),
        (9, "tree"),
    ]


def test_a_crash_is_followed_by_a_start_after_the_back_off(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.tell("web/0", ended(1, CRASHED))
    assert spine.record("web/0").state is State.BACKOFF
    spine.clock.advance(0.49)
    assert spine.spawner.spawned == [("web/0", 1)]
    spine.clock.advance(0.02)
    assert spine.spawner.spawned == [("web/0", 1), ("web/0", 2)]
    assert spine.record("web/0").restarts == 1


def test_a_wall_clock_that_jumps_moves_no_timer(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.tell("web/0", ended(1, CRASHED))
    spine.clock.step_wall(86_400.0)
    spine.clock.advance(0.2)
    assert len(spine.spawner.spawned) == 1
    spine.clock.advance(0.4)
    assert len(spine.spawner.spawned) == 2


def test_an_end_is_acknowledged_only_when_it_is_on_disk(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    before = spine.registry.version
    spine.processes.durable(before, "d")
    spine.tell("web/0", ended(1, CRASHED))
    assert spine.spawner.acknowledged == []
    spine.processes.durable(spine.registry.version, "e")
    assert spine.spawner.acknowledged == [("web/0", 1)]


def test_an_end_that_was_known_already_is_acknowledged_again(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.tell("web/0", ended(1, CRASHED))
    spine.processes.durable(spine.registry.version, "e")
    spine.tell("web/0", ended(1, CRASHED))
    assert spine.spawner.acknowledged == [("web/0", 1)] * 2
    assert spine.record("web/0").restarts == 0


def test_effects_of_a_definition_wait_for_the_disk(spine: Spine) -> None:
    spine.durable_up_to = spine.registry.version
    spine.configure(app())
    assert spine.spawner.spawned == []
    spine.make_durable(spine.registry.version)
    assert spine.spawner.spawned == [("web/0", 1)]


def test_a_stop_while_its_start_is_held_reaches_the_guardian_after_it(spine: Spine) -> None:
    spine.durable_up_to = spine.registry.version
    spine.configure(app())
    stopping = spine.command("stop", "web/0")
    assert spine.spawner.signals == []
    waiting = spine.supervision  # the stop's receipt waits for the disk, its signal for the start
    assert waiting is not None
    spine.run(stopping, "stop")
    spine.make_durable(spine.registry.version)
    assert spine.spawner.spawned == [("web/0", 1)]
    assert [number for _, _, number, _ in spine.spawner.signals] == [15]


def test_a_command_on_many_instances_is_one_version(spine: Spine) -> None:
    spine.configure(app(labels=("0", "1", "2")))
    for label in "012":
        spine.up(f"web/{label}")
    before = spine.registry.version
    result_of(spine.command("restart", "web"))
    assert spine.registry.version == before + 1
    assert len(spine.spawner.signals) == 3


def test_a_command_that_one_instance_refuses_changes_none(spine: Spine) -> None:
    spine.configure(app(labels=("0", "1")))
    spine.up("web/0")
    spine.up("web/1")
    result_of(spine.command("stop", "web/1"))
    spine.tell("web/1", ended(1, 15))
    before = spine.registry.version
    with pytest.raises(NotNow):
        result_of(spine.command("kill", "web", signal="HUP"))
    assert spine.registry.version == before
    assert [number for _, _, number, _ in spine.spawner.signals] == [15]


def action_of(spine: Spine, key: str) -> ActionRecord:
    record = spine.registry.records("action")[key]
    assert isinstance(record, ActionRecord)
    return record


def test_a_restart_has_ended_when_the_new_run_runs(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    receipt = result_of(spine.command("restart", "web/0"))
    assert action_of(spine, receipt.action).state is ActionState.RUNNING
    spine.tell("web/0", ended(1, 15))
    spine.up("web/0", 101)
    assert action_of(spine, receipt.action).state is ActionState.SUCCEEDED


def test_a_start_that_crashes_says_how(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    receipt = result_of(spine.command("restart", "web/0"))
    spine.tell("web/0", ended(1, 15))
    spine.spawned("web/0")
    spine.tell("web/0", ended(2, 3 << 8))
    action = action_of(spine, receipt.action)
    assert action.state is ActionState.FAILED
    assert "exited 3" in action.items[0].text


def test_a_large_action_ends_with_its_last_instance(spine: Spine) -> None:
    labels = tuple(str(number) for number in range(40))
    spine.configure(app(labels=labels))
    receipt = result_of(spine.command("stop", "web"))
    for label in labels[:-1]:
        spine.spawned(f"web/{label}")
        spine.tell(f"web/{label}", ended(1, 15))
    assert action_of(spine, receipt.action).state is ActionState.RUNNING
    spine.spawned("web/39")
    spine.tell("web/39", ended(1, 15))
    action = action_of(spine, receipt.action)
    assert action.state is ActionState.SUCCEEDED
    assert all(item.state is ActionState.SUCCEEDED for item in action.items)


def test_old_actions_of_many_instances_keep_their_result_alone(
    spine: Spine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("droned.services.operations.ITEMS_KEPT", 3)
    spine.configure(app(labels=("0", "1")))
    first, second, _ = (result_of(spine.command("disable", "web")).action for _ in range(3))
    result_of(spine.command("enable", "web"))
    assert action_of(spine, first).items == ()
    assert action_of(spine, first).state is ActionState.SUCCEEDED
    assert action_of(spine, second).items == ()


def test_the_same_idempotency_key_does_a_command_once(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    first = result_of(spine.command("restart", "web/0", key="k"))
    again = result_of(spine.command("restart", "web/0", key="k"))
    assert again.action == first.action
    assert len(spine.spawner.signals) == 1
    with pytest.raises(KeyReused):
        result_of(spine.command("stop", "web/0", key="k"))


def test_the_start_budget_holds_automatic_restarts_only(spine: Spine) -> None:
    spine.supervision.set_budget(StartBudget(burst=1, per_second=1.0))
    at_once = RestartPolicy(delay_s=0.0)
    spine.configure(app(labels=("0", "1"), restart=at_once))
    spine.up("web/0")
    spine.up("web/1")
    spine.tell("web/0", ended(1, CRASHED))
    spine.tell("web/1", ended(1, CRASHED))
    assert spine.record("web/0").state is State.STARTING
    assert spine.record("web/1").state is State.BACKOFF
    assert spine.record("web/1").note == "start budget"
    spine.clock.advance(1.0)
    assert spine.record("web/1").state is State.STARTING


def test_a_missing_program_is_looked_for_until_it_is_there(spine: Spine) -> None:
    spine.configure(app())
    spine.tell("web/0", {"type": "spawn_failed", "run": 1, "stage": "exec", "errno": 2, "at": 1.0})
    assert spine.record("web/0").state is State.FAILED
    spine.clock.advance(30.0)
    assert len(spine.spawner.spawned) == 1
    spine.is_startable = True
    spine.clock.advance(30.0)
    assert spine.spawner.spawned[-1] == ("web/0", 2)


def test_leftovers_are_ended_before_the_next_start(spine: Spine) -> None:
    stop = (*DEFAULT_STOP[:1], StopStep(signal=9, to=SignalTo.TREE, for_s=None))
    spine.configure(app(stop=stop))
    spine.up("web/0")
    spine.tell("web/0", ended(1, CRASHED, leftovers=2))
    assert spine.record("web/0").state is State.STOPPING
    assert spine.spawner.signals == [("web/0", 1, 15, "tree")]
    spine.processes.received({"type": "tree_gone", "instance": "web/0", "run": 1})
    assert spine.record("web/0").state is State.BACKOFF


def test_an_order_that_was_given_twice_does_no_harm(spine: Spine) -> None:
    spine.configure(app())
    spine.tell("web/0", {"type": "refused", "run": 1, "live_run": 1, "last_run": 1})
    spine.up("web/0")
    assert spine.record("web/0").state is State.RUNNING


def test_a_label_that_comes_back_while_it_is_removed_stays(spine: Spine) -> None:
    spine.configure(app(labels=("0", "1")))
    spine.up("web/0")
    spine.up("web/1")
    spine.configure(app(labels=("0",)))
    spine.configure(app(labels=("0", "1")))
    spine.tell("web/1", ended(1, 15))
    assert spine.record("web/1").state is State.STARTING


def test_a_restarts_signal_waits_for_the_disk(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.durable_up_to = spine.registry.version
    spine.run(spine.command("restart", "web/0"), "restart")
    assert spine.spawner.signals == []
    spine.make_durable(spine.registry.version)
    assert [number for _, _, number, _ in spine.spawner.signals] == [15]


def test_a_stop_does_not_wait_for_a_disk_that_cannot_be_written(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.is_degraded = True
    receipt = result_of(spine.command("stop", "web/0"))
    assert not receipt.durable
    assert [number for _, _, number, _ in spine.spawner.signals] == [15]

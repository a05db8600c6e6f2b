"""What waits for the disk, and what does not although something before it does."""

from __future__ import annotations

import pytest

from droned.lifecycle import inputs
from droned.models.policy import SignalTo, StopStep
from droned.models.records import ActionRecord, ActionState, State
from droned.services.held import HeldEffects, Hold
from tests.services.spine import Spine, app, ended, result_of

SPAWN = inputs.Spawn(instance="web/0", run=1, automatic=False)
FORGET = inputs.Forget(instance="web/0")


def signal(number: int = 15, run: int = 1) -> inputs.Signal:
    return inputs.Signal(instance="web/0", run=run, number=number, to="main")


class Line:
    """The line of one instance, and what came out of it."""

    def __init__(self) -> None:
        self.done: list[inputs.Effect] = []
        self.taken_back: list[int] = []
        self.held = HeldEffects(self.done.append, lambda key, run: self.taken_back.append(run))

    def take(self, version: int, hold: Hold, *effects: inputs.Effect, is_stop: bool = False) -> None:
        self.held.take("web/0", version, effects, hold, is_stop=is_stop)

    def on_disk(self, version: int) -> None:
        self.held.let_go(["web/0"], version, is_on_disk=True)

    def cannot_write(self, version: int) -> None:
        self.held.let_go(["web/0"], version, is_on_disk=False)


@pytest.fixture
def line() -> Line:
    return Line()


def test_what_waits_for_nothing_is_performed_at_once_unless_something_is_before_it(line: Line) -> None:
    line.take(1, Hold.NO, SPAWN)
    line.take(2, Hold.WHILE_WRITABLE, signal())
    line.take(3, Hold.NO, signal(9))
    assert line.done == [SPAWN]
    line.on_disk(2)
    assert line.done == [SPAWN, signal(), signal(9)]
    line.take(4, Hold.NO, FORGET)
    assert line.done[-1] == FORGET


def test_each_commit_waits_for_its_own_version(line: Line) -> None:
    line.take(1, Hold.WHILE_WRITABLE, signal())
    line.take(2, Hold.ALWAYS, FORGET)
    line.cannot_write(1)
    assert line.done == [signal()]
    line.on_disk(2)
    assert line.done == [signal(), FORGET]


def test_a_signal_overtakes_what_cannot_be_remembered_alone(line: Line) -> None:
    line.take(1, Hold.ALWAYS, signal())
    line.take(2, Hold.WHILE_WRITABLE, signal(1))
    line.cannot_write(2)
    line.take(3, Hold.NO, signal(9))
    assert line.done == [signal(1)]
    line.on_disk(1)
    assert line.done == [signal(1), signal(), signal(9)]


def test_a_stop_lets_every_signal_pass_until_the_line_is_empty(line: Line) -> None:
    line.take(1, Hold.ALWAYS, signal())
    line.take(2, Hold.WHILE_WRITABLE, is_stop=True)
    line.cannot_write(2)
    line.take(3, Hold.NO, signal(9))
    line.take(4, Hold.NO, FORGET)
    assert line.done == [signal(), signal(9)]
    line.on_disk(1)
    assert line.done == [signal(), signal(9), FORGET]
    assert line.taken_back == []


def test_a_stop_takes_back_the_start_that_was_not_ordered(line: Line) -> None:
    line.take(1, Hold.ALWAYS, SPAWN)
    line.take(2, Hold.WHILE_WRITABLE, signal(), is_stop=True)
    line.cannot_write(2)
    assert (line.done, line.taken_back) == ([], [1])
    line.on_disk(1)
    assert line.done == []


def test_a_stop_that_waits_for_nothing_does_not_wait_for_what_is_before_it(line: Line) -> None:
    line.take(1, Hold.ALWAYS, signal())
    line.take(2, Hold.NO, is_stop=True)
    assert line.done == [signal()]


def test_a_stop_that_can_be_remembered_waits_its_turn(line: Line) -> None:
    line.take(1, Hold.ALWAYS, SPAWN)
    line.take(2, Hold.WHILE_WRITABLE, signal(), is_stop=True)
    line.on_disk(1)
    line.on_disk(2)
    assert (line.done, line.taken_back) == ([SPAWN, signal()], [])


# --- the same with everything around it


@pytest.fixture
def spine() -> Spine:
    """A spine with nothing configured."""
    return Spine()


def state_of(spine: Spine, key: str) -> ActionState:
    record = spine.registry.records("action")[key]
    assert isinstance(record, ActionRecord)
    return record.state


def test_what_was_to_start_is_stopped_at_once_while_the_journal_cannot_write(spine: Spine) -> None:
    spine.is_degraded = True
    spine.configure(app())
    receipt = result_of(spine.command("stop", "web/0"))
    spine.clock.advance(0.0)
    assert spine.record("web/0").state is State.STOPPED
    assert state_of(spine, receipt.action) is ActionState.SUCCEEDED
    spine.is_degraded = False
    spine.clock.advance(1.0)
    assert (spine.spawner.spawned, spine.spawner.signals) == ([], [])


def test_what_was_to_be_removed_can_be_stopped_while_the_journal_cannot_write(spine: Spine) -> None:
    stop = (
        StopStep(signal=15, to=SignalTo.MAIN, for_s=5.0),
        StopStep(signal=9, to=SignalTo.TREE, for_s=None),
    )
    spine.configure(app(stop=stop))
    spine.up("web/0")
    spine.is_degraded = True
    spine.configure()
    assert spine.spawner.signals == []
    result_of(spine.command("kill", "web/0", signal="HUP"))
    assert [number for _, _, number, _ in spine.spawner.signals] == [1]
    result_of(spine.command("stop", "web/0"))
    assert [number for _, _, number, _ in spine.spawner.signals] == [1, 15]
    spine.clock.advance(5.0)
    assert [number for _, _, number, _ in spine.spawner.signals] == [1, 15, 9]
    spine.tell("web/0", ended(1, 9))
    assert spine.spawner.forgotten == []
    spine.is_degraded = False
    spine.clock.advance(1.0)
    assert spine.spawner.forgotten == ["web/0"]


def test_a_definition_that_follows_a_command_waits_for_its_own_version(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.durable_up_to = spine.registry.version
    spine.run(spine.command("kill", "web/0", signal="HUP"), "kill")
    version = spine.registry.version
    spine.configure()
    spine.make_durable(version)
    assert [number for _, _, number, _ in spine.spawner.signals] == [1]
    spine.make_durable(spine.registry.version)
    assert [number for _, _, number, _ in spine.spawner.signals] == [1, 15]

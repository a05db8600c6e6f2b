"""A daemon that takes over: the records are brought to what the guardian's table says."""

from __future__ import annotations

import pytest

from droned.lifecycle import inputs
from droned.models.policy import RestartPolicy
from droned.models.records import State, Wanted
from tests.services.spine import Spine, app, ended, result_of

CRASHED = 1 << 8


@pytest.fixture
def spine() -> Spine:
    """A spine with nothing configured."""
    return Spine()


def row(run: int, state: str = "running", **fields: object) -> dict[str, object]:
    """A row of the guardian's table for web/0."""
    return {
        "instance": "web/0",
        "run": run,
        "pid": 500 + run,
        "start_time": 1,
        "spawned_at": 1.0,
        "state": state,
        "status": None,
        "seen": True,
        "ended_at": None,
        "failure": None,
        "leftovers": 0,
        "adopted": False,
    } | fields


def test_taking_over_a_living_run_changes_nothing(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0", 501)
    before = spine.registry.version
    spine.processes.take_over([row(1)], is_new_boot=False)
    assert spine.registry.version == before
    assert spine.spawner.spawned == [("web/0", 1)]


def test_an_order_that_never_arrived_is_given_again_with_its_number(spine: Spine) -> None:
    spine.configure(app())
    spine.processes.take_over([], is_new_boot=False)
    assert spine.spawner.spawned == [("web/0", 1), ("web/0", 1)]


def test_a_table_ahead_of_the_journal_is_believed(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0", 501)
    spine.processes.take_over([row(1, "ended", status=CRASHED, ended_at=2.0), row(2)], is_new_boot=False)
    record = spine.record("web/0")
    assert (record.run, record.pid, record.state) == (2, 502, State.RUNNING)
    assert record.exit is not None
    assert record.exit.code == 1
    assert spine.spawner.spawned == [("web/0", 1)]


def test_what_follows_from_an_end_in_the_table_is_ordered_once(spine: Spine) -> None:
    spine.configure(app(restart=RestartPolicy(delay_s=0.0)))
    spine.up("web/0", 501)
    spine.processes.take_over([row(1, "ended", status=CRASHED, ended_at=2.0)], is_new_boot=False)
    assert spine.spawner.spawned == [("web/0", 1), ("web/0", 2)]


def test_what_lives_after_a_reboot_is_not_declared_gone(spine: Spine) -> None:
    """The daemon that began after the reboot was killed before its first commit was on disk."""
    spine.configure(app())
    spine.up("web/0", 501)
    gone = row(1, "ended", seen=False, ended_at=2.0)
    spine.processes.take_over([gone, row(2)], is_new_boot=True)
    record = spine.record("web/0")
    assert (record.run, record.pid, record.state) == (2, 502, State.RUNNING)
    assert spine.spawner.acknowledged == []


def test_a_run_that_nobody_holds_ended_unseen(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0", 501)
    spine.processes.take_over([], is_new_boot=False)
    record = spine.record("web/0")
    assert record.state is State.BACKOFF
    assert record.exit is not None
    assert record.exit.is_unseen


def test_after_a_reboot_nothing_lives_and_no_failure_is_counted(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0", 501)
    spine.processes.take_over([row(1, "ended", seen=False, ended_at=2.0)], is_new_boot=True)
    record = spine.record("web/0")
    assert (record.state, record.tries, record.wanted) == (State.STOPPED, 0, Wanted.UP)
    spine.supervision.feed("web/0", inputs.Begin())
    assert spine.spawner.spawned[-1] == ("web/0", 2)


def test_processes_of_no_instance_become_an_issue_and_are_not_signalled(spine: Spine) -> None:
    spine.processes.take_over([row(1)], is_new_boot=False)
    assert "orphans:runs" in spine.registry.records("issue")
    assert spine.spawner.signals == []


@pytest.mark.parametrize(
    ("told", "to"),
    [
        (row(1), "main"),
        (row(1, "ended", status=CRASHED, ended_at=2.0, leftovers=2), "tree"),
    ],
)
def test_a_stop_that_a_daemon_died_in_goes_on_with_its_signal(
    spine: Spine, told: dict[str, object], to: str
) -> None:
    spine.configure(app())
    spine.up("web/0", 501)
    result_of(spine.command("stop", "web/0"))
    spine.spawner.signals.clear()
    spine.clock.advance(4.0)
    spine.processes.take_over([told], is_new_boot=False)
    assert [(number, whom) for _, _, number, whom in spine.spawner.signals][-1] == (15, to)
    spine.tell("web/0", ended(1, 15))
    assert spine.record("web/0").state is State.STOPPED


def test_a_process_that_is_found_in_its_stop_is_signalled_once(spine: Spine) -> None:
    spine.configure(app())
    result_of(spine.command("stop", "web/0"))
    spine.spawner.signals.clear()
    spine.processes.take_over([row(1)], is_new_boot=False)
    assert spine.spawner.signals == [("web/0", 1, 15, "main")]


def test_a_tree_that_is_gone_is_not_signalled_again(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0", 501)
    result_of(spine.command("stop", "web/0"))
    spine.spawner.signals.clear()
    spine.processes.take_over([row(1, "ended", status=15, ended_at=2.0)], is_new_boot=False)
    assert spine.spawner.signals == []
    assert spine.record("web/0").state is State.STOPPED

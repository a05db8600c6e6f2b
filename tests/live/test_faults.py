"""Nothing of ours can take an app down: the fault rows in a small size, judged by an observer outside droned.

`bin/bench --faults` runs the same in full size.
"""

import os

import pytest

from tests.faults.scenarios import (
    daemon_kills,
    exits,
    goings,
    guardian_kills,
    hang,
    log_disk_full,
    log_kills,
    tree_stops,
    trees,
)
from tests.faults.verdict import Verdict

pytestmark = pytest.mark.live

SLACK_S = 20.0
"""Speed is judged by `bin/bench --faults`, on a machine that does nothing else; here only what happens is."""


def passed(verdict: Verdict) -> None:
    assert verdict.passed, verdict.text()


def test_a_daemon_killed_at_random_loses_doubles_and_forgets_nothing() -> None:
    size = daemon_kills.Size(steady=30, loop=6, cmd=20, conf=4, kills=5, longest_peace_s=2.5)
    passed(daemon_kills.run(size))


def test_apps_live_and_are_managed_when_the_guardian_is_killed() -> None:
    passed(guardian_kills.run(guardian_kills.Size(kills=3)))


def test_apps_live_and_are_managed_when_guardian_and_daemon_are_killed() -> None:
    passed(guardian_kills.run(guardian_kills.Size(kills=3, both=True)))


def test_a_daemon_that_hangs_is_replaced() -> None:
    passed(hang.hung(hang.Size(stops=1, slack_s=SLACK_S)))


def test_a_daemon_that_gets_little_processor_time_is_not_replaced() -> None:
    passed(hang.starved(hang.Size(hogs=8, hogged_s=20.0)))


def test_a_stop_leaves_nothing_of_a_tree_and_touches_nobody_else() -> None:
    passed(trees.run(trees.Size(trees=10, members=10, bystanders=5, slack_s=SLACK_S)))


def test_every_exit_is_recorded_as_it_was_while_the_daemon_is_killed() -> None:
    passed(exits.run(exits.Size(exits=500, within_s=4.0, kills=1, slack_s=SLACK_S)))


def test_a_daemon_killed_while_it_is_being_replaced_is_replaced_all_the_same() -> None:
    passed(goings.restarted(goings.Size(plain=20, stubborn=2, rounds=5)))


def test_a_shutdown_comes_to_its_end_though_its_daemons_are_killed() -> None:
    passed(goings.shut_down(goings.Size(plain=20, stubborn=5, rounds=4)))


@pytest.mark.parametrize("without", ["", "cgroup"])
@pytest.mark.parametrize("kind", ["tree", "headed"])
def test_a_stop_of_trees_leaves_nothing_though_its_guardian_is_killed(kind: str, without: str) -> None:
    size = tree_stops.Size(kinds=(kind,), trees=4, members=4, steady=4, rounds=3, without=without)
    passed(tree_stops.run(size))


def test_no_byte_of_a_log_is_lost_repeated_or_reordered_though_whoever_captures_it_is_killed() -> None:
    passed(log_kills.run(log_kills.Size(instances=10, kills=6, pause_ms=100, slack_s=SLACK_S)))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_programs_go_on_while_the_disk_of_their_logs_is_full() -> None:
    passed(log_disk_full.run(log_disk_full.Size(instances=4, disk_mb=64, full_s=3.0, slack_s=SLACK_S)))

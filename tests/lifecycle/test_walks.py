"""Random walks over the table, with a guardian, lost daemons and restarted hosts: what always holds.

No run is ever doubled or refused, no order goes to a run of the past, nothing
gets stuck or spins, and in the end there is what was wanted.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droned.lifecycle import inputs as i
from droned.models.policy import DEFAULT_STOP, Leftovers, RestartLimit, RestartWhen
from droned.models.records import AppRecord, State, Wanted
from tests.lifecycle.samples import app
from tests.lifecycle.world import HAPPENINGS, World

CHOICES: dict[str, list[object]] = {
    "policy": list(RestartWhen),
    "delay_s": [0.5, 0.0],
    "limit": [RestartLimit(count=3, within_s=600.0), None],
    "retry_failed_after_s": [300.0, None],
    "permanent_exit": [(), (125,)],
    "leftovers": list(Leftovers),
    "grace_s": [1.0, 0.0],
    "stop": [DEFAULT_STOP, DEFAULT_STOP[:1] + DEFAULT_STOP[2:]],
}
APPS = st.builds(app, **{name: st.sampled_from(values) for name, values in CHOICES.items()})
STEPS = st.lists(st.tuples(st.sampled_from(HAPPENINGS), st.integers(0, 11)), max_size=80)
Steps = list[tuple[Callable[[World, int], None], int]]


def walk(web: AppRecord, steps: Steps) -> World:
    """The world at rest after all of this has happened to it."""
    world = World(app=web)
    for happen, number in steps:
        happen(world, number)
    world.settle()
    world.check_rest()
    return world


@settings(max_examples=100, deadline=None)
@given(APPS, STEPS)
def test_whatever_happens_there_is_in_the_end_what_was_wanted(web: AppRecord, steps: Steps) -> None:
    walk(web, steps)


@pytest.mark.parametrize("decade", range(4))
def test_long_walks_come_to_what_was_wanted_as_well(decade: int) -> None:
    for seed in range(100 * decade, 100 * decade + 100):
        dice = random.Random(seed)
        fields = {name: dice.choice(values) for name, values in CHOICES.items()}
        steps = [(dice.choice(HAPPENINGS), dice.randrange(12)) for _ in range(dice.randrange(150))]
        walk(app(**fields), steps)  # type: ignore[arg-type]  # the fields of AppSpec and RestartPolicy


def test_a_daemon_that_dies_between_an_end_and_its_restart_doubles_nothing() -> None:
    """What is ordered during a take-over is not in the table, and must not be ordered again for that."""
    world = World(app=app(delay_s=0.0))
    for happen, number in (
        (World.order_arrives, 0),
        (World.set_up_ends, 9),
        (World.news_arrives, 0),
        (World.sync, 0),
        (World.main_ends, 2),
        (World.daemon_dies, 0),
    ):
        happen(world, number)
    world.settle()
    world.check_rest()
    assert world.spawned == [1, 2]


def test_a_restart_that_the_journal_lost_is_found_again() -> None:
    world = World(app=app(policy=RestartWhen.ALWAYS))
    for happen, number in (
        (World.order_arrives, 0),
        (World.set_up_ends, 9),
        (World.news_arrives, 0),
        (World.sync, 0),
        (World.command, 2),
        (World.order_arrives, 0),
        (World.news_arrives, 0),
        (World.order_arrives, 0),
        (World.set_up_ends, 9),
    ):
        happen(world, number)
    assert world.record is not None
    assert (world.record.run, world.on_disk) != (1, None)
    world.daemon_dies(0)
    world.settle()
    world.check_rest()
    assert (world.record.run, world.record.state, world.spawned) == (2, State.RUNNING, [1, 2])


def test_a_stop_that_was_acknowledged_stays_one() -> None:
    world = World(app=app(policy=RestartWhen.ALWAYS))
    world.order_arrives(0)
    world.set_up_ends(9)
    world.news_arrives(0)
    world.feed(i.Stop())
    world.sync()
    world.daemon_dies(0)
    world.settle()
    world.check_rest()
    assert world.record is not None
    assert (world.record.wanted, world.record.state) == (Wanted.DOWN, State.STOPPED)


def test_a_stop_whose_signal_died_with_the_daemon_asks_again_before_it_kills() -> None:
    world = World(app=app(stop=DEFAULT_STOP[:1] + DEFAULT_STOP[2:]))
    world.order_arrives(0)
    world.set_up_ends(9)
    world.news_arrives(0)
    world.feed(i.Stop())
    world.sync()
    world.daemon_dies(0)
    world.order_arrives(3)
    assert world.rows[1].is_asked
    assert world.rows[1].lives
    world.time_comes(0)
    world.settle()
    world.check_rest()

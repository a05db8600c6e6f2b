"""The start budget: never more than its burst and its rate, and never less than it could be."""

from __future__ import annotations

import heapq
import random

from hypothesis import given
from hypothesis import strategies as st

from droned.lifecycle.budget import Bucket, take, wait_s
from droned.lifecycle.inputs import Elapsed
from droned.lifecycle.table import step
from droned.models.policy import StartBudget
from droned.models.records import DueKind, State
from tests.lifecycle.samples import MONO, WEB, at, record

BUDGETS = st.builds(StartBudget, burst=st.integers(1, 50), per_second=st.floats(0.5, 200.0))
GAPS = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=120)


def starts(budget: StartBudget, gaps: list[float]) -> list[float]:
    """When the starts happen of those who ask after each of `gaps`, and go only when they may."""
    bucket, now, started = Bucket(), 100.0, []
    for gap in gaps:
        now += gap
        if wait_s(budget, bucket, now) == 0.0:
            bucket = take(budget, bucket, now)
            started.append(now)
    return started


@given(BUDGETS, GAPS)
def test_no_window_holds_more_than_burst_and_rate_allow(budget: StartBudget, gaps: list[float]) -> None:
    started = starts(budget, gaps)
    for first, begin in enumerate(started):
        for last in range(first, len(started)):
            most = budget.burst + budget.per_second * (started[last] - begin)
            assert last - first + 1 <= most + 1e-6


@given(BUDGETS, GAPS)
def test_who_waits_as_long_as_told_may_go(budget: StartBudget, gaps: list[float]) -> None:
    bucket, now = Bucket(), 100.0
    for gap in gaps:
        now += gap
        now += wait_s(budget, bucket, now) + 1e-9
        assert wait_s(budget, bucket, now) == 0.0
        bucket = take(budget, bucket, now)


@given(BUDGETS)
def test_a_rested_bucket_gives_its_whole_burst_and_not_one_more(budget: StartBudget) -> None:
    bucket = Bucket()
    for _ in range(budget.burst):
        assert wait_s(budget, bucket, 1000.0) <= 1e-9
        bucket = take(budget, bucket, 1000.0)
    assert 0.0 < wait_s(budget, bucket, 1000.0) <= 1.0 / budget.per_second + 1e-9


def test_without_a_budget_nothing_waits_and_nothing_is_taken() -> None:
    bucket = Bucket(ahead_until_mono=1e9)
    assert wait_s(None, bucket, 0.0) == 0.0
    assert take(None, bucket, 0.0) is bucket


def test_a_thousand_who_wait_neither_crowd_nor_wait_for_ever() -> None:
    """Asked one by one they would take a quarter of a million steps; a queue would take 14 seconds."""
    budget, bucket, dice = StartBudget(burst=300, per_second=50.0), Bucket(), random.Random(1)
    records = [record(State.BACKOFF, key=f"web/{number}") for number in range(1000)]
    waiting = [(MONO, number) for number in range(1000)]
    steps, now, started = 0, MONO, 0
    while waiting:
        now, number = heapq.heappop(waiting)
        moment = at(now - MONO, draw=dice.random(), budget_wait_s=wait_s(budget, bucket, now))
        outcome = step(records[number], WEB, Elapsed(kind=DueKind.START), moment)
        steps += 1
        assert outcome.record is not None
        records[number] = outcome.record
        if outcome.effects:
            bucket = take(budget, bucket, now)
            started += 1
        else:
            assert outcome.record.due is not None
            heapq.heappush(waiting, (outcome.record.due.at_mono, number))
    assert started == 1000
    assert steps < 10_000
    assert now - MONO < 30.0

"""The restart decision against a straightforward reference, and its numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.lifecycle.restart import CLEAN_SIGNALS, Again, GiveUp, Leave, decide, is_success, next_delay
from droned.lifecycle.words import exit_of_status
from droned.models.policy import RestartLimit, RestartPolicy, RestartWhen
from droned.models.records import State
from tests.lifecycle.samples import MONO, WALL, at, record

SHARES = st.floats(0.0, 1.0)
POLICIES = st.builds(
    RestartPolicy,
    policy=st.sampled_from(RestartWhen),
    delay_s=st.floats(0.0, 60.0),
    max_delay_s=st.floats(0.0, 600.0),
    jitter=SHARES,
    reset_after_s=st.floats(0.0, 3600.0),
    limit=st.none() | st.builds(RestartLimit, count=st.integers(1, 5), within_s=st.floats(0.1, 600.0)),
    retry_failed_after_s=st.none() | st.floats(0.1, 600.0),
    success_exit=st.lists(st.integers(0, 4), max_size=3).map(tuple),
    permanent_exit=st.lists(st.integers(3, 6), max_size=2).map(tuple),
)
STATUSES = (
    st.none() | st.integers(0, 6).map(lambda code: code << 8) | st.sampled_from([1, 2, 6, 9, 11, 13, 15])
)
RECENT = st.lists(st.floats(0.0, 1000.0), max_size=8).map(
    lambda ages: tuple(sorted(MONO - age for age in ages))
)


@given(
    POLICIES, STATUSES, st.booleans(), st.none() | st.floats(0.0, 5000.0), RECENT, st.integers(0, 40), SHARES
)
def test_the_decision_is_what_the_words_say(
    policy: RestartPolicy,
    status: int | None,
    enabled: bool,
    lasted_s: float | None,
    recent: tuple[float, ...],
    tries: int,
    draw: float,
) -> None:
    end = exit_of_status(3, status, WALL)
    before = record(
        State.RUNNING,
        enabled=enabled,
        started_mono=None if lasted_s is None else MONO - lasted_s,
        recent_mono=recent,
        tries=tries,
    )
    decision = decide(policy, before, end, at(draw=draw))

    if status is None:
        went_well = False
    elif status & 0x7F:
        went_well = (status & 0x7F) in (1, 2, 13, 15)
    else:
        went_well = (status >> 8) in policy.success_exit
    follows = {
        "always": True,
        "never": False,
        "on-failure": not went_well,
        "on-success": went_well,
    }[policy.policy]
    is_permanent = status is not None and not status & 0x7F and (status >> 8) in policy.permanent_exit
    counted = [each for each in recent if policy.limit and MONO - each < policy.limit.within_s]

    if is_permanent:
        assert isinstance(decision, GiveUp)
    elif not follows or not enabled:
        assert isinstance(decision, Leave)
    elif policy.limit and len(counted) >= policy.limit.count:
        assert isinstance(decision, GiveUp)
    else:
        assert isinstance(decision, Again)
        if lasted_s is not None and MONO - (MONO - lasted_s) >= policy.reset_after_s:
            assert (decision.delay_s, decision.tries) == (0.0, 0)
        else:
            assert decision.tries == tries + 1
            assert decision.delay_s <= policy.max_delay_s * (1.0 + policy.jitter) + 1e-9
        if policy.limit:
            assert decision.recent_mono == (*counted, MONO)


@given(st.integers(0, 10_000), st.floats(0.0, 600.0), st.floats(0.0, 3600.0), SHARES, SHARES)
def test_a_delay_stays_within_its_bounds(
    tries: int, first_s: float, limit_s: float, jitter: float, draw: float
) -> None:
    delay_s = next_delay(tries, first_s, limit_s, jitter, draw)
    plain = min(first_s * 2.0 ** min(tries, 32), limit_s)
    assert plain * (1.0 - jitter) - 1e-6 <= delay_s <= plain * (1.0 + jitter) + 1e-6
    assert next_delay(tries, first_s, limit_s, jitter, 0.5) == pytest.approx(plain)


def test_delays_double_up_to_the_limit() -> None:
    delays = [next_delay(tries, 0.5, 30.0, 0.25, 0.5) for tries in range(9)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]


def test_no_delay_is_always_at_once() -> None:
    assert {next_delay(tries, 0.0, 30.0, 0.25, 0.9) for tries in range(50)} == {0.0}


def test_a_negative_number_of_tries_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot count -1 tries"):
        next_delay(-1, 0.5, 30.0, 0.25, 0.5)


@pytest.mark.parametrize("number", [*CLEAN_SIGNALS, 6, 9, 11])
def test_only_the_clean_signals_are_a_success(number: int) -> None:
    end = exit_of_status(3, number, WALL)
    assert is_success(RestartPolicy(), end) is (number in {1, 2, 13, 15})

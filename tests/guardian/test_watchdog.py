"""When a daemon counts as hung, and how long the next one waits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.guardian.watchdog import SILENCE_S, STARTUP_S, TICK_S, Backoff, Watchdog


def ready(now: float = 0.0) -> Watchdog:
    watchdog = Watchdog(now)
    watchdog.became_ready(now)
    return watchdog


def test_silence_of_eight_seconds_ends_a_daemon() -> None:
    watchdog = ready()
    assert [watchdog.tick(at) is not None for at in (2.0, 4.0, 6.0, 8.0)] == [False, False, False, True]


def test_an_answer_begins_the_count_anew() -> None:
    watchdog = ready()
    for at in range(2, 600, 2):
        assert watchdog.tick(float(at)) is None
        watchdog.answered(at + 0.01)


def test_ticks_that_the_guardian_got_late_do_not_count() -> None:
    """A guardian without a processor cannot blame the daemon for the same."""
    watchdog = ready()
    now = 0.0
    for _ in range(50):
        now += 5.0
        assert watchdog.tick(now) is None
    assert [watchdog.tick(now + step) is not None for step in (2.0, 4.0, 6.0, 8.0)] == [False] * 3 + [True]


def test_a_daemon_that_gets_no_processor_does_not_hang() -> None:
    watchdog = ready()
    assert all(watchdog.tick(2.0 * number, used_s=1.0) is None for number in range(1, 100))


def test_a_daemon_that_spins_hangs() -> None:
    watchdog = ready()
    ticks = [watchdog.tick(at, used_s=at / 2.0) for at in (2.0, 4.0, 6.0, 8.0)]
    assert [reason is not None for reason in ticks] == [False, False, False, True]


@given(st.lists(st.floats(0.0, 30.0).filter(lambda late: abs(late - 1.0) > 0.001), max_size=60))
def test_nobody_is_ended_before_eight_counted_seconds(lateness: list[float]) -> None:
    watchdog = ready()
    now = counted = 0.0
    for late in lateness:
        now += TICK_S + late
        if late <= 1.0:
            counted += TICK_S + late
        if watchdog.tick(now) is not None:
            assert counted >= SILENCE_S - 0.1
            return
    assert counted < SILENCE_S


def test_a_start_has_a_minute_that_progress_extends() -> None:
    watchdog = Watchdog(0.0)
    now = 0.0
    while now < 50.0:
        now += TICK_S
        assert watchdog.tick(now) is None
    watchdog.progressed(now)
    while now < 50.0 + STARTUP_S - TICK_S:
        now += TICK_S
        assert watchdog.tick(now) is None
    assert watchdog.tick(now + TICK_S) == "not ready within 60 s"


def test_a_late_guardian_extends_the_start_too() -> None:
    watchdog = Watchdog(0.0)
    assert watchdog.tick(100.0) is None
    assert watchdog.tick(102.0) is None


def test_a_pause_holds_and_ends() -> None:
    watchdog = ready()
    watchdog.pause(0.0, 100.0)
    assert not any(watchdog.tick(float(at)) for at in range(2, 100, 2))
    assert [watchdog.tick(float(at)) is not None for at in (100, 102, 104, 106, 108)][-1]
    watchdog = ready()
    watchdog.pause(0.0, 100.0)
    watchdog.pause(10.0, 0.0)
    assert watchdog.tick(12.0) is None
    assert [watchdog.tick(float(at)) is not None for at in (14, 16, 18, 20)][-1]


def test_a_daemon_that_keeps_dying_waits_up_to_half_a_minute() -> None:
    backoff = Backoff()
    waits = [backoff.delay_s(float(at), 0.0) for at in range(11)]
    assert waits == pytest.approx([0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30, 30])


def test_a_life_in_control_is_forgiven() -> None:
    backoff = Backoff()
    for at in range(5):
        backoff.delay_s(float(at), 0.0)
    assert backoff.delay_s(100.0, 60.0) == 0.0


@pytest.mark.parametrize(("apart_s", "is_safe"), [(100.0, True), (400.0, False)])
def test_three_deaths_within_ten_minutes_are_safe_mode(apart_s: float, is_safe: bool) -> None:
    backoff = Backoff()
    for number in range(3):
        assert not backoff.is_safe_mode(number * apart_s)
        backoff.delay_s(number * apart_s, 1000.0)
    assert backoff.is_safe_mode(2 * apart_s) is is_safe


def test_time_in_control_before_a_restart_on_purpose_counts_as_well() -> None:
    backoff = Backoff()
    for at in range(20):
        backoff.forgive(2.5)  # it was restarted, and its successor is killed while it starts
        assert backoff.delay_s(at * 3.0, 0.0) == 0.0


def test_a_saved_back_off_goes_on() -> None:
    backoff = Backoff()
    for at in range(4):
        backoff.delay_s(float(at), 0.0)
    assert Backoff(*backoff.saved()).delay_s(5.0, 0.0) == backoff.delay_s(5.0, 0.0)


def test_one_that_programs_wait_for_is_forgiven_sooner_and_never_waits_long() -> None:
    backoff = Backoff(forgives_s=0.5, first_s=0.05, most_s=2.0)
    assert [backoff.delay_s(float(now), 0.5) for now in range(10)] == [0.0] * 10
    assert [backoff.delay_s(20.0, 0.0) for _ in range(7)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]

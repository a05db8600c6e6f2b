"""The stall watch: lag measured, culprit named."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from droned.services.stall import BEAT_S, StallWatch, culprit_of
from tests.fakes.clock import FakeClock


def test_a_late_beat_is_the_lag() -> None:
    clock = FakeClock()
    watch = StallWatch(clock, clock.mono)
    watch.startService()
    clock.advance(BEAT_S)
    assert watch.lag_s == pytest.approx(0.0)
    clock.advance(BEAT_S + 0.3)
    assert watch.lag_s == pytest.approx(0.3)
    watch.stopService()
    assert clock.pending == 0


def test_a_ping_is_a_beat_and_its_wait_the_lag() -> None:
    clock = FakeClock()
    watch = StallWatch(clock, clock.mono)
    watch.pinged(clock.mono() - 9.0)  # before it runs
    watch.startService()
    for _ in range(10):
        clock.advance(BEAT_S)
        watch.pinged(clock.mono() - 0.2)
    assert watch.lag_s == pytest.approx(0.2)
    watch.stopService()


def test_without_pings_the_timer_beats_again() -> None:
    clock = FakeClock()
    watch = StallWatch(clock, clock.mono)
    watch.startService()
    watch.pinged(clock.mono())
    clock.advance(BEAT_S)  # one ping has come: from here on only a look now and then
    for _ in range(20):
        clock.advance(BEAT_S)
    clock.advance(BEAT_S + 0.4)
    assert watch.lag_s == pytest.approx(0.4)
    watch.stopService()
    assert clock.pending == 0


def test_the_largest_lag_is_forgotten_after_two_windows() -> None:
    clock = FakeClock()
    watch = StallWatch(clock, clock.mono)
    watch.startService()
    clock.advance(BEAT_S + 0.5)
    for _ in range(500):
        clock.advance(BEAT_S)
    assert watch.lag_s == pytest.approx(0.0)
    watch.stopService()


def hold_up(ready: threading.Event, done: threading.Event) -> None:
    ready.set()
    done.wait()


def test_the_culprit_is_the_innermost_code_that_is_not_the_reactors() -> None:
    ready, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=hold_up, args=(ready, done))
    thread.start()
    ready.wait()
    time.sleep(0.01)
    frame = sys._current_frames()[thread.ident or 0]
    named = culprit_of(frame)
    done.set()
    thread.join()
    assert "threading.py" in named or "hold_up" in named

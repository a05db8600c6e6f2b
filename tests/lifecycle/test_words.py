"""How ends and durations are said."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.lifecycle.words import errno_words, exit_of_status, seconds, signal_name


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0s"),
        (0.0004, "1ms"),
        (0.04, "40ms"),
        (0.4, "0.4s"),
        (0.999, "1s"),
        (2.0, "2s"),
        (2.5, "2.5s"),
        (9.96, "10s"),
        (12.4, "12s"),
        (59.7, "1m"),
        (60.0, "1m"),
        (200.0, "3m20s"),
        (3599.8, "1h"),
        (7500.0, "2h05m"),
        (86_399.0, "23h59m"),
        (86_400.0, "1d"),
        (273_600.0, "3d4h"),
    ],
)
def test_durations_are_said_as_people_write_them(value: float, words: str) -> None:
    assert seconds(value) == words


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (0, "exited 0"),
        (3 << 8, "exited 3"),
        (9, "killed by KILL"),
        (11 | 0x80, "killed by SEGV (core dumped)"),
        (40, "killed by 40"),
        (None, "its end could not be seen"),
    ],
)
def test_ends_are_said_in_words(status: int | None, reason: str) -> None:
    assert exit_of_status(1, status, 0.0).reason == reason


@given(st.integers(0, 255).map(lambda code: code << 8) | st.integers(1, 64))
def test_a_wait_status_is_read_as_the_system_reads_it(status: int) -> None:
    end = exit_of_status(1, status, 0.0)
    code = os.waitstatus_to_exitcode(status)
    assert (end.code, end.signal) == ((code, None) if code >= 0 else (None, -code))
    assert not end.is_unseen


def test_signals_and_errnos_have_their_names() -> None:
    assert [signal_name(number) for number in (1, 15, 9, 63)] == ["HUP", "TERM", "KILL", "63"]
    assert errno_words(2) == "does not exist (ENOENT)"
    assert errno_words(5) == "EIO"
    assert errno_words(9999) == "9999"

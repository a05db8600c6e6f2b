"""Values as a person reads them."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.ctl.text import (
    clock_time,
    counted,
    cut,
    duration,
    escaped,
    escaped_json,
    moment_of,
    seconds_of,
    width_of,
)
from droned.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, grün, 漢字", "plain, grün, 漢字"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u200bb\x9b1m\x7f", "a\\u200bb\\x9b1m\\x7f"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_nothing_that_could_fool_a_terminal_gets_through(text: str, shown: str) -> None:
    assert escaped(text) == shown


@given(st.text())
def test_escaped_text_is_printable_and_on_one_line(text: str) -> None:
    assert escaped(text).isprintable()


@given(st.dictionaries(st.text(), st.text()))
def test_escaped_json_says_the_same(document: dict[str, str]) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    shown = escaped_json(text)
    assert json.loads(shown) == json.loads(text)
    assert all(each.isprintable() or each == "\n" for each in shown)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-3, "0s"),
        (0, "0s"),
        (0.42, "0.4s"),
        (9.96, "10.0s"),
        (12.7, "12s"),
        (60, "1m"),
        (200, "3m20s"),
        (3 * 3600 + 5, "3h"),
        (3 * 86400 + 4 * 3600 + 59, "3d4h"),
        (400 * 86400, "400d"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1.5", 1.5), ("500ms", 0.5), ("10s", 10), ("5m", 300), ("1h30m", 5400), ("30d", 2592000)],
)
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text, "--timeout") == seconds


@pytest.mark.parametrize("text", ["", "-1", "1y", "5 m", "1e9", "nan", "0x1", "٣s", "99999999999"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="as --timeout: give a time such as"):
        seconds_of(text, "--timeout")


def test_moments() -> None:
    assert moment_of("1970-01-01T00:01:00.500000Z") == 60.5
    assert moment_of("1970-01-01T02:00:00+02:00") == 0.0
    assert moment_of("1970-01-01T00:00:00") is None, "without a zone it is no moment"
    assert moment_of("yesterday") is None


def test_a_clock_time_has_its_day_unless_it_is_today() -> None:
    now = time.time()
    today = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
    assert clock_time(today) == time.strftime("%H:%M:%S", time.localtime(int(now)))
    assert clock_time("2001-02-03T12:00:00Z").startswith("2001-02-03 ")
    assert clock_time("\x1b") == "\\x1b"


def test_widths_are_those_of_a_terminal() -> None:
    assert width_of("abc") == 3
    assert width_of("漢字") == 4
    assert width_of("e\u0301") == 1
    assert cut("漢字漢字", 5) == "漢字…"
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"
    assert cut("abc", 0) == ""


@given(st.text(), st.integers(0, 40))
def test_what_is_cut_fits(text: str, width: int) -> None:
    assert width_of(cut(escaped(text), width)) <= width


def test_counting() -> None:
    assert counted(1, "instance") == "1 instance"
    assert counted(0, "instance") == "0 instances"

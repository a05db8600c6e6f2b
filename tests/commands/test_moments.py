"""Moments as people give them."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.commands.moments import LONGEST_AGO_S, When, read_when


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("0s", 0.0),
        ("36500d", LONGEST_AGO_S),
    ],
)
def test_how_long_ago(text: str, ago_s: float) -> None:
    assert read_when(text) == When(ago_s=ago_s)


def test_the_other_ways_to_say_it() -> None:
    assert read_when("boot") == When(is_boot=True)
    assert read_when("@4711") == When(version=4711)
    assert read_when("1970-01-01T00:00:01.123456789Z") == When(at=1.123456)
    assert read_when("1970-01-01 01:00:01+01:00") == When(at=1.0)


@pytest.mark.parametrize(
    "text",
    [
        *("", "10", "m", "-5m", "10 m", "10M", "٣m", "10m\n", "36501d", "9" * 400 + "s"),
        *("@", "@x", "@-1", "@1.0", "Boot", "now", "2026-11-27", "2026-11-27T04:31", "2026-11-27T04:31:02"),
        *(
            "2026-02-30T00:00:00Z",
            "2026-11-27T24:01:00Z",
            "0000-01-01T00:00:00Z",
            "2026-11-27T04:31:02+99:00",
        ),
    ],
)
def test_what_is_no_moment(text: str) -> None:
    assert read_when(text) is None


@given(st.integers(86_400, 7_000_000_000), st.integers(0, 999_999), st.integers(-14 * 60, 14 * 60))
def test_any_zone_means_the_same_moment(second: int, us: int, minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    at = datetime.fromtimestamp(second, zone).replace(microsecond=us)
    assert read_when(at.isoformat()) == When(at=at.timestamp())


@given(st.text())
def test_any_text_is_read_or_is_none(text: str) -> None:
    found = read_when(text)
    assert found is None or isinstance(found, When)

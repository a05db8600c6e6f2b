"""Pushes to Loki and what its answers mean."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.protocols.captured import CapturedLine, clean_text, nanoseconds
from droned.protocols.loki import LONGEST_WAIT_S, Verdict, push, reason, retry_after_s, verdict
from tests.protocols.wire import lines, read_push

AT = "2026-11-27T04:31:02.123456Z"
AT_NS = 1_795_753_862_123_456_000


def line(instance: str, stream: str, text: str, at: str = AT) -> CapturedLine:
    return CapturedLine(0, at, instance, 1, stream, text)


def test_a_push_has_the_lines_of_each_stream_in_their_order() -> None:
    sent = [line("web/0", "stdout", "a"), line("db/0", "stdout", "b"), line("web/0", "stdout", "a")]
    own = {"env": "prod", "server": "host1", "stream": "stdout"}
    assert read_push(push(sent, "host1", {"env": "prod"})) == [
        ({**own, "app": "web", "instance": "web/0"}, AT_NS, "a"),
        ({**own, "app": "web", "instance": "web/0"}, AT_NS + 1, "a"),
        ({**own, "app": "db", "instance": "db/0"}, AT_NS, "b"),
    ]


@given(st.lists(lines, max_size=30))
def test_everything_comes_back_and_no_two_lines_are_one(sent: list[CapturedLine]) -> None:
    found = read_push(push(sent, "h", {}))
    told = [(labels["instance"], labels["stream"], text) for labels, _, text in found]
    assert sorted(told) == sorted((each.instance, each.stream, clean_text(each.text)) for each in sent)
    times = [(labels["instance"], labels["stream"], at) for labels, at, _ in found]
    assert len(set(times)) == len(times)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((status, Verdict.TAKEN) for status in (200, 204)),
        *((status, Verdict.AGAIN) for status in (302, 401, 404, 408, 429, 500, 502, 503)),
        *((status, Verdict.REFUSED) for status in (400, 413, 415, 422)),
    ],
)
def test_statuses(status: int, meaning: Verdict) -> None:
    assert verdict(status) is meaning


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"7", 7.0),
        (b" 0 ", 0.0),
        (b"99999999999", LONGEST_WAIT_S),
        (b"Fri, 27 Nov 2026 04:31:12 GMT", 10.0),
        (b"Fri, 27 Nov 2025 04:31:12 GMT", 0.0),
        (b"soon", None),
        (b"-1", None),
        (b"\xff", None),
        (b"", None),
        (None, None),
    ],
)
def test_when_to_come_again(value: bytes | None, seconds: float | None) -> None:
    assert retry_after_s(value, datetime(2026, 11, 27, 4, 31, 2, tzinfo=UTC).timestamp()) == seconds


@given(st.integers(100, 599), st.binary())
def test_a_reason_can_be_shown(status: int, body: bytes) -> None:
    assert reason(status, body).isprintable()
    assert len(reason(status, body)) < 300


@given(st.integers(0, 7_000_000_000), st.integers(0, 999_999))
def test_times_are_exact(seconds: int, micros: int) -> None:
    text = datetime.fromtimestamp(seconds, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{micros:06d}Z")
    assert nanoseconds(text) == seconds * 10**9 + micros * 1000


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-11-27", "2026-11-27T04:31:02.xZ", "2026-11-27T04:31:02.-1Z"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        nanoseconds(text)

"""History is exact: whatever was interleaved, rotated, compressed, and wherever a reader goes on."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from droned.logs.reader import history, reading, walk
from tests.logs.reader.written import START_US, Key, Written, asked, lines

PIECE = 8

KEYS: list[Key] = [
    (f"{app}/{label}", name) for app in ("web", "db") for label in "01" for name in ("stdout", "stderr")
]
DATA = st.binary(max_size=12) | st.sampled_from(
    [b"\n", b"ERROR\n", b"a\nb\nERROR x\n", b"long long long long", b"\xff\0\r\n", b"part"]
)
TICK = st.tuples(st.just("tick"), st.lists(st.tuples(st.sampled_from(KEYS), DATA), min_size=1, max_size=6))
OPERATION = st.one_of(
    TICK,
    TICK,
    st.tuples(st.sampled_from(["rotate", "compress", "gzip", "compress beside"]), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(["begin", "end"]), st.sampled_from(["web/0", "web/1", "db/0"])),
    st.tuples(st.just("index"), st.none()),
)
OPERATIONS = st.lists(OPERATION, max_size=30)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Make all borders come often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "PIECE_BYTES", PIECE)
        patch.setattr(walk, "_FIRST_BYTES", 80)
        patch.setattr(walk, "_MOST_BYTES", 160)
        patch.setattr(history, "_FIRST_BYTES", 2)
        patch.setattr(history, "_MOST_BYTES", 8)
        patch.setattr(history, "_EACH_BYTES", 3)
        patch.setattr(history, "_MANY_BYTES", 16)
        patch.setattr(history, "_LAST_BYTES", 4)
        patch.setattr(history, "_LAST_FACTOR", 2)
        yield


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def done(scratch: Path, operations: list[Any]) -> Written:
    """A new folder in which all of this happened, a quarter of a second apart."""
    made = Written(Path(tempfile.mkdtemp(dir=scratch)), PIECE)
    running = set()
    for what, of in operations:
        made.time_us += 250_000
        match what:
            case "tick":
                made.tick(*((key[0], key[1], data) for key, data in of))
            case "rotate":
                made.rotate(of)
            case "compress":
                made.compress(of)
            case "gzip":
                made.compress(of, as_others=True)
            case "compress beside":
                made.compress(of, keeps_raw=True)
            case "begin" if of not in running:
                running.add(of)
                made.began(of, made.runs.get(of, 0) + 1, "stdout", "stderr")
            case "end" if of in running:
                running.remove(of)
                made.ended(of, 256)
            case "index":
                made.new_index()
    return made


history_property = settings(max_examples=100, suppress_health_check=list(HealthCheck))


@history_property
@given(OPERATIONS, st.data())
def test_history_from_any_position_is_the_rest(
    scratch: Path, operations: list[Any], data: st.DataObject
) -> None:
    made = done(scratch, operations)
    whole = made.history()
    assert asked(made.folder) == whole
    after = data.draw(st.sampled_from([0, made.position, *(one["position"] for one in made.objects)]))
    after = data.draw(st.just(after) | st.integers(0, made.position))
    again = [one for one in made.objects if one["position"] == after and is_told_with_others(one)]
    assert asked(made.folder, after=after) == again + [one for one in whole if one["position"] > after]


def is_told_with_others(one: dict[str, Any]) -> bool:
    """May it be one of several at its position, which a client has seen some of?"""
    return "event" in one or "partial" in one


@history_property
@given(OPERATIONS, st.integers(0, 30), st.sampled_from([[], ["web"], ["db"]]))
def test_the_last_lines_are_the_end_of_history(
    scratch: Path, operations: list[Any], last: int, apps: list[str]
) -> None:
    made = done(scratch, operations)
    whole = [one for one in made.history() if not apps or one["instance"].split("/")[0] in apps]
    found = asked(made.folder, last=last, apps=apps)
    wanted = lines(whole)
    assert lines(found) == wanted[len(wanted) - min(last, len(wanted)) :]
    if 0 < last < len(wanted):
        assert found == whole[len(whole) - len(found) :]


@history_property
@given(OPERATIONS, st.integers(0, 32), st.integers(0, 32))
def test_times_are_those_of_the_index(scratch: Path, operations: list[Any], since: int, until: int) -> None:
    made = done(scratch, operations)
    asks = {"since": (START_US + since * 250_000) / 1e6, "until": (START_US + until * 250_000) / 1e6}
    wanted = [one for one in made.history() if since <= quarters(one["at"]) <= until]
    assert asked(made.folder, **asks) == wanted


def quarters(at: str) -> int:
    return round(((int(at[14:16]) - 26) * 60 + float(at[17:26]) - 40) * 4)


EXPRESSIONS = [
    "ERROR",
    "^a$",
    "b|ERROR x",
    r"\s",
    "[^a]",
    "",
    "(?!a)",
    "long",
    r"\AERROR",
    "é|\\xff",
    "ER+OR? ?x*",
]


@history_property
@given(OPERATIONS, st.sampled_from(EXPRESSIONS), st.booleans(), st.booleans())
def test_search_gives_what_a_look_at_each_line_gives(
    scratch: Path, operations: list[Any], grep: str, is_inverted: bool, ignore_case: bool
) -> None:
    made = done(scratch, operations)
    expression = re.compile(grep.encode(), re.IGNORECASE if ignore_case else 0)
    wanted = [
        one
        for one in lines(made.history())
        if bool(expression.search(one["line"].encode("utf-8", "surrogateescape"))) != is_inverted
    ]
    asks = {"grep": grep, "is_inverted": is_inverted, "ignore_case": ignore_case}
    assert asked(made.folder, **asks) == wanted


@history_property
@given(OPERATIONS)
def test_one_run_of_each_instance(scratch: Path, operations: list[Any]) -> None:
    made = done(scratch, operations)
    whole = made.history()
    assert lines(asked(made.folder, run=2)) == [one for one in lines(whole) if one["run"] == 2]
    previous = {instance: run - 1 for instance, run in made.runs.items() if run > 1}
    wanted = [one for one in lines(whole) if previous.get(one["instance"]) == one["run"] is not None]
    assert lines(asked(made.folder, is_previous=True)) == wanted

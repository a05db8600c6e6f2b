"""droned's own log as it is configured: formats, levels of services, and a pipe that nobody has to read."""

import json
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel

from droned.daemon.log import DaemonLog
from droned.daemon.log_lines import GRAVITY, LONGEST_FACT
from droned.models.daemon_log import SERVICES, Level, OwnLogFormat, OwnLogSettings, OwnLogTo
from droned.models.events import EventType, Occurrence
from droned.models.registry import Moment, Registry

AT = 1_780_000_000.123456
MOMENT = Moment(wall=AT, mono=0.0, draw=0.5)
JSON = OwnLogSettings(format=OwnLogFormat.JSON)


class Written:
    """A log over a pipe, and what was written to it."""

    def __init__(self, settings: OwnLogSettings) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.log = DaemonLog(self.writer)
        self.log.configure(settings)
        self.registry = Registry(failed=lambda subscriber: pytest.fail(repr(subscriber)))
        self.registry.subscribe(self.log.tell)

    def logger(self, namespace: str) -> Logger:
        return Logger(namespace=namespace, observer=self.log)

    def commit(self, *occurrences: Occurrence, actor: str = "droned") -> None:
        self.registry.commit((), occurrences, moment=MOMENT, actor=actor, cause=0)

    def text(self) -> str:
        try:
            return os.read(self.reader, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def objects(self) -> list[dict[str, Any]]:
        """Every line as JSON; fails when one is none."""
        text = self.text()
        assert text == "" or text.endswith("\n")
        return [json.loads(line, parse_constant=pytest.fail) for line in text.split("\n")[:-1]]

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def written() -> Iterator[Callable[[OwnLogSettings], Written]]:
    made: list[Written] = []

    def write(settings: OwnLogSettings) -> Written:
        made.append(Written(settings))
        return made[-1]

    yield write
    for each in made:
        each.log.configure(OwnLogSettings())
        each.close()


def told(kind: EventType = EventType.INSTANCE_STARTED, subject: str = "web/0", text: str = "x") -> Occurrence:
    return Occurrence(type=kind, subject=subject, text=text, data={"pid": 7})


def test_an_event_is_an_object_with_its_facts(written: Callable[[OwnLogSettings], Written]) -> None:
    log = written(JSON)
    log.commit(told(EventType.INSTANCE_CRASHED, text="killed by SIGSEGV\nreally"), actor="alice")
    assert log.objects() == [
        {
            "at": "2026-05-28T20:26:40.123456Z",
            "level": "warn",
            "service": "supervision",
            "text": "killed by SIGSEGV\nreally",
            "version": 1,
            "type": "instance-crashed",
            "subject": "web/0",
            "actor": "alice",
            "cause": 0,
            "data": {"pid": 7},
        }
    ]


def test_what_a_logger_is_told_is_an_object_with_its_facts(
    written: Callable[[OwnLogSettings], Written],
) -> None:
    log = written(JSON)
    log.logger("droned.services.stall").warn("stood for {lag_ms} ms", lag_ms=130, text=1, at=float("nan"))
    try:
        raise RuntimeError("gone")
    except RuntimeError:
        log.logger("elsewhere").failure("failed: {what}", what=object)
    stall, failed = log.objects()
    assert stall.pop("at").startswith("20")
    assert stall == {
        "level": "warn",
        "service": "stall-watch",
        "text": "stood for 130 ms",
        "lag_ms": 130,
        "text_": 1,
        "at_": "nan",
    }
    assert (failed["level"], failed["namespace"], failed["what"]) == (
        "critical",
        "elsewhere",
        "<class 'object'>",
    )
    assert failed["traceback"].startswith("Traceback")
    assert failed["traceback"].endswith("gone")


class Broken:
    """A fact that cannot even be shown."""

    def __repr__(self) -> str:
        raise ValueError("not shown")


any_text = st.text(st.characters(exclude_categories=()))
any_fact = st.one_of(
    any_text,
    st.integers(),
    st.floats(),
    st.binary(),
    st.none(),
    st.booleans(),
    st.builds(Broken),
    st.dictionaries(st.one_of(st.integers(), any_text), any_text),
)


@given(any_text, any_fact, any_text)
def test_every_line_is_valid_json_whatever_was_told(text: str, fact: object, namespace: str) -> None:
    log = Written(JSON)
    log.logger(namespace).error("{text} {fact!r}", text=text, fact=fact)
    log.commit(told(text=text), told(subject=text or "x"), actor=text)
    logged, event, other = log.objects()
    log.close()
    assert logged["level"] == "error"
    assert event["text"] == text
    assert other["subject"] == (text or "x")


def test_a_line_that_was_begun_is_ended_before_the_next(written: Callable[[OwnLogSettings], Written]) -> None:
    """Nobody reads for a while: what is lost is whole lines, and their number is told."""
    log = written(JSON)
    for _ in range(300):
        log.commit(told(text="x" * 6000))
    text = ""
    for number in range(10):
        text += log.text()
        log.commit(told(text=f"after {number}"))
    text += log.text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert any("pieces of this log were lost" in line["text"] and line["lost"] > 100 for line in lines)
    assert lines[-1]["text"] == "after 9"
    assert {len(line["text"]) for line in lines if line["text"].startswith("x")} == {6000}


@pytest.mark.parametrize("format_", OwnLogFormat)
def test_levels_are_those_of_the_service(
    written: Callable[[OwnLogSettings], Written], format_: OwnLogFormat
) -> None:
    levels = {"api": Level.DEBUG, "journal": Level.ERROR}
    log = written(OwnLogSettings(format=format_, level=Level.WARN, levels=levels))
    for name in ("droned.web.feed", "droned.services.journal", "droned", "twisted.web", "other"):
        logger = log.logger(name)
        for level in ("debug", "info", "warn", "error"):
            logger.emit(LogLevel.levelWithName(level), f"{name} {level}")
    log.commit(
        told(text="web is up"),
        told(EventType.INSTANCE_CRASHED, text="it crashed"),
        told(EventType.JOURNAL_RECOVERED, "journal", "writes again"),
        told(EventType.JOURNAL_ERROR, "journal", "cannot write"),
        told(EventType.SERVICE_STARTED, "api", "it runs"),
    )
    text = log.text()
    said = [
        each
        for name in ("droned.web.feed", "droned.services.journal", "droned", "twisted.web", "other")
        for each in (f"{name} {level}" for level in ("debug", "info", "warn", "error"))
        if f" {each}" in text or f'"{each}"' in text
    ]
    assert said == [
        *(f"droned.web.feed {level}" for level in ("debug", "info", "warn", "error")),
        "droned.services.journal error",
        *(f"{name} {level}" for name in ("droned", "twisted.web", "other") for level in ("warn", "error")),
    ]
    assert [
        word in text for word in ("web is up", "it crashed", "writes again", "cannot write", "it runs")
    ] == [*(False, True, False, True, True)]


def test_twisted_is_quiet_unless_it_warns(written: Callable[[OwnLogSettings], Written]) -> None:
    log = written(OwnLogSettings(level=Level.DEBUG))
    log.logger("twisted.web").info("starting")
    log.logger("droned.web").debug("a request")
    assert log.text().endswith("Z debug: a request\n")


def test_settings_hold_from_the_next_line_on(written: Callable[[OwnLogSettings], Written]) -> None:
    log = written(OwnLogSettings(level=Level.ERROR))
    log.commit(told(text="one"))
    log.log.configure(JSON)
    log.commit(told(text="two"))
    log.log.configure(OwnLogSettings())
    log.commit(told(text="three"))
    one, two = log.text().splitlines()
    assert json.loads(one)["text"] == "two"
    assert two == "2026-05-28T20:26:40.123Z web/0: three"


def test_a_log_to_files_is_on_standard_output_until_it_is_taken(
    written: Callable[[OwnLogSettings], Written],
) -> None:
    log = written(OwnLogSettings(to=OwnLogTo.FILE))
    reader = log.log.reader
    assert reader is not None
    log.commit(told(text="one"))
    log.log.taken(True)
    log.commit(told(text="two"))
    log.log.taken(False)
    log.commit(told(text="three"))
    assert [line.rpartition(" ")[2] for line in log.text().splitlines()] == ["one", "three"]
    captured = os.read(reader, 1 << 16).decode()
    assert [line.rpartition(" ")[2] for line in captured.splitlines()] == ["one", "two", "three"]
    # Nobody takes it any more: the daemon goes on, and says later what was lost.
    log.log.taken(True)
    for _ in range(400):
        log.commit(told(text="y" * 4000))
    while len(os.read(reader, 1 << 20)) == 1 << 20:
        pass
    log.commit(told(text="after"))
    rest = os.read(reader, 1 << 20).decode()
    assert "pieces of this log were lost" in rest
    assert rest.endswith("web/0: after\n")
    assert log.text() == ""
    log.log.configure(OwnLogSettings())
    assert log.log.reader is None
    log.commit(told(text="back"))
    assert log.text().endswith("web/0: back\n")


def test_a_fact_is_never_longer_than_it_may_be(written: Callable[[OwnLogSettings], Written]) -> None:
    log = written(JSON)
    log.logger("droned").info("x", much=["y" * 100_000])
    assert len(log.objects()[0]["much"]) <= LONGEST_FACT


def test_every_level_of_an_event_is_one() -> None:
    assert set(GRAVITY.values()) <= set(Level)
    namespaces = [name for names in SERVICES.values() for name in names]
    assert len(set(namespaces)) == len(namespaces)
    for name in namespaces:
        assert find_spec(name) is not None, name

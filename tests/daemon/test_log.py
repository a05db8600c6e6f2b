"""droned's own log: what happened once is said once."""

import os

import pytest

from droned.daemon.log import DaemonLog
from droned.models.events import EventType, Occurrence
from droned.models.registry import Moment, Registry

MOMENT = Moment(wall=0.0, mono=0.0, draw=0.5)
OPENED = EventType.ISSUE_OPENED


def said(*occurrences: tuple[EventType, str, str]) -> list[str]:
    """The lines of a commit with these events, given as (type, subject, text)."""
    reader, writer = os.pipe()
    registry = Registry(failed=lambda subscriber: pytest.fail(repr(subscriber)))
    registry.subscribe(DaemonLog(writer).tell)
    told = [Occurrence(type=kind, subject=subject, text=text) for kind, subject, text in occurrences]
    registry.commit((), told, moment=MOMENT, actor="droned", cause=0)
    os.close(writer)
    with open(reader, encoding="utf-8") as written:
        return [line.removeprefix("1970-01-01T00:00:00.000Z ") for line in written.read().splitlines()]


def test_a_reader_that_does_not_read_costs_lines_and_not_the_daemon() -> None:
    reader, writer = os.pipe()
    log = DaemonLog(writer)
    registry = Registry(failed=lambda subscriber: pytest.fail(repr(subscriber)))
    registry.subscribe(log.tell)
    told = Occurrence(type=EventType.INSTANCE_STARTED, subject="web/0", text="x" * 1000)
    for _ in range(200):
        registry.commit((), (told,), moment=MOMENT, actor="droned", cause=0)
    assert len(os.read(reader, 1 << 20)) <= 1 << 16
    registry.commit((), (told,), moment=MOMENT, actor="droned", cause=0)
    assert b"pieces of this log were lost" in os.read(reader, 1 << 20)
    os.close(reader)
    os.close(writer)


def test_an_event_is_a_line() -> None:
    assert said((EventType.INSTANCE_STARTED, "web/0", "running, pid 7\x1b")) == ["web/0: running, pid 7\\x1b"]


@pytest.mark.parametrize("text", ["one", "one\ntwo", "two"])
def test_an_issue_is_not_said_again(text: str) -> None:
    damage = [(EventType.JOURNAL_ERROR, "journal", each) for each in ("one", "number two")]
    assert said(*damage, (OPENED, "journal", text)) == ["journal: one", "journal: number two"]


@pytest.mark.parametrize(
    ("subject", "text"), [("journal", "one\nthree"), ("web/0", "one"), ("journal", "one more")]
)
def test_an_issue_that_says_more_is_told(subject: str, text: str) -> None:
    lines = said((EventType.JOURNAL_ERROR, "journal", "one"), (OPENED, subject, text))
    assert lines[1:] == [f"{subject}: {text}".replace("\n", "\\n")]


def test_an_issue_by_itself_is_told() -> None:
    assert said((OPENED, "journal", "one")) == ["journal: one"]

"""A question is checked in full before anything is read."""

import json
from typing import Any

import pytest

from droned.logs.reader.question import BadQuestion, Question, question_of


def asked(**question: Any) -> Question:
    return question_of(json.dumps({"folder": "/logs"} | question).encode())


def test_all_but_the_folder_may_be_left_out_or_null() -> None:
    assert asked() == Question("/logs")
    left = {name: None for name in Question._fields if name not in ("folder", "since_us", "until_us")}
    assert asked(since=None, until=None, **left) == Question("/logs")


def test_times_are_seconds() -> None:
    assert asked(since=1780000000.25, until=1).since_us == 1_780_000_000_250_000


def test_apps_and_instances_are_asked_for_together() -> None:
    question = asked(apps=["web"], instances=["db/0"], streams=["stdout"])
    assert question.asks_for("web/7", "stdout")
    assert question.asks_for("db/0", "stdout")
    assert not question.asks_for("db/1", "stdout")
    assert not question.asks_for("web/7", "stderr")
    assert asked().asks_for("any/0", "output")


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ({"folder": "logs"}, "folder is the path"),
        ({"folder": None}, "folder is the path"),
        ({"follows": True}, "there is no 'follows'"),
        ({"instances": "web/0"}, "instances is a list"),
        ({"instances": ["web"]}, "'web', which is no name"),
        ({"instances": ["../../etc/0"]}, "no name"),
        ({"apps": [1]}, "apps has 1"),
        ({"streams": []}, "streams is a list"),
        ({"streams": ["stdin"]}, "no stream 'stdin'"),
        ({"streams": [["stdout"]]}, "no stream"),
        ({"since": "10m"}, "since is a time"),
        ({"since": True}, "since is a time"),
        ({"until": 1e300}, "until is a time"),
        ({"after": -1}, "after is a number"),
        ({"last": 1.5}, "last is a number"),
        ({"last": 1_000_001}, "last is a number of 0 to 1000000"),
        ({"run": "3"}, "run is a number"),
        ({"is_previous": 1}, "is_previous is true or false"),
        ({"follow": "yes"}, "follow is true or false"),
        ({"grep": ["a"]}, "grep is a regular expression"),
    ],
)
def test_what_is_wrong_is_said(question: dict[str, Any], why: str) -> None:
    with pytest.raises(BadQuestion, match=why):
        asked(**question)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"1", b"[" * 100_000])
def test_what_is_no_question(text: bytes) -> None:
    with pytest.raises(BadQuestion, match="cannot read the question"):
        question_of(text)

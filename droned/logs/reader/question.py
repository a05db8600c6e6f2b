"""What a reader is asked, checked: one JSON object, see `docs/design/logs.rst`."""

import json
import re
from typing import Any, NamedTuple

from droned.logs.format import STREAMS

MOST_LAST = 1_000_000
_INSTANCE = re.compile(r"[a-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_APP = re.compile(r"[a-z0-9][A-Za-z0-9._-]*")


class BadQuestion(Exception):
    """A question that cannot be answered; its text says why."""


class Question(NamedTuple):
    """A checked question; times are microseconds since the epoch."""

    folder: str
    instances: frozenset[str] = frozenset()
    apps: frozenset[str] = frozenset()
    streams: frozenset[str] = frozenset(STREAMS)
    since_us: int | None = None
    until_us: int | None = None
    after: int | None = None
    last: int | None = None
    run: int | None = None
    is_previous: bool = False
    grep: str | None = None
    is_inverted: bool = False
    ignore_case: bool = False
    follow: bool = False

    def asks_for(self, instance: str, stream: str) -> bool:
        """Is this stream one of those that are asked for?"""
        return stream in self.streams and self.asks_about(instance)

    def asks_about(self, instance: str) -> bool:
        """Is this instance one of those that are asked for?"""
        if not self.instances and not self.apps:
            return True
        return instance in self.instances or instance.partition("/")[0] in self.apps


def question_of(text: bytes) -> Question:
    """The question in this JSON text. Raises BadQuestion."""
    try:
        asked = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadQuestion(f"cannot read the question: {error}") from error
    if not isinstance(asked, dict):
        raise BadQuestion("cannot read the question: it is no object")
    known = {
        "folder", "instances", "apps", "streams", "since", "until", "after", "last", "run", "is_previous",
        "grep", "is_inverted", "ignore_case", "follow",
    }  # fmt: skip
    unknown = sorted(set(asked) - known)
    if unknown:
        raise BadQuestion(f"cannot answer: there is no {unknown[0]!r} in a question")
    folder = asked.get("folder")
    if not isinstance(folder, str) or not folder.startswith("/") or "\0" in folder:
        raise BadQuestion(f"cannot answer: folder is the path of the logs, not {folder!r}")
    return Question(
        folder=folder,
        instances=_names(asked, "instances", _INSTANCE),
        apps=_names(asked, "apps", _APP),
        streams=_streams(asked),
        since_us=_time_us(asked, "since"),
        until_us=_time_us(asked, "until"),
        after=_number(asked, "after", 2**63 - 1),
        last=_number(asked, "last", MOST_LAST),
        run=_number(asked, "run", 2**63 - 1),
        is_previous=_fact(asked, "is_previous"),
        grep=_expression(asked),
        is_inverted=_fact(asked, "is_inverted"),
        ignore_case=_fact(asked, "ignore_case"),
        follow=_fact(asked, "follow"),
    )


def _names(asked: dict[str, Any], key: str, pattern: re.Pattern[str]) -> frozenset[str]:
    names = asked.get(key)
    if names is None:
        return frozenset()
    if not isinstance(names, list):
        raise BadQuestion(f"cannot answer: {key} is a list of names, not {names!r}")
    for name in names:
        if not isinstance(name, str) or not pattern.fullmatch(name):
            raise BadQuestion(f"cannot answer: {key} has {name!r}, which is no name")
    return frozenset(names)


def _streams(asked: dict[str, Any]) -> frozenset[str]:
    names = asked.get("streams")
    if names is None:
        return frozenset(STREAMS)
    if not isinstance(names, list) or not names:
        raise BadQuestion(f"cannot answer: streams is a list of {', '.join(STREAMS)}, not {names!r}")
    for name in names:
        if name not in STREAMS:
            raise BadQuestion(f"cannot answer: there is no stream {name!r}, only {', '.join(STREAMS)}")
    return frozenset(names)


def _time_us(asked: dict[str, Any], key: str) -> int | None:
    seconds = asked.get(key)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not abs(seconds) < 1e11:
        raise BadQuestion(f"cannot answer: {key} is a time in seconds since the epoch, not {seconds!r}")
    return round(seconds * 1e6)


def _number(asked: dict[str, Any], key: str, most: int) -> int | None:
    number = asked.get(key)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise BadQuestion(f"cannot answer: {key} is a number of 0 to {most}, not {number!r}")
    return number


def _fact(asked: dict[str, Any], key: str) -> bool:
    value = asked.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadQuestion(f"cannot answer: {key} is true or false, not {value!r}")
    return value


def _expression(asked: dict[str, Any]) -> str | None:
    text = asked.get("grep")
    if text is not None and not isinstance(text, str):
        raise BadQuestion(f"cannot answer: grep is a regular expression, not {text!r}")
    return text

"""Small readers of what sinks are sent, written from the standards and not from our code."""

import json
import re
from typing import Any, NamedTuple

from hypothesis import strategies as st

from droned.protocols.captured import CapturedLine

_MESSAGE = re.compile(
    rb"<(?P<priority>[0-9]{1,3})>1 (?P<at>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) - - "
    rb"\[(?P<id>[!-<>-\\^-~]{1,32})(?P<facts>( [a-z]+=\"([^\"\\\]]|\\.)*\")*)\]( (?P<text>.*))?",
    re.DOTALL,
)
_FACT = re.compile(rb" ([a-z]+)=\"((?:[^\"\\\]]|\\.)*)\"", re.DOTALL)


class Message(NamedTuple):
    """A message of RFC 5424."""

    facility: int
    severity: int
    at: str
    host: str
    app: str
    id: str
    facts: dict[str, str]
    text: bytes


def read_message(content: bytes) -> Message:
    """A message; an AssertionError for what is none."""
    found = _MESSAGE.fullmatch(content)
    assert found is not None, content
    priority = int(found["priority"])
    facts = {
        name.decode(): re.sub(rb"\\([\"\\\]])", rb"\1", value).decode()
        for name, value in _FACT.findall(found["facts"])
    }
    return Message(
        facility=priority // 8,
        severity=priority % 8,
        at=found["at"].decode(),
        host=found["host"].decode(),
        app=found["app"].decode(),
        id=found["id"].decode(),
        facts=facts,
        text=found["text"] or b"",
    )


def read_frames(content: bytes) -> list[bytes]:
    """The whole messages of a stream with counted octets; what is not whole yet is left out."""
    found, at = [], 0
    while (space := content.find(b" ", at)) > 0:
        length = int(content[at:space])
        if space + 1 + length > len(content):
            break
        found.append(content[space + 1 : space + 1 + length])
        at = space + 1 + length
    return found


def read_push(body: bytes) -> list[tuple[dict[str, str], int, str]]:
    """Labels, nanoseconds and text of each line of a push to Loki, in its order."""
    pushed: dict[str, Any] = json.loads(body.decode("utf-8"))
    return [
        (stream["stream"], int(at), text) for stream in pushed["streams"] for at, text in stream["values"]
    ]


any_text = st.one_of(
    st.text(),
    st.binary().map(lambda content: content.decode("utf-8", "surrogateescape")),
).map(lambda text: text.replace("\n", ""))
instances = st.sampled_from(
    ("web/0", "web/1", "a-very-long-name-of-an-app-with-all-its-64-characters-in-it-xyz0/0")
)
lines = st.builds(
    CapturedLine,
    position=st.integers(0, 2**60),
    at=st.sampled_from(
        ("2026-11-27T04:31:02.123456Z", "1999-12-31T23:59:59.999999Z", "2026-01-01T00:00:00Z")
    ),
    instance=instances,
    run=st.one_of(st.none(), st.integers(1, 10**9)),
    stream=st.sampled_from(("stdout", "stderr", "output")),
    text=any_text,
    has_more=st.booleans(),
)

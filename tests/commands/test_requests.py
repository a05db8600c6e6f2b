"""From the bytes of a body to one checked request."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.commands.requests import read_object, read_request, request_digest
from droned.errors import BadRequest

WHOLE = {
    "command": "kill",
    "targets": ["web", "db/0"],
    "all": False,
    "arguments": {"signal": "HUP"},
    "reason": "rotate — now",
}


def body(**members: object) -> bytes:
    return json.dumps({**WHOLE, **members}).encode()


def test_a_whole_request_is_read() -> None:
    request = read_request(body(), "key-1")
    assert request.command == "kill"
    assert request.targets == ("web", "db/0")
    assert request.all_targets is False
    assert request.arguments == {"signal": "HUP"}
    assert request.reason == "rotate — now"
    assert request.idempotency_key == "key-1"


def test_only_the_command_must_be_there() -> None:
    request = read_request(b'{"command": "daemon-reload"}', None)
    assert (request.targets, request.all_targets, request.arguments, request.reason) == ((), False, {}, "")


def test_the_digest_is_of_what_is_asked_and_not_of_how_it_is_written() -> None:
    spread = json.dumps(dict(reversed(WHOLE.items())), indent=3).encode()
    assert read_request(spread, "a").digest == read_request(body(reason="other"), "b").digest
    assert read_request(body(), None).digest != read_request(body(targets=["web"]), None).digest
    assert read_request(body(), None).digest != read_request(body(arguments={"signal": 1}), None).digest
    assert len(request_digest("stop", (), True, {})) == 64


@pytest.mark.parametrize(
    "wrong",
    [
        {"comand": "stop"},
        {"command": None},
        {"command": ["stop"]},
        {"command": "st\nop"},
        {"command": "s" * 65},
        {"targets": "web"},
        {"targets": [1]},
        {"targets": [""]},
        {"targets": ["web\ud800"]},
        {"targets": ["x" * 257]},
        {"targets": ["x"] * 10_001},
        {"all": 1},
        {"all": "true"},
        {"arguments": []},
        {"arguments": None},
        {"reason": 5},
        {"reason": "two\nlines"},
        {"reason": "\ud800"},
        {"reason": "x" * 1001},
        {"reason": "\u2028"},
    ],
)
def test_a_wrong_member_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match=r"^cannot take ") as caught:
        read_request(body(**wrong), None)
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 129, "a\n"])
def test_a_wrong_idempotency_key_is_refused(key: str) -> None:
    with pytest.raises(BadRequest, match="as Idempotency-Key"):
        read_request(body(), key)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"stop"',
        b"{} {}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"b": {"a": 1, "a": 2}}',
        b"{'a': 1}",
        b'{"a": "\xff"}',
        b'\xef\xbb\xbf{"a": 1}',
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
    ],
)
def test_what_is_not_one_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(BadRequest, match=r"^cannot read the body: "):
        read_object(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(text: bytes) -> None:
    with suppress(BadRequest):
        read_request(text, None)


def test_many_members_with_a_doubled_one_at_the_end_are_refused_quickly() -> None:
    members = ",".join(f'"{number}":0' for number in range(60_000))
    with pytest.raises(BadRequest, match="twice"):
        read_object(f'{{{members},"59999":1}}'.encode())

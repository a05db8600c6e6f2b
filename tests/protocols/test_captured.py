"""What a reader prints, in whatever pieces it comes."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.protocols.captured import LONGEST_TOLD, CapturedLine, Pieces, Told, told
from tests.protocols.wire import lines


def printed(line: CapturedLine) -> bytes:
    """A line as the reader prints it."""
    shown: dict[str, Any] = {
        "position": line.position,
        "at": line.at,
        "instance": line.instance,
        "run": line.run,
        "stream": line.stream,
        "line": line.text,
    }
    if line.has_more:
        shown["more"] = True
    return json.dumps(shown).encode("ascii") + b"\n"


@given(st.lists(lines, max_size=10), st.integers(1, 200))
def test_lines_come_back_from_pieces_of_any_size(sent: list[CapturedLine], size: int) -> None:
    content = b"".join(map(printed, sent))
    pieces = Pieces()
    found = [
        told(line) for at in range(0, len(content), size) for line in pieces.take(content[at : at + size])
    ]
    assert found == sent


@pytest.mark.parametrize(
    ("line", "meaning"),
    [
        (b'{"event": "gap", "position": 7}', Told("gap", 7)),
        (b'{"event": "run", "position": 9, "what": "began"}', Told("run", 9)),
        (b'{"event": "end"}', Told("end", None)),
        (b'{"error": "cannot read"}', Told("error", None, "cannot read")),
    ],
)
def test_what_else_it_says(line: bytes, meaning: Told) -> None:
    assert told(line) == meaning


@given(
    st.one_of(
        st.binary(),
        st.sampled_from((b"[]", b"{}", b'{"line": "x"}', b"7", b'{"event": "x", "position": "y"}')),
    )
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="cannot understand"):
        told(line)


def test_a_line_that_never_ends_is_refused() -> None:
    pieces = Pieces()
    pieces.take(b"x" * LONGEST_TOLD)
    with pytest.raises(ValueError, match="cannot read a line"):
        pieces.take(b"x")

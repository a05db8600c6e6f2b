"""Search finds in a whole text what the expression finds in each of its lines, however it goes about it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.logs.reader import search
from droned.logs.reader.question import BadQuestion
from droned.logs.reader.search import Search, may_match_newline, needed_literals

LINE = st.lists(
    st.sampled_from(
        [b"ERROR", b"error", b"WARN", b" ", b"web", b"a", b"b", b"1", b"\r", b"\xff", b"\xc3\xa9"]
    )
).map(b"".join)
PLAIN = ["ERROR", "WARN", "web", "a", "b", " ", "é", r"\.", r"\x61", r"\141", r"\x0a"]
SETS = [".", r"\d", r"\s", r"\w", r"\W", "[ab]", "[^a]", "[]a]"]
PLACES = ["^", "$", r"\b", r"\B", r"\A", r"\Z"]
GROUPS = ["(ERROR|WARN)", "(a|b)", "(web)", "(?:web)", "(?!a)", "(?i:web)", "(a(b|1))"]
ATOM = st.sampled_from([*PLAIN, *SETS, *PLACES, *GROUPS])
QUANTIFIER = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{0,1}", "+?", "*?"])
BRANCH = st.lists(st.tuples(ATOM, QUANTIFIER).map("".join), max_size=4).map("".join)
EXPRESSION = st.lists(BRANCH, min_size=1, max_size=3).map("|".join)


@given(EXPRESSION, st.lists(LINE, max_size=20), st.booleans(), st.booleans(), st.booleans())
def test_lines_are_those_that_match(
    expression: str, lines: list[bytes], is_inverted: bool, ignore_case: bool, is_sparse: bool
) -> None:
    flags = re.IGNORECASE if ignore_case else 0
    try:
        compiled = re.compile(expression.encode(), flags)
    except re.error:
        with pytest.raises(BadQuestion, match="cannot search for"):
            Search(expression)
        return
    wanted = [line for line in lines if (compiled.search(line) is not None) != is_inverted]
    text = b"".join(line + b"\n" for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_SPARSE_BYTES", 0 if is_sparse else 1000)
        patch.setattr(search, "_SAMPLE_BYTES", 10)
        made = Search(expression, is_inverted=is_inverted, ignore_case=ignore_case)
        begun = b"done\n" + text
        assert [begun[begin:end] for begin, end in made.lines(begun, 5, len(begun))] == wanted


@pytest.mark.parametrize(
    ("expression", "needed"),
    [
        ("ERROR", [["ERROR"]]),
        ("ERROR.*status=404", [["status=404"], ["ERROR"]]),
        ("ERROR|FATAL", [["ERROR", "FATAL"]]),
        ("(ERROR|WARN) web", [["ERROR", "WARN"], [" web"]]),
        (r"time\.out+s?", [["time.out"]]),
        ("errors?", [["error"]]),
        ("colou{0,1}r", [["colo"]]),
        ("[xyz]rror", [["rror"]]),
        ('{"level": "error"', [['"level": "error"']]),
        ("(a|)bc", [["bc"]]),
        ("(ab)*", []),
        ("ab|c*", []),
        ("(?i)abc", []),
        (".", []),
    ],
)
def test_texts_that_every_match_has(expression: str, needed: list[list[str]]) -> None:
    assert needed_literals(expression.encode()) == [[text.encode() for text in some] for some in needed]


@pytest.mark.parametrize(
    "expression", [r"a\s", "[^a]", r"\W", r"a\Z", r"\x0a", "(?s).", "a\nb", r"\1", r"\B"]
)
def test_what_may_match_a_newline(expression: str) -> None:
    assert may_match_newline(expression.encode())


@pytest.mark.parametrize("expression", ["ERROR", "^a.*b$", r"\bweb\b", r"\d+ \w", "[a-z]"])
def test_what_may_not(expression: str) -> None:
    assert not may_match_newline(expression.encode())

"""Which lines of a text match: a regular expression on the bytes of each line, at the speed of the whole.

A line is never cut out before there is a reason: where every match needs some literal text, that is looked
for in the whole chunk, and only lines that have it are tried. An expression that cannot match a newline is
looked for in the whole chunk itself. Only what is left is tried line by line.
"""

import re
from collections.abc import Iterator

from droned.logs.reader.question import BadQuestion

_SPECIAL = frozenset(b".^$*+?{}[]\\|()")
_OPTIONAL = frozenset(b"*?{")
_CODE = re.compile(rb"(?<!\\)(?:\\\\)*\\[xuUN0-9]")
"""The beginning of a character given by its code, whose digits stand for no text."""
_WITHIN_A_LINE = frozenset(b"wdSb")
"""Letters after a backslash of which no newline can come."""


class Search:
    """One expression, ready to be looked for. Raises BadQuestion for one that is none."""

    __slots__ = ("_expression", "_ignores_case", "_inverted", "_literals", "_whole")

    def __init__(self, text: str, *, is_inverted: bool = False, ignore_case: bool = False) -> None:
        source = text.encode("utf-8", "surrogateescape")
        flags = re.IGNORECASE if ignore_case else 0
        try:
            self._expression = re.compile(source, flags)
            within_a_line = not may_match_newline(source)
            self._whole = re.compile(source, flags | re.MULTILINE) if within_a_line else None
        except (re.error, OverflowError, RecursionError) as error:
            raise BadQuestion(f"cannot search for {text!r}: {error}") from error
        literals = needed_literals(source)
        self._literals = [literal.lower() for literal in literals] if ignore_case else literals
        self._ignores_case = ignore_case
        self._inverted = is_inverted

    def is_in(self, line: bytes) -> bool:
        """Is this line one to be shown?"""
        return (self._expression.search(line) is not None) != self._inverted

    def lines(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where each line to be shown begins and ends, without its newline.

        `text[start:end]` is whole lines, each with its newline.
        """
        if not self._inverted:
            yield from self._matching(text, start, end)
            return
        at = start
        for begin, stop in self._matching(text, start, end):
            if begin > at:
                yield from every_line(text, at, begin)
            at = stop + 1
        if at < end:
            yield from every_line(text, at, end)

    def _matching(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        if self._literals:
            search = self._expression.search
            for begin, stop in self._with_literals(text, start, end):
                if search(text[begin:stop]):
                    yield begin, stop
        elif self._whole is not None:
            yield from self._hits(self._whole, text, start, end)
        else:
            search = self._expression.search
            for begin, stop in every_line(text, start, end):
                if search(text[begin:stop]):
                    yield begin, stop

    def _hits(self, whole: re.Pattern[bytes], text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        search, at = whole.search, start
        while at < end and (hit := search(text, at, end)):
            stop = text.find(b"\n", hit.start(), end)
            if stop < 0:  # an empty match behind the last newline
                return
            yield text.rfind(b"\n", start, hit.start()) + 1 or start, stop
            at = stop + 1

    def _with_literals(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        sought = text.lower() if self._ignores_case else text
        if len(self._literals) == 1:
            yield from _lines_with(sought, self._literals[0], start, end)
            return
        found = {line for literal in self._literals for line in _lines_with(sought, literal, start, end)}
        yield from sorted(found)


def every_line(text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Where each line of `text[start:end]` begins and ends; each has its newline."""
    find = text.find
    while start < end:
        stop = find(b"\n", start, end)
        yield start, stop
        start = stop + 1


def _lines_with(text: bytes, literal: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    find, rfind, at = text.find, text.rfind, start
    while (hit := find(literal, at, end)) >= 0:
        stop = find(b"\n", hit, end)
        yield rfind(b"\n", start, hit) + 1 or start, stop
        at = stop + 1


def may_match_newline(source: bytes) -> bool:
    """May this expression match a newline, or ask where its text begins and ends?

    Errs on the side of yes: then it is tried line by line.
    """
    if b"[^" in source or b"(?" in source or any(byte < 0x20 for byte in source):
        return True
    at = 0
    while (at := source.find(b"\\", at)) >= 0:
        after = source[at + 1]
        if after not in _WITHIN_A_LINE and (chr(after).isalnum() or after >= 0x80):
            return True
        at += 2
    return False


def needed_literals(source: bytes) -> list[bytes]:
    """Texts of which each match has at least one; empty where none can be told.

    One of each alternative: the longest run of plain characters outside of groups and sets.
    """
    if b"(?" in source or _CODE.search(source):
        return []
    longest: list[bytes] = []
    for runs in _plain_runs(source):
        best = max(runs, key=len, default=b"")
        if len(best) < 2 or b"\n" in best:
            return []
        longest.append(best)
    return longest


def _plain_runs(source: bytes) -> Iterator[list[bytes]]:
    """For each alternative, its runs of plain characters that every match has."""
    runs: list[bytes] = []
    run = bytearray()
    depth, at, length = 0, 0, len(source)
    while at < length:
        byte = source[at]
        plain = -1
        step = 1
        if byte == 0x5C:  # a backslash
            after = source[at + 1]
            plain = -1 if chr(after).isalnum() or after >= 0x80 else after
            step = 2
        elif byte == 0x5B:  # a set
            step = _length_of_set(source, at)
        elif byte == 0x28:
            depth += 1
        elif byte == 0x29:
            depth -= 1
        elif byte == 0x7C and depth == 0:
            runs.append(bytes(run))
            yield runs
            runs, run = [], bytearray()
            at += 1
            continue
        elif byte not in _SPECIAL:
            plain = byte
        at += step
        if plain >= 0 and depth == 0 and not (at < length and source[at] in _OPTIONAL):
            run.append(plain)
            continue
        runs.append(bytes(run))
        run = bytearray()
        if at < length and source[at] == 0x7B:  # the inside of {2,3} is no text
            at = source.find(b"}", at) if b"}" in source[at:] else length
    runs.append(bytes(run))
    yield runs


def _length_of_set(source: bytes, at: int) -> int:
    first = at + 2 if source[at + 1 : at + 2] == b"^" else at + 1
    end = first + 1 if source[first : first + 1] == b"]" else first
    while source[end : end + 1] != b"]":
        end += 2 if source[end : end + 1] == b"\\" else 1
        if end >= len(source):
            return len(source) - at
    return end + 1 - at

"""Which lines of a text match: a regular expression on the bytes of each line, at the speed of the whole.

A line is never cut out before there is a reason: where every match needs some literal text, that is looked
for in the whole chunk, and only lines that have it are tried. An expression that cannot match a newline is
looked for in the whole chunk itself. Only what is left is tried line by line.
"""

import re
from collections.abc import Iterator, Sequence

from droned.logs.reader.question import BadQuestion

_SPECIAL = frozenset(b".^$*+?{}[]\\|()")
_OPTIONAL = frozenset(b"*?{")
_WITHIN_A_LINE = frozenset(b"wdSb")
"""Letters after a backslash of which no newline can come."""
_SAMPLE_BYTES = 64 * 1024
_SPARSE_BYTES = 500
"""Where literals are nearer to each other than this, a look at each line is no slower."""


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
        needed = needed_literals(source)
        self._literals = [[text.lower() for text in some] for some in needed] if ignore_case else needed
        self._ignores_case = ignore_case
        self._inverted = is_inverted

    def is_in(self, line: bytes) -> bool:
        """Is this line one to be shown?"""
        if self._literals:
            sought = line.lower() if self._ignores_case else line
            if not any(literal in sought for literal in self._literals[0]):
                return self._inverted
        return (self._expression.search(line) is not None) != self._inverted

    def lines(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where each line to be shown begins and ends, without its newline.

        `text[start:end]` is whole lines, each with its newline; it begins the text or follows a newline.
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
        sought = text.lower() if self._ignores_case and self._literals else text
        sample = min(end, start + _SAMPLE_BYTES)
        if len(self._literals) > 1 and sample < end:
            self._literals = [min(self._literals, key=lambda some: _count(sought, some, start, sample))]
        literals = self._literals[0] if self._literals else ()
        if literals and _count(sought, literals, start, sample) * _SPARSE_BYTES < sample - start:
            search = self._expression.search
            for begin, stop in self._with_literals(sought, literals, start, end):
                if search(text[begin:stop]):
                    yield begin, stop
        elif self._whole is not None:
            yield from self._hits(self._whole, text, start, end)
        else:
            yield from self._one_by_one(text, start, end)

    def _one_by_one(self, text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        search = self._expression.search
        for line in text[start:end].split(b"\n")[:-1]:
            if search(line):
                yield start, start + len(line)
            start += len(line) + 1

    def _hits(self, whole: re.Pattern[bytes], text: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
        search, at = whole.search, start
        while at < end and (hit := search(text, at, end)):
            stop = text.find(b"\n", hit.start(), end)
            if stop < 0:  # an empty match behind the last newline
                return
            yield text.rfind(b"\n", start, hit.start()) + 1 or start, stop
            at = stop + 1

    def _with_literals(
        self, sought: bytes, literals: Sequence[bytes], start: int, end: int
    ) -> Iterator[tuple[int, int]]:
        if len(literals) == 1:
            yield from _lines_with(sought, literals[0], start, end)
            return
        found = {line for literal in literals for line in _lines_with(sought, literal, start, end)}
        yield from sorted(found)


def _count(text: bytes, literals: Sequence[bytes], start: int, end: int) -> int:
    return sum(text.count(literal, start, end) for literal in literals)


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


def needed_literals(source: bytes) -> list[list[bytes]]:
    """Sets of texts: each match has at least one text of every set. Best first; none where none can be told.

    A set is one run of plain characters that stands outside of groups, or the alternatives of a group or of
    the whole, where each has such a run.
    """
    if b"(?" in source:
        return []
    alternatives = list(_alternatives(source))
    if len(alternatives) > 1:
        longest = [max(runs, key=_worth, default=[b""]) for runs in alternatives]
        found = [[text for some in longest for text in some]]
    else:
        found = sorted(alternatives[0], key=_worth, reverse=True)
    return [some for some in found if _worth(some) >= 2]


def _worth(texts: list[bytes]) -> int:
    """The length of the shortest; 0 where one can be of two lines."""
    return 0 if any(b"\n" in text for text in texts) else min(map(len, texts))


def _alternatives(source: bytes) -> Iterator[list[list[bytes]]]:
    """For each alternative, the sets of texts of which every match has one."""
    sets: list[list[bytes]] = []
    run = bytearray()
    at, length = 0, len(source)
    while at < length:
        byte, plain, step, group = source[at], -1, 1, None
        if byte == 0x5C:  # a backslash
            after = source[at + 1]
            plain = -1 if chr(after).isalnum() or after >= 0x80 else after
            step = _length_of_escape(source, at)
        elif byte == 0x5B:
            step = _length_of_set(source, at)
        elif byte == 0x28:
            step = _length_of_group(source, at)
            group = source[at + 1 : at + step - 1]
        elif byte == 0x7C:
            yield [*sets, [bytes(run)]]
            sets, run = [], bytearray()
            at += 1
            continue
        elif byte not in _SPECIAL:
            plain = byte
        at += step
        is_needed = not (at < length and source[at] in _OPTIONAL)
        if plain >= 0 and is_needed:
            run.append(plain)
            continue
        sets.append([bytes(run)])
        run = bytearray()
        if group is not None and is_needed and not _SPECIAL.intersection(group) - {0x7C}:
            sets.append(group.split(b"|"))
        if at < length and source[at] == 0x7B:  # the inside of {2,3} is no text
            at = source.find(b"}", at) if b"}" in source[at:] else length
    yield [*sets, [bytes(run)]]


def _length_of_group(source: bytes, at: int) -> int:
    depth, place = 0, at
    while place < len(source):
        byte = source[place]
        if byte == 0x5C:
            place += 2
            continue
        if byte == 0x5B:
            place += _length_of_set(source, place)
            continue
        depth += (byte == 0x28) - (byte == 0x29)
        place += 1
        if depth == 0:
            break
    return place - at


def _length_of_escape(source: bytes, at: int) -> int:
    if source[at + 1] == 0x78:  # \\xff
        return 4
    digits = 0
    while digits < 3 and source[at + 1 + digits : at + 2 + digits].isdigit():
        digits += 1
    return 1 + max(1, digits)


def _length_of_set(source: bytes, at: int) -> int:
    first = at + 2 if source[at + 1 : at + 2] == b"^" else at + 1
    end = first + 1 if source[first : first + 1] == b"]" else first
    while source[end : end + 1] != b"]":
        end += 2 if source[end : end + 1] == b"\\" else 1
        if end >= len(source):
            return len(source) - at
    return end + 1 - at

"""A configuration's text as nodes that still know where they stand, and the list of what is wrong.

Nodes are what `loader` makes and `kinds` reads. They are named tuples, not
dataclasses: a configuration of 2,000 apps has 50,000 of them, and a named
tuple costs a third.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

MOST_PROBLEMS = 200
"""Problems that are told; a file with more has been told enough."""

LONGEST_SHOWN = 60
"""Characters of a wrong value that its problem shows."""


class Origin(NamedTuple):
    """Where a value stands; origins sort by layer, line and column."""

    layer: int
    line: int
    """From 1; 0 for what has no lines, such as `--set`."""
    column: int
    """From 1, counted in characters."""
    source: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


class Scalar(NamedTuple):
    """One text; what it means (a number, a word) is decided by the key that it is given for."""

    origin: Origin
    text: str
    quoted: bool


class Sequence(NamedTuple):
    """A list of nodes."""

    origin: Origin
    items: tuple[Node, ...]


class Mapping(NamedTuple):
    """Keys and their nodes in the order of the file; no key is there twice."""

    origin: Origin
    pairs: tuple[tuple[Scalar, Node], ...]


class Broken(NamedTuple):
    """Stands where something was refused already, so that nothing further is said about it."""

    origin: Origin


Node = Scalar | Sequence | Mapping | Broken


class Problems:
    """Everything that is wrong with a configuration, collected until all of it is read."""

    def __init__(self) -> None:
        self._found: set[tuple[Origin, str]] = set()
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def is_full(self) -> bool:
        """Whether a further problem would only be counted: then nothing costly is done for its text."""
        return len(self._found) >= MOST_PROBLEMS

    def add(self, origin: Origin, text: str) -> None:
        """Note a problem; the same one at the same place counts once."""
        if self.is_full:
            self._more += 1
        else:
            self._found.add((origin, text))

    def lines(self) -> tuple[str, ...]:
        """`file:line:column: text` for each, in the order of layers and lines."""
        lines = [printable(f"{origin}: {text}") for origin, text in sorted(self._found)]
        if self._more:
            lines.append(f"and {self._more} more")
        return tuple(lines)


def shown(value: Node | str) -> str:
    """A value as a problem shows it: as it is written, shortened."""
    match value:
        case str():
            return f'"{shortened(value)}"'
        case Scalar(text="", quoted=False):
            return "nothing"
        case Scalar(text=text, quoted=True):
            return f'"{shortened(text)}"'
        case Scalar(text=text):
            return shortened(text)
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"
        case Broken():
            return "this"


def near(word: str, known: Iterable[str]) -> str:
    """` (did you mean "x"?)` for the known word that is most like `word`, or nothing."""
    if len(word) > 64:
        return ""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return f' (did you mean "{by_lower[found[0]]}"?)' if found else ""


def printable(text: str) -> str:
    """The text on one line, with an escape for each character that a terminal would act upon or not show."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode-escape").decode() for one in text)


def shortened(text: str) -> str:
    """The text, or the beginning of it when it is long."""
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"

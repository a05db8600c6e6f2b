"""Strict YAML: bytes in, nodes with their places out; the one module that knows the YAML library.

What YAML would guess is not guessed: a scalar stays the text that was written
(`010`, `1.10`, `12:30:45`, `no`) and the key that it is given for says what it
may be. What YAML lets pass and people regret is refused: keys that are there
twice, aliases and merge keys, tags, a second document.

Only the library's event stream is used, never its composer or constructor:
nothing is built that the limits below have not let through, so neither a bomb
of aliases nor 20,000 brackets cost anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

import yaml

from droned.config.nodes import Broken, Mapping, Node, Origin, Problems, Scalar, Sequence, shown

MOST_BYTES = 1024 * 1024
DEEPEST = 32
MOST_NODES = 100_000

SHARED = "what apps share goes under defaults:"

# Marks are on each event; the C parser gives the same ones some twenty times faster.
PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What YAML lets stand in a file (YAML 1.1 §5.1); the byte order mark is allowed at the start only.
FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class Mark(Protocol):
    """A place as the library's two parsers give it: line and column, both from 0."""

    line: int
    column: int


class Unreadable(Exception):
    """A text of which nothing more can be read."""

    def __init__(self, origin: Origin, text: str) -> None:
        super().__init__(text)
        self.origin = origin
        self.text = text


def read_yaml(source: str, content: bytes, layer: int, problems: Problems) -> Node | None:
    """The one document of a file, or None when it is empty.

    `source` is the file's name as problems show it and `layer` its place among
    the layers. All that is wrong goes to `problems` and leaves a `Broken` in
    its place: the whole file, when its syntax cannot be followed.
    """
    try:
        return _Reader(source, layer, problems).read(_decoded(source, content, layer))
    except Unreadable as fault:
        problems.add(fault.origin, fault.text)
        return Broken(fault.origin)


def read_value(text: str, origin: Origin, problems: Problems) -> Node:
    """The value of one setting from the command line, every part of it at `origin`."""
    if len(text) > MOST_BYTES or FORBIDDEN.search(text):
        problems.add(origin, "cannot read the value: it is too long or has characters that YAML forbids")
        return Broken(origin)
    try:
        node = _Reader(origin.source, origin.layer, problems, everywhere=origin).read(text)
    except Unreadable as fault:
        problems.add(origin, fault.text)
        return Broken(origin)
    return Scalar(origin, "", False) if node is None else node


def _decoded(source: str, content: bytes, layer: int) -> str:
    if len(content) > MOST_BYTES:
        raise Unreadable(
            Origin(layer, 1, 1, source),
            f"cannot read {len(content)} bytes of configuration: a file has {MOST_BYTES} at most",
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        before = content[: fault.start].decode("utf-8-sig")
        raise Unreadable(
            _place(source, layer, before),
            f"cannot read the byte 0x{content[fault.start]:02x}: it is not UTF-8",
        ) from None
    if forbidden := FORBIDDEN.search(text):
        before = text[: forbidden.start()]
        raise Unreadable(
            _place(source, layer, before),
            f"cannot read the character U+{ord(forbidden[0]):04X}: YAML forbids it, even in a comment",
        )
    return text


def _place(source: str, layer: int, before: str) -> Origin:
    """Where the text `before` ends."""
    return Origin(layer, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1, source)


class _Reader:
    """Reads one document from the events of the library's parser."""

    def __init__(self, source: str, layer: int, problems: Problems, everywhere: Origin | None = None) -> None:
        self._source = source
        self._layer = layer
        self._problems = problems
        self._everywhere = everywhere
        self._nodes = 0
        self._first_shared: tuple[Origin, str] | None = None
        self._shared = 0
        self._next: Callable[[], yaml.Event]

    def read(self, text: str) -> Node | None:
        """The one document of `text`; None when there is none. Raises Unreadable."""
        parser = PARSER(text)
        self._next = parser.get_event
        try:
            return self._document()
        except yaml.MarkedYAMLError as fault:
            place = self._marked(fault.problem_mark or fault.context_mark)
            raise Unreadable(place, f"cannot read this as YAML: {_said(fault)}") from None
        except yaml.YAMLError as fault:
            raise Unreadable(self._marked(None), f"cannot read this as YAML: {fault}") from None
        finally:
            parser.dispose()
            self._refuse_sharing()

    def _document(self) -> Node | None:
        self._next()  # the start of the stream
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        node = self._node(self._next(), 1)
        self._next()  # the end of the document
        if not isinstance(after := self._next(), yaml.StreamEndEvent):
            raise Unreadable(self._marked(after.start_mark), "cannot read a second document: a file has one")
        return node

    def _node(self, event: yaml.Event, depth: int) -> Node:
        """The node that begins with `event`; takes all its events."""
        origin = self._marked(event.start_mark)
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise Unreadable(origin, f"cannot read more than {MOST_NODES} values in one file")
        if isinstance(event, yaml.ScalarEvent):
            scalar = Scalar(origin, event.value, event.style not in ("", None))
            return self._plain(scalar, event.anchor, event.tag)
        if isinstance(event, yaml.AliasEvent):
            return self._share(origin, f"alias *{event.anchor}")
        if depth > DEEPEST:
            raise Unreadable(origin, f"cannot read more than {DEEPEST} levels of lists and mappings")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._plain(self._sequence(origin, depth), event.anchor, event.tag)
        assert isinstance(event, yaml.MappingStartEvent)  # the parser's grammar has nothing else here
        return self._plain(self._mapping(origin, depth), event.anchor, event.tag)

    def _plain(self, node: Node, anchor: str | None, tag: str | None) -> Node:
        """The node, if it has neither anchor nor tag."""
        if anchor is not None:
            return self._share(node.origin, f"anchor &{anchor}")
        if tag is not None:
            self._problems.add(node.origin, f"cannot use the tag {shown(tag)}: droned knows none")
            return Broken(node.origin)
        return node

    def _share(self, origin: Origin, what: str) -> Broken:
        """Count an anchor, an alias or a merge key: told once, so that a bomb hides nothing else."""
        self._shared += 1
        self._first_shared = min(self._first_shared or (origin, what), (origin, what))
        return Broken(origin)

    def _refuse_sharing(self) -> None:
        if self._first_shared is not None:
            origin, what = self._first_shared
            more = f" (and {self._shared - 1} more of them)" if self._shared > 1 else ""
            self._problems.add(origin, f"cannot use the {what}: {SHARED}{more}")

    def _sequence(self, origin: Origin, depth: int) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return Sequence(origin, tuple(items))

    def _mapping(self, origin: Origin, depth: int) -> Mapping:
        pairs: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(self._next(), depth + 1)
            if not isinstance(key, Scalar):
                if not isinstance(key, Broken):
                    self._problems.add(key.origin, f"cannot use {shown(key)} as a key")
            elif key.text == "<<" and not key.quoted:
                self._share(key.origin, "merge key <<")
            elif key.text in pairs:
                first = pairs[key.text][0].origin
                self._problems.add(
                    key.origin, f"cannot have the key {shown(key.text)} twice: it is at {first} as well"
                )
            else:
                pairs[key.text] = (key, value)
        return Mapping(origin, tuple(pairs.values()))

    def _marked(self, mark: Mark | None) -> Origin:
        if self._everywhere is not None:
            return self._everywhere
        if mark is None:
            return Origin(self._layer, 1, 1, self._source)
        return Origin(self._layer, mark.line + 1, mark.column + 1, self._source)


def _said(fault: yaml.MarkedYAMLError) -> str:
    """What the library says is wrong, on one line, without its places."""
    return ", ".join(part for part in (fault.problem, fault.context) if part).replace("\n", " ")

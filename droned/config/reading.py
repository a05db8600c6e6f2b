"""One reading of a configuration: texts with their variables put in, and problems noted on the way."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as Dictionary
from typing import Any, NamedTuple

from droned.config.nodes import Broken, Node, Origin, Problems, Scalar, Sequence, shown
from droned.models.variables import LONGEST_TEXT, expand, is_instance_bound, put_in

# Words that one YAML reader takes for text and another for something else.
UNCLEAR = frozenset(("yes", "no", "on", "off", "true", "false", "null", "~", ""))
# Text that no argument, variable or path can hold: NUL, and surrogates that stand for no byte.
UNUSABLE = re.compile("[\0\ud800-\udc7f\udd00-\udfff]")


class Refused(Exception):
    """A value cannot be had, and why has been noted already."""


class Setting(NamedTuple):
    """One value and where it was written."""

    value: Any
    origin: Origin


class Reading:
    """One reading of a configuration: the variables it may use and the problems it finds."""

    def __init__(self, environ: Dictionary[str, str], problems: Problems) -> None:
        self._environ = environ
        self._problems = problems

    @property
    def problems(self) -> Problems:
        """Everything wrong so far."""
        return self._problems

    def attempt(self, read: Reader, node: Node, path: str) -> Setting | None:
        """What `read` makes of `node`, given for the key `path`; None when the problem has been noted."""
        try:
            return Setting(read(node, self, path), node.origin)
        except ValueError as reason:
            self._problems.add(node.origin, f"cannot use {shown(node)} for {path}: {reason}")
        except Refused:
            pass
        return None

    def template(self, node: Node) -> str:
        """The text of a scalar in which the names of the instance may still stand."""
        scalar = _scalar(node)
        if not scalar.quoted and scalar.text.lower() in UNCLEAR:
            raise ValueError(
                f'it is a text, and YAML may take this for something else: write "{scalar.text}" in quotes'
            )
        return self.expanded(scalar.text)

    def expanded(self, text: str) -> str:
        """The template of a text, as long and made of such characters as a process can be given."""
        text = expand(text, self._environ)
        if UNUSABLE.search(text):
            raise ValueError("it has a character that no process can be given")
        if len(text) * 4 > LONGEST_TEXT and len(text.encode("utf-8", "surrogateescape")) > LONGEST_TEXT:
            raise ValueError(f"it is longer than {LONGEST_TEXT} bytes")
        return text

    def text(self, node: Node) -> str:
        """The final text of a scalar."""
        return _final(self.template(node))

    def word(self, node: Node) -> str:
        """The final text of a scalar that has its own grammar, so that quotes make no difference."""
        return _final(self.expanded(_scalar(node).text))

    def bare(self, node: Node) -> str:
        """The final text of a scalar that is a number or a boolean: quoted only where it has a variable."""
        scalar = _scalar(node)
        if scalar.quoted and "${" not in scalar.text:
            raise ValueError("it is written without quotes")
        return _final(self.expanded(scalar.text))

    def each(self, read: Reader, node: Node, path: str) -> tuple[Any, ...]:
        """What `read` makes of each item of a list; notes the problem of every item that is wrong."""
        if not isinstance(node, Sequence):
            raise wrong_shape(node, "it is a list")
        found = [self.attempt(read, item, path) for item in node.items]
        settled = tuple(setting.value for setting in found if setting is not None)
        if len(settled) < len(found):
            raise Refused
        return settled


Reader = Callable[[Node, Reading, str], Any]


def wrong_shape(node: Node, reason: str) -> Exception:
    """What to raise for a node of another shape than was asked for: nothing new about a broken one."""
    return Refused() if isinstance(node, Broken) else ValueError(reason)


def _scalar(node: Node) -> Scalar:
    if isinstance(node, Scalar):
        return node
    raise wrong_shape(node, "it is one value")


def _final(template: str) -> str:
    if "$" not in template:
        return template
    if is_instance_bound(template):
        raise ValueError(
            "only command, directory, env, user, group and groups can differ from instance to instance"
        )
    return put_in(template, {})

"""What kinds of value a key can have, and how each is read from a node.

A kind's `read` gives the value, raises ValueError with the reason why the
node cannot be it, or raises `Refused` when everything wrong has been noted
already. Variables are put in here, before the text is understood, so that
`instances: ${COUNT}` is a number; `droned.models.variables` has their rules.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from msgspec import Struct

from droned.config import values
from droned.config.nodes import Mapping, Node, Scalar, Sequence, near, shown
from droned.config.reading import UNCLEAR, Reader, Reading, Setting, wrong_shape
from droned.models.daemon_log import SERVICES, Level
from droned.models.places import LONGEST_SOCKET_PATH
from droned.models.policy import ResourceLimit, RestartLimit
from droned.models.variables import REFERENCE

MOST_INSTANCES = 10_000
FORMAT = "1"
"""The version of the format that is read."""

HIGHEST_ID = 4_294_967_294
"""The highest user or group number; the next one, -1, means "no change" to the kernel."""

OWN_VARIABLES = ("DRONED_APP", "DRONED_INSTANCE", "DRONED_LABEL", "DRONED_SERVER", "DRONED_RUN")
"""Variables that every app gets from droned and none can set."""

HELD = re.compile("\0([0-9]+)\0")


class Kind(Struct, frozen=True, kw_only=True):
    """One kind of value: its name as the documentation says it, and how it is read."""

    name: str
    read: Reader


def of_words(words: type[enum.StrEnum]) -> Kind:
    """One of the words of `words`."""

    def read(node: Node, reading: Reading, path: str) -> enum.StrEnum:
        text = reading.word(node)
        try:
            return words(text)
        except ValueError:
            raise ValueError(f"it is one of {', '.join(words)}{near(text, words)}") from None

    return Kind(name=" | ".join(words), read=read)


def of_whole(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""
    return Kind(
        name=f"whole number {low}…{high}",
        read=lambda node, reading, path: values.whole(reading.bare(node), low, high),
    )


def of_share(low: float, high: float) -> Kind:
    """A decimal number from `low` to `high`."""
    return Kind(
        name=f"number {low:g}…{high:g}",
        read=lambda node, reading, path: values.share(reading.bare(node), low, high),
    )


def _version(node: Node, reading: Reading, path: str) -> int:
    if reading.bare(node) != FORMAT:
        raise ValueError(f"this release reads version {FORMAT}")
    return int(FORMAT)


def _duration(node: Node, reading: Reading, path: str) -> float:
    return values.duration(reading.word(node))


def _positive_duration(node: Node, reading: Reading, path: str) -> float:
    found = values.duration(reading.word(node))
    if not found:
        raise ValueError("it is longer than 0s")
    return found


def _positive_duration_or_never(node: Node, reading: Reading, path: str) -> float | None:
    return None if reading.word(node) == "never" else _positive_duration(node, reading, path)


def _duration_or_never(node: Node, reading: Reading, path: str) -> float | None:
    text = reading.word(node)
    return None if text == "never" else values.duration(text)


def of_size(least: int, or_word: str = "") -> Kind:
    """A size of at least so many bytes; `or_word` can stand for none, which is None."""

    def read(node: Node, reading: Reading, path: str) -> int | None:
        text = reading.word(node)
        if or_word and text == or_word:
            return None
        found = values.size(text)
        if found < least:
            raise ValueError(f"it is at least {values.size_text(least)}")
        return found

    return Kind(name=" | ".join(filter(None, (f"size from {values.size_text(least)}", or_word))), read=read)


def _limit_or_never(node: Node, reading: Reading, path: str) -> RestartLimit | None:
    text = reading.word(node)
    if text == "never":
        return None
    count, within_s = values.count_in(text)
    return RestartLimit(count=count, within_s=within_s)


def _boolean(node: Node, reading: Reading, path: str) -> bool:
    return values.boolean(reading.bare(node))


def _umask(node: Node, reading: Reading, path: str) -> int:
    return values.umask(reading.word(node))


def _signal(node: Node, reading: Reading, path: str) -> int:
    return values.signal_number(reading.word(node))


def _exit_codes(node: Node, reading: Reading, path: str) -> tuple[int, ...]:
    codes = reading.each(lambda item, inner, _: values.whole(inner.bare(item), 0, 255), node, path)
    return tuple(dict.fromkeys(codes))


def _command(node: Node, reading: Reading, path: str) -> tuple[str, ...]:
    if isinstance(node, Sequence):
        command = reading.each(lambda item, inner, _: inner.template(item), node, path)
    elif isinstance(node, Scalar) and (node.quoted or node.text.lower() not in UNCLEAR):
        command = _split(node.text, reading)
    else:
        command = (reading.template(node),)
    if not command or not command[0]:
        raise ValueError("it is a program and its arguments, as a list or as one text")
    return command


def _split(text: str, reading: Reading) -> tuple[str, ...]:
    """The words of a command, split before variables are put in: a value never becomes two words."""
    if "\0" in text:
        raise ValueError("it has a character that no process can be given")
    references: list[str] = []

    def hold(match: re.Match[str]) -> str:
        references.append("$$" if match[0] == "$" else match[0])
        return f"\0{len(references) - 1}\0"

    words = values.words(REFERENCE.sub(hold, text))
    return tuple(reading.expanded(HELD.sub(lambda match: references[int(match[1])], word)) for word in words)


def _folder(node: Node, reading: Reading, path: str) -> str:
    text = reading.template(node)
    if not text.startswith("/"):
        raise ValueError("it is a path from the root, as in /srv/web")
    return text


def _socket(node: Node, reading: Reading, path: str) -> str:
    text = reading.text(node)
    if not text.startswith("/") or text.endswith("/"):
        raise ValueError("it is a path from the root, as in /run/droned/droned.sock")
    if (length := len(text.encode("utf-8", "surrogateescape"))) > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"its {length} bytes are more than the {LONGEST_SOCKET_PATH} that a socket's path can have"
        )
    return text


def _identity(node: Node, reading: Reading, path: str) -> str | int:
    text = reading.template(node)
    if isinstance(node, Scalar) and (not node.quoted or "${" in node.text) and values.WHOLE.fullmatch(text):
        return values.whole(text, 0, HIGHEST_ID)
    if not text or re.search(r"[:/\s]", text):
        raise ValueError("it is a name or a number")
    return text


def _identities(node: Node, reading: Reading, path: str) -> tuple[str | int, ...]:
    return reading.each(_identity, node, path)


def _instances(node: Node, reading: Reading, path: str) -> tuple[str, ...]:
    if not isinstance(node, Sequence):
        return _numbered(values.whole(reading.bare(node), 0, MOST_INSTANCES))
    labels = reading.each(lambda item, inner, _: values.name(inner.text(item)), node, path)
    if len(labels) > MOST_INSTANCES:
        raise ValueError(f"{len(labels)} instances are more than {MOST_INSTANCES}")
    twice = [label for label, count in Counter(labels).items() if count > 1]
    if twice:
        raise ValueError(f"the label {shown(twice[0])} is there twice")
    return labels


@lru_cache(maxsize=16)
def _numbered(count: int) -> tuple[str, ...]:
    """The labels 0, 1, 2 …; shared, because many apps have as many instances."""
    return tuple(map(str, range(count)))


def _environment(node: Node, reading: Reading, path: str) -> dict[str, Setting]:
    return named(node, reading, path, _variable_name, _variable)


def _variable_name(name: str) -> None:
    values.variable_name(name)
    if name in OWN_VARIABLES:
        raise ValueError("droned sets it itself")


def _variable(name: str, node: Node, reading: Reading, path: str) -> str:
    if isinstance(node, Mapping) and any(key.text == "secret" for key, _ in node.pairs):
        raise ValueError("secret comes later, this release does not have it")
    return reading.template(node)


def _service_levels(node: Node, reading: Reading, path: str) -> dict[str, Setting]:
    return named(node, reading, path, _service_name, _service_level)


def _service_name(name: str) -> None:
    if name not in SERVICES:
        raise ValueError(f"the services are {', '.join(SERVICES)}{near(name, SERVICES)}")


def _service_level(name: str, node: Node, reading: Reading, path: str) -> Any:
    return LEVEL.read(node, reading, path)


def _limits(node: Node, reading: Reading, path: str) -> dict[str, Setting]:
    return named(node, reading, path, _limit_name, _limit)


def _limit_name(name: str) -> None:
    if name not in values.LIMIT_NAMES:
        raise ValueError(f"the limits are {', '.join(values.LIMIT_NAMES)}{near(name, values.LIMIT_NAMES)}")


def _limit(name: str, node: Node, reading: Reading, path: str) -> ResourceLimit:
    if isinstance(node, Sequence):
        bounds = reading.each(_limit_value, node, path)
        if len(bounds) != 2:
            raise ValueError("it is one value, or [soft, hard]")
        soft, hard = bounds
    else:
        soft = hard = _limit_value(node, reading, path)
    if hard is not None and (soft is None or soft > hard):
        raise ValueError("its soft bound is above its hard one")
    return ResourceLimit(name=name, soft=soft, hard=hard)


def _limit_value(node: Node, reading: Reading, path: str) -> int | None:
    return values.limit_value(reading.word(node))


def named(
    node: Node,
    reading: Reading,
    path: str,
    check: Callable[[str], None],
    read: Callable[[str, Node, Reading, str], Any],
) -> dict[str, Setting]:
    """What `read` makes of each pair of a mapping whose keys are names that `check` lets through."""
    if not isinstance(node, Mapping):
        raise wrong_shape(node, "it is a mapping")
    found: dict[str, Setting] = {}
    for key, value in node.pairs:
        try:
            check(key.text)
        except ValueError as reason:
            reading.problems.add(key.origin, f"cannot use {shown(key.text)} as a name in {path}: {reason}")
            continue
        setting = reading.attempt(partial(read, key.text), value, f"{path}.{key.text}")
        if setting is not None:
            found[key.text] = setting
    return found


LEVEL = of_words(Level)
VERSION = Kind(name="1", read=_version)
DURATION = Kind(name="duration", read=_duration)
POSITIVE_DURATION = Kind(name="duration over 0s", read=_positive_duration)
POSITIVE_DURATION_OR_NEVER = Kind(name="duration over 0s | never", read=_positive_duration_or_never)
DURATION_OR_NEVER = Kind(name="duration | never", read=_duration_or_never)
LIMIT_OR_NEVER = Kind(name="number in duration | never", read=_limit_or_never)
BOOLEAN = Kind(name="true | false", read=_boolean)
UMASK = Kind(name="octal mode", read=_umask)
SIGNAL = Kind(name="signal", read=_signal)
EXIT_CODES = Kind(name="list of whole numbers 0…255", read=_exit_codes)
COMMAND = Kind(name="list of texts, or one text", read=_command)
FOLDER = Kind(name="path from the root", read=_folder)
SOCKET = Kind(name="path from the root", read=_socket)
IDENTITY = Kind(name="name or number", read=_identity)
IDENTITIES = Kind(name="list of names or numbers", read=_identities)
INSTANCES = Kind(name="whole number 0…10000, or list of labels", read=_instances)
ENVIRONMENT = Kind(name="mapping of names to texts", read=_environment)
LIMITS = Kind(name="mapping of limits to a bound or [soft, hard]", read=_limits)
SERVICE_LEVELS = Kind(name="mapping of services to a level", read=_service_levels)

"""The types that a command's arguments can have, and the check of one value.

Rules of this module: a value is either exactly of its type and within its
bounds, or the request is refused whole with a message that carries the value.
A boolean is never a number. Values come from JSON (`check_value`) or as text
from a query or a command line (`check_text`); both give the same value.
"""

from __future__ import annotations

import enum
import math
import re
import signal
from collections.abc import Callable, Mapping
from types import MappingProxyType

from msgspec import Struct

from droned.commands.moments import WANTED, When, read_when
from droned.errors import BadRequest

MOST_TEXT = 1_000
MOST_COUNT = 1_000_000
MOST_SECONDS = 86_400.0
MOST_NAMES = 10_000
WHOLE_VERSION = 2**62
"""Index of a position that means "after everything of that version"."""

SIGNAL_TO = ("main", "group", "tree")
"""Whom a signal reaches: the values of `models.policy.SignalTo`, which dronectl need not import."""

Position = tuple[int, int]
"""A version and the index of one of its events: the place behind that event."""

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NOT_PLAIN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
_POSITION = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?", re.ASCII)


class ArgumentType(enum.StrEnum):
    """What an argument's value is."""

    TEXT = "text"
    """One line of text, at most 1,000 characters; with `choices`, one of them."""
    TEXTS = "texts"
    """A list of such texts; in a query the parameter comes once for each."""
    COUNT = "count"
    """A whole number from 0 to 1,000,000."""
    SECONDS = "seconds"
    """A number of seconds from 0 to 86,400."""
    FLAG = "flag"
    """true or false."""
    SIGNAL = "signal"
    """A signal by name (TERM, SIGTERM) or number; the value is the number."""
    COUNTS = "counts"
    """A mapping of app to its number of instances; in a query `app=count`."""
    MOMENT = "moment"
    """A moment as `commands.moments` reads it; the value is its `When`."""
    PATTERN = "pattern"
    """A regular expression of at most 1,000 characters on one line; the value is its text."""
    POSITION = "position"
    """VERSION or VERSION.INDEX; the value is the pair, a bare version stands behind all of its events."""


class Argument(Struct, frozen=True, kw_only=True):
    """One argument of a command."""

    name: str
    type: ArgumentType
    help: str
    required: bool = False
    default: object = None
    """The value when it is not given; None is also what `not given` means where there is no default."""
    choices: tuple[str, ...] = ()
    most: float | None = None
    """The greatest number allowed, where it is less than the type's."""


def check_value(argument: Argument, value: object) -> object:
    """The value of `argument` as its command takes it; BadRequest when it is not of the type."""
    return _CHECKS[argument.type](argument, value)


def check_text(argument: Argument, texts: list[str]) -> object:
    """The same for the texts that a query gave under the argument's name, at least one."""
    if argument.type is ArgumentType.TEXTS:
        return check_value(argument, texts)
    if argument.type is ArgumentType.COUNTS:
        pairs = [text.partition("=") for text in texts]
        return check_value(argument, {app: _number(argument, count) for app, _, count in pairs})
    if len(texts) > 1:
        raise BadRequest(f"cannot take {argument.name} {len(texts)} times", argument=argument.name)
    text = texts[0]
    match argument.type:
        case ArgumentType.COUNT:
            return check_value(argument, _number(argument, text))
        case ArgumentType.SECONDS:
            try:
                return check_value(argument, float(text))
            except ValueError:
                raise _wrong(argument, text, "a number of seconds") from None
        case ArgumentType.FLAG:
            if text not in _FLAGS:
                raise _wrong(argument, text, "true or false")
            return _FLAGS[text]
        case _:
            return check_value(argument, text)


def is_plain_text(text: str, most: int = MOST_TEXT) -> bool:
    """Whether this is one line that any file, terminal or journal can hold: no control, no lone surrogate."""
    return len(text) <= most and _NOT_PLAIN.search(text) is None


def read_position(text: str) -> Position | None:
    """The place that `VERSION` or `VERSION.INDEX` names; None when it is neither."""
    found = _POSITION.fullmatch(text)
    if found is None:
        return None
    version, index = found.groups()
    return int(version), WHOLE_VERSION if index is None else int(index)


def position_text(position: Position) -> str:
    """The other way round."""
    version, index = position
    return str(version) if index >= WHOLE_VERSION else f"{version}.{index}"


def shown(value: object, most: int = 60) -> str:
    """The value as a message quotes it: escaped and cut."""
    text = ascii(value)
    return text if len(text) <= most else text[: most - 1] + "…"


_FLAGS: Mapping[str, bool] = MappingProxyType({"true": True, "1": True, "false": False, "0": False})


def _wrong(argument: Argument, value: object, wanted: str) -> BadRequest:
    return BadRequest(
        f"cannot take {shown(value)} as {argument.name}: it must be {wanted}", argument=argument.name
    )


def _number(argument: Argument, text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII):
        raise _wrong(argument, text, "a whole number")
    return int(text)


def _text(argument: Argument, value: object) -> str:
    if not isinstance(value, str) or not is_plain_text(value):
        raise _wrong(argument, value, f"one line of at most {MOST_TEXT} characters")
    if argument.choices and value not in argument.choices:
        raise _wrong(argument, value, "one of " + ", ".join(argument.choices))
    return value


def _texts(argument: Argument, value: object) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or len(value) > MOST_NAMES:
        raise _wrong(argument, value, f"a list of at most {MOST_NAMES} texts")
    return tuple(_text(argument, each) for each in value)


def _count(argument: Argument, value: object) -> int:
    most = int(MOST_COUNT if argument.most is None else argument.most)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise _wrong(argument, value, f"a whole number from 0 to {most}")
    return value


def _seconds(argument: Argument, value: object) -> float:
    most = MOST_SECONDS if argument.most is None else argument.most
    wrong = _wrong(argument, value, f"a number of seconds from 0 to {most:g}")
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
        raise wrong
    if not math.isfinite(value):
        raise wrong
    return float(value)


def _flag(argument: Argument, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(argument, value, "true or false")
    return value


def _signal(argument: Argument, value: object) -> int:
    wrong = _wrong(argument, value, "a signal such as TERM, HUP or 15")
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{1,2}", value, re.ASCII):
            value = int(value)
        else:
            name = value.upper() if value.upper().startswith("SIG") else f"SIG{value.upper()}"
            if name not in signal.Signals.__members__:
                raise wrong
            return int(signal.Signals[name])
    if not isinstance(value, int) or isinstance(value, bool) or value not in signal.valid_signals():
        raise wrong
    return value


def _counts(argument: Argument, value: object) -> Mapping[str, int]:
    if not isinstance(value, dict) or not 0 < len(value) <= MOST_NAMES:
        raise _wrong(argument, value, 'apps with their numbers of instances, as {"web": 4}')
    for app in value:
        if not isinstance(app, str) or not NAME.fullmatch(app):
            raise _wrong(argument, app, "the name of an app")
    return MappingProxyType({app: _count(argument, count) for app, count in value.items()})


def _position(argument: Argument, value: object) -> Position:
    position = read_position(value) if isinstance(value, str) else None
    if position is None:
        raise _wrong(argument, value, "VERSION or VERSION.INDEX, as 88214 or 88214.0")
    return position


def _moment(argument: Argument, value: object) -> When:
    when = read_when(value) if isinstance(value, str) else None
    if when is None:
        raise _wrong(argument, value, WANTED)
    return when


def _pattern(argument: Argument, value: object) -> str:
    text = _text(argument, value)
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError) as wrong:
        raise _wrong(argument, value, f"a regular expression ({wrong})") from None
    return text


_CHECKS: Mapping[ArgumentType, Callable[[Argument, object], object]] = MappingProxyType(
    {
        ArgumentType.TEXT: _text,
        ArgumentType.TEXTS: _texts,
        ArgumentType.COUNT: _count,
        ArgumentType.SECONDS: _seconds,
        ArgumentType.FLAG: _flag,
        ArgumentType.SIGNAL: _signal,
        ArgumentType.COUNTS: _counts,
        ArgumentType.MOMENT: _moment,
        ArgumentType.PATTERN: _pattern,
        ArgumentType.POSITION: _position,
    }
)

"""What the texts of a configuration mean: durations, sizes, signals, names and numbers.

Each function takes the text as it is written and gives the value, or raises
ValueError with the reason and a way out, ready to stand after
`cannot use TEXT for KEY: `. Nothing is guessed: a duration has its unit, a
number has no leading zero, and only `true` and `false` are booleans.
"""

from __future__ import annotations

import math
import re
import shlex
import signal

from droned.config.nodes import near
from droned.models.sinks import OWN_LABELS

UNIT_S = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
"""Seconds in each unit of a duration, the longest first."""

LONGEST_DURATION_S = 36_500 * 86_400.0
SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
LARGEST_SIZE = (1 << 63) - 1

DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
SIZE = re.compile(r"([0-9]+)([KMGT]?)")
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]*)")
DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
OCTAL = re.compile(r"0o?[0-7]{0,4}")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
OWN_APP = "droned"
LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
VARIABLE_NAME = re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*")

SIGNALS = {item.name.removeprefix("SIG"): int(item) for item in signal.Signals}
"""Number of each signal by its name without `SIG`."""
LARGEST_SIGNAL = 64

LIMIT_NAMES = (
    *("as", "core", "cpu", "data", "fsize", "memlock", "msgqueue", "nice"),
    *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)
"""The rlimits of Linux, named as `prlimit` and `limits.conf` name them."""


def label_name(text: str) -> None:
    """Raises ValueError for what cannot be the name of a label of Loki's, or is one of droned's own."""
    if not LABEL_NAME.fullmatch(text) or text.startswith("__"):
        raise ValueError("it is letters, digits and _, and the first no digit")
    if text in OWN_LABELS:
        raise ValueError("droned sets it itself")


def duration(text: str) -> float:
    """Seconds in `500ms`, `10s`, `1.5m`, `2h`, `30d` or, the longest first, `1h30m`."""
    total, end, units = 0.0, 0, list(UNIT_S)
    while (part := DURATION_PART.match(text, end)) and part[2] in units:
        total += float(part[1]) * UNIT_S[part[2]]
        units = units[units.index(part[2]) + 1 :]
        end = part.end()
    if not end or end != len(text):
        raise ValueError("a duration has a unit, as in 500ms, 10s, 5m, 2h, 30d or 1h30m")
    if total > LONGEST_DURATION_S:
        raise ValueError("a duration is 36500d at most")
    return total


def size(text: str) -> int:
    """Bytes in `4096`, `64K`, `512M`, `2G` or `1T`; the units are powers of 1024."""
    if not (match := SIZE.fullmatch(text)) or not WHOLE.fullmatch(match[1]):
        raise ValueError("a size is a whole number with K, M, G or T, as in 64K or 2G")
    if len(match[1]) > 19 or (found := int(match[1]) * SIZE_UNITS[match[2]]) > LARGEST_SIZE:
        raise ValueError(f"a size is {LARGEST_SIZE} at most")
    return found


def size_text(size_bytes: int) -> str:
    """The other way round, in the largest unit that fits evenly: `64K`."""
    unit = max(
        (unit for unit in SIZE_UNITS if size_bytes % SIZE_UNITS[unit] == 0), key=SIZE_UNITS.__getitem__
    )
    return f"{size_bytes // SIZE_UNITS[unit]}{unit}"


def whole(text: str, low: int, high: int) -> int:
    """A whole number from `low` to `high`, decimal, without leading zeros."""
    if WHOLE.fullmatch(text) and len(text) <= 20 and low <= int(text) <= high:
        return int(text)
    octal = " without leading zeros" if re.fullmatch(r"-?0[0-9]+", text) else ""
    raise ValueError(f"it is a whole number from {low} to {high}{octal}")


def share(text: str, low: float, high: float) -> float:
    """A decimal number from `low` to `high`, as in `0.25`."""
    if DECIMAL.fullmatch(text) and math.isfinite(found := float(text)) and low <= found <= high:
        return found
    raise ValueError(f"it is a number from {low:g} to {high:g}, as in 0.25")


def boolean(text: str) -> bool:
    """`true` or `false`; no other word is a boolean."""
    if text in ("true", "false"):
        return text == "true"
    raise ValueError("it is true or false")


def umask(text: str) -> int:
    """An octal mode, `027` or `0o27`: the one place where octal is meant."""
    if OCTAL.fullmatch(text) and text != "0o" and (found := int(text.replace("o", ""), 8)) <= 0o777:
        return found
    raise ValueError('it is octal with a leading zero, from 0 to 0777, as in "027"')


def signal_number(text: str) -> int:
    """The number of `TERM`, `SIGTERM`, `15` or `RTMIN+3`."""
    name = text.removeprefix("SIG")
    if found := SIGNALS.get(name):
        return found
    if WHOLE.fullmatch(text) and len(text) <= 2 and 1 <= int(text) <= LARGEST_SIGNAL:
        return int(text)
    if (match := re.fullmatch(r"RTMIN\+([0-9]{1,2})", name)) and int(match[1]) <= LARGEST_SIGNAL - 34:
        return 34 + int(match[1])
    raise ValueError(
        f"it is a signal such as TERM, SIGTERM or 15{near(text.upper().removeprefix('SIG'), SIGNALS)}"
    )


def app_name(text: str) -> str:
    """A name that an app can have."""
    if text == OWN_APP:
        raise ValueError("that is droned's own, for its log")
    return name(text)


def name(text: str) -> str:
    """An app's name or an instance's label: 1-64 of `a-z 0-9 . _ -`, the first a letter or a digit."""
    if NAME.fullmatch(text):
        return text
    raise ValueError("it has 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit")


def variable_name(text: str) -> str:
    """The name of an environment variable: letters, digits, `_`, `.` and `-`, not a digit first."""
    if VARIABLE_NAME.fullmatch(text):
        return text
    raise ValueError("a variable's name has letters, digits, '_', '.' and '-', and begins with no digit")


def limit_value(text: str) -> int | None:
    """One bound of an rlimit: a number or a size; None for `unlimited`."""
    if text == "unlimited":
        return None
    try:
        return size(text)
    except ValueError:
        raise ValueError(
            f"a limit is a number, a size such as 64M, or unlimited, at most {LARGEST_SIZE}"
        ) from None


def count_in(text: str) -> tuple[int, float]:
    """`10 in 10m` as a number and seconds."""
    if match := re.fullmatch(r"([1-9][0-9]{0,5}) +in +(\S+)", text):
        within_s = duration(match[2])
        if within_s > 0:
            return int(match[1]), within_s
    raise ValueError('it is "10 in 10m" (a number from 1 to 999999, "in", a duration) or never')


def words(text: str) -> tuple[str, ...]:
    """The words of a command as a shell would split them; nothing else of a shell is done."""
    try:
        return tuple(shlex.split(text))
    except ValueError as fault:
        raise ValueError(f"cannot split it into words: {str(fault).lower()}") from None

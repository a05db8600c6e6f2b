"""Moments as a person gives them: how long ago, when, at which version, or since the boot.

Only what the text means is decided here: which second of the clock that is
depends on now, on the journal and on the host, and is the caller's to say.
"""

from __future__ import annotations

import re
from datetime import datetime

from msgspec import Struct

LONGEST_AGO_S = 36_500 * 86_400.0
BOOT = "boot"
WANTED = "how long ago (10m, 1h30m), a time with its zone (2026-11-22T12:04:31Z), @VERSION or boot"

_UNIT_S = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|[smhd])", re.ASCII)
_AGO = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_VERSION = re.compile(r"@([0-9]{1,18})", re.ASCII)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)


class When(Struct, frozen=True, kw_only=True):
    """A moment; one of the fields says which."""

    ago_s: float | None = None
    """So many seconds before now."""
    at: float | None = None
    """Wall seconds."""
    version: int | None = None
    """The moment of this version of the registry."""
    is_boot: bool = False
    """The start of the host."""


def read_when(text: str) -> When | None:
    """The moment in `10m`, `2026-11-22T12:04:31.5Z` (RFC 3339), `@4711` or `boot`; None when it is none."""
    if text == BOOT:
        return When(is_boot=True)
    found = _VERSION.fullmatch(text)
    if found is not None:
        return When(version=int(found[1]))
    if _AGO.fullmatch(text):
        ago_s = sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
        return When(ago_s=ago_s) if ago_s <= LONGEST_AGO_S else None
    if _TIME.fullmatch(text):
        # More digits than six are beyond what a datetime holds.
        plain = re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text.upper().replace(" ", "T"))
        try:
            return When(at=datetime.fromisoformat(plain).timestamp())
        except (ValueError, OverflowError):
            return None
    return None

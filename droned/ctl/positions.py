"""`--since`: where in the stream of events a reader begins, from a version, an event's id or a time.

The API knows positions (`VERSION` or `VERSION.INDEX`) only. The version of a
moment is found by halving: versions grow with time, so some twenty questions
of one event each are enough for a journal of any length.
"""

from __future__ import annotations

import re
import time
from typing import Any

from droned.ctl.api import Api
from droned.ctl.text import escaped, moment_of, seconds_of
from droned.errors import BadRequest

POSITION = re.compile(r"@?(\d{1,18}(\.\d{1,9})?)", re.ASCII)


def position_of(api: Api, text: str) -> str:
    """The position behind which to begin: of `88214`, `@88214`, `88214.0`, `10m`, or an RFC 3339 time."""
    known = POSITION.fullmatch(text)
    if known:
        return known[1]
    moment = moment_of(text)
    if moment is None:
        try:
            moment = time.time() - seconds_of(text, "--since")
        except BadRequest:
            raise BadRequest(
                f'cannot take "{escaped(text)}" as --since: give a version (88214), '
                "an event's id (88214.0), a time ago (10m, 2h) or an RFC 3339 time with its zone"
            ) from None
    return str(_version_before(api, moment))


def _version_before(api: Api, moment: float) -> int:
    """The last version all of whose events, and those of the versions before, are older than `moment`."""
    first: dict[str, Any] = api.get("/events", (("since", 0), ("limit", 1))).document()
    low, high = 0, int(first.get("version") or 0)
    while low < high:
        middle = (low + high) // 2
        found: dict[str, Any] = api.get("/events", (("since", middle), ("limit", 1))).document()
        events = found.get("events") or []
        at = moment_of(str(events[0].get("at"))) if events else None
        if at is not None and at < moment:
            # Everything up to this event's version is older.
            low = max(middle + 1, int(events[0].get("version") or 0))
        else:
            high = middle
    return low

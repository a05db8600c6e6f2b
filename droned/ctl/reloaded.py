"""What a reload changed, as lines: an app a line, with what becomes of its instances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from droned.ctl.text import escaped

NOTHING = "nothing changed"
MOST_NAMED = 8
"""Instances of an app that are named; of more the rest is a number."""
_MARKS = (("added", "+", "new"), ("changed", "~", "changed"), ("removed", "-", "removed"))
_BECOMES = (
    ("started", "starts", "start"),
    ("restarted", "restarts", "restart one after the other"),
    ("stopped", "stops", "stop"),
)


def difference(result: Mapping[str, Any]) -> list[str]:
    """The lines for the result of `daemon-reload`, escaped; `nothing changed` where there are none."""
    apps: Mapping[str, Sequence[str]] = result.get("apps") or {}
    instances: Mapping[str, Sequence[str]] = result.get("instances") or {}
    widest = max((len(name) for names in apps.values() for name in names), default=0)
    lines = []
    for kind, mark, word in _MARKS:
        for name in apps.get(kind) or ():
            becomes = "; ".join(_becomes(name, instances))
            lines.append(f"{mark} {escaped(name):{widest}}  {word}" + (f": {becomes}" if becomes else ""))
    if result.get("settings_changed"):
        lines.append("~ the settings of droned itself")
    return lines or [NOTHING]


def _becomes(app: str, instances: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """`web/0, web/1 restart one after the other`, and the like."""
    for kind, one, many in _BECOMES:
        keys = [key for key in instances.get(kind) or () if key.startswith(f"{app}/")]
        if keys:
            named = ", ".join(map(escaped, keys[:MOST_NAMED]))
            more = f" and {len(keys) - MOST_NAMED} more" if len(keys) > MOST_NAMED else ""
            yield f"{named}{more} {one if len(keys) == 1 else many}"

"""What of captured output was lost lately and what cannot be written, as `droned-logs` tells it, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LOST_S = 600.0
"""So long after the last loss nothing is said of it any more."""
SHOWN = 5


class Losses:
    """All that was told, minute by minute.

    `droned-logs` counts from its own start. Of what it tells for the first
    time, those bytes are news of which the last were lost lately: whoever was
    daemon then may not have come to say so.
    """

    def __init__(self) -> None:
        self.text = ""
        """What is wrong; empty when nothing is."""
        self._counts: dict[str, int] | None = None
        self._lost: dict[str, int] = {}
        self._lost_mono = float("-inf")

    def take(self, told: Mapping[str, Mapping[str, Any]], now_mono: float) -> None:
        """What `droned-logs` tells of each instance: `lost_bytes`, `lost_ago_s`, `trouble`."""
        before, self._counts = self._counts, {name: each.get("lost_bytes", 0) for name, each in told.items()}
        if now_mono - self._lost_mono >= LOST_S:
            self._lost.clear()
        for name, count in self._counts.items():
            ago_s = 0.0 if before is not None else told[name].get("lost_ago_s", LOST_S)
            known = 0 if before is None else before.get(name, 0)
            grown = count - known if count >= known else count  # less: by a droned-logs that is new
            if grown and ago_s < LOST_S:
                self._lost[name] = self._lost.get(name, 0) + grown
                self._lost_mono = max(self._lost_mono, now_mono - ago_s)
        self.text = "; ".join(self._texts({name: each.get("trouble") for name, each in told.items()}))

    def _texts(self, troubles: Mapping[str, str | None]) -> list[str]:
        texts = []
        if waiting := [f"{name} ({why})" for name, why in troubles.items() if why]:
            texts.append(f"output cannot be written: {_some(waiting)}")
        if self._lost:
            most = sorted(self._lost, key=self._lost.__getitem__, reverse=True)
            named = _some([f"{name} {self._lost[name]} bytes" for name in most])
            texts.append(f"output was lost: {named}; the places are marked in their logs")
        return texts


def _some(texts: Sequence[str]) -> str:
    more = f" and of {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "of " + ", ".join(texts[:SHOWN]) + more

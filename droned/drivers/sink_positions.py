"""How far each sink has come, in a file of its own beside the logs: `STATE/logs/forward-NAME.json`.

A file is replaced by one rename and not synced: after a loss of power a sink
gets some lines twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection

import msgspec

from droned.models.sinks import SinkPlace

_FILE = re.compile(r"forward-([a-z0-9][a-z0-9._-]*)\.json")


class SinkPositions:
    """The files of one folder of logs; every call can block."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, name: str) -> SinkPlace | None:
        """Where a sink is; None when that is not known."""
        try:
            with open(self._path(name), "rb") as file:
                place = msgspec.json.decode(file.read(), type=SinkPlace)
        except (OSError, ValueError):
            return None
        return place if place.position is None or place.position >= 0 else None

    def write(self, name: str, place: SinkPlace) -> None:
        """Remember where a sink is. Raises OSError."""
        os.makedirs(self._folder, mode=0o755, exist_ok=True)
        path = self._path(name)
        with open(f"{path}.new", "wb") as file:
            file.write(msgspec.json.encode(place))
        os.replace(f"{path}.new", path)

    def forget_all_but(self, names: Collection[str]) -> None:
        """Only these sinks are left: one that comes back begins anew."""
        try:
            present = os.listdir(self._folder)
        except OSError:
            return
        for file in present:
            found = _FILE.fullmatch(file)
            if found is not None and found[1] not in names:
                os.unlink(f"{self._folder}/{file}")

    def _path(self, name: str) -> str:
        return f"{self._folder}/forward-{name}.json"

"""How far each sink has come, in a file of its own beside the logs: `STATE/logs/forward-NAME.json`.

A file is replaced by one rename and not synced: after a loss of power a sink
gets some lines twice.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection

_FILE = re.compile(r"forward-([a-z0-9][a-z0-9._-]*)\.json")


class SinkPositions:
    """The files of one folder of logs; every call can block."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read(self, name: str) -> int | None:
        """The position of a sink; None when none is known."""
        try:
            with open(self._path(name), encoding="ascii") as file:
                found = json.load(file)
        except (OSError, ValueError):
            return None
        position = found.get("position") if isinstance(found, dict) else None
        return position if isinstance(position, int) and position >= 0 else None

    def write(self, name: str, position: int) -> None:
        """Remember the position of a sink. Raises OSError."""
        os.makedirs(self._folder, mode=0o755, exist_ok=True)
        path = self._path(name)
        with open(f"{path}.new", "w", encoding="ascii") as file:
            json.dump({"position": position}, file)
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

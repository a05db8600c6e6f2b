"""Who is measured: droned, supervisord, a bare Twisted yardstick and the least that it can cost in C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from benchmarks.managers.bare import BareTwisted, Limit
from benchmarks.managers.base import App, Manager
from benchmarks.managers.droned import Droned
from benchmarks.managers.supervisord import Supervisord

MANAGERS: Mapping[str, Callable[[Sequence[App], Mapping[str, Any]], Manager]] = MappingProxyType(
    {"droned": Droned, "supervisord": Supervisord, "bare Twisted": BareTwisted, "C limit": Limit}
)
"""Each by its name in the tables; called with its apps and with settings of droned."""

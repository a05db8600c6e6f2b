"""Who is measured: droned, supervisord, a bare Twisted yardstick and the least that it can cost in C."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from benchmarks.managers.bare import BareTwisted, Limit
from benchmarks.managers.base import Manager
from benchmarks.managers.droned import Droned
from benchmarks.managers.supervisord import Supervisord

MANAGERS: Mapping[str, Callable[[int], Manager]] = MappingProxyType(
    {"droned": Droned, "supervisord": Supervisord, "bare Twisted": BareTwisted, "C limit": Limit}
)
"""Each by its name in the tables; called with the number of programs."""

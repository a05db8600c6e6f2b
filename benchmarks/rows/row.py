"""What a row of the table is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import Manager


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of measurement on the living manager."""

    name: str
    """As `--only` takes it."""
    measure: Callable[[Manager, Effort], Series]
    figures: tuple[Figure, ...]
    managers: tuple[str, ...] | None = None
    """Whom it is made for; None is all."""
    is_small_too: bool = False
    """Whether it is also made with 10 programs."""
    once: bool = False
    """Whether the first run is enough, since it takes long and varies little."""

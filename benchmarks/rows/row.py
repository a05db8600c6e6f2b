"""What a row of the table is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import App, Manager


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
    apps: Callable[[Effort], Sequence[App]] | None = None
    """The programs of a life of its own; None: it is measured in a life that rows share."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Keys of the section `droned` in that life."""

"""The runs that the model guardian of `world` keeps, and the ways in which they end."""

from __future__ import annotations

from dataclasses import dataclass

STATUSES = (0, 1 << 8, 9, 11, 15, 125 << 8)
FAILURES = (("exec", 2), ("user", 2), ("fork", 11), ("timeout at directory", 110))


@dataclass
class Row:
    """One run, as the guardian knows it."""

    run: int
    spawned_at: float
    state: str = "setup"
    status: int | None = None
    failure: tuple[str, int] | None = None
    leftovers: int = 0
    ended_at: float = 0.0
    is_acknowledged: bool = False
    is_unseen: bool = False
    is_asked: bool = False
    """Whether it was sent a signal that asks it to end."""

    @property
    def lives(self) -> bool:
        """Whether its main process is there."""
        return self.state != "ended"

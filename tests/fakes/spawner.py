"""A guardian in memory: takes orders, and answers only when the test says so."""

from __future__ import annotations

from collections.abc import Mapping

from zope.interface import implementer

from droned.models.ports import ISpawner


@implementer(ISpawner)
class FakeSpawner:
    """Remembers every order."""

    def __init__(self) -> None:
        self.spawned: list[tuple[str, int]] = []
        self.launches: dict[str, Mapping[str, object]] = {}
        self.signals: list[tuple[str, int, int, str]] = []
        self.acknowledged: list[tuple[str, int]] = []
        self.forgotten: list[str] = []

    def spawn(self, instance: str, run: int, launch: Mapping[str, object]) -> None:
        """Note the order."""
        self.spawned.append((instance, run))
        self.launches[instance] = launch

    def signal(self, instance: str, run: int, number: int, to: str) -> None:
        """Note the order."""
        self.signals.append((instance, run, number, to))

    def acknowledge(self, ended: list[tuple[str, int]], head_version: int, head_digest: str) -> None:
        """Note what was acknowledged."""
        self.acknowledged += ended

    def flush(self) -> None:
        """Nothing waits here."""

    def forget(self, instance: str) -> None:
        """Note what was forgotten."""
        self.forgotten.append(instance)

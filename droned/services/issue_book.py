"""Issues about droned itself, opened and closed in one way.

An issue is opened once: while it is open its text may change, its time does
not. Issues of instances are the business of the life cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from droned.models.events import EventType, Occurrence
from droned.models.records import IssueKind, IssueRecord, Record
from droned.models.registry import Moment, Registry

RecordChange = tuple[str, str, Record | None]
SELF = "droned"


class IssueBook:
    """Opens and closes issues in the registry."""

    def __init__(self, registry: Registry, moment: Callable[[], Moment]) -> None:
        self._registry = registry
        self._moment = moment

    def opened(
        self, kind: IssueKind, subject: str, text: str, remedy: str
    ) -> tuple[list[RecordChange], list[Occurrence]]:
        """What opens the issue, or brings its text up to date, for a commit of the caller's."""
        key = f"{kind}:{subject}"
        present = self._registry.records("issue").get(key)
        if isinstance(present, IssueRecord):
            return [("issue", key, replace(present, text=text, remedy=remedy))], []
        issue = IssueRecord(
            key=key, kind=kind, subject=subject, text=text, remedy=remedy, opened_at=self._moment().wall
        )
        told = Occurrence(type=EventType.ISSUE_OPENED, subject=subject, text=text, data={"issue": key})
        return [("issue", key, issue)], [told]

    def closed(self, kind: IssueKind, subject: str, why: str) -> tuple[list[RecordChange], list[Occurrence]]:
        """What closes the issue if it is open, for a commit of the caller's."""
        key = f"{kind}:{subject}"
        if key not in self._registry.records("issue"):
            return [], []
        told = Occurrence(
            type=EventType.ISSUE_CLOSED, subject=subject, text=f"closed: {why}", data={"issue": key}
        )
        return [("issue", key, None)], [told]

    def open(
        self,
        kind: IssueKind,
        subject: str,
        text: str,
        remedy: str,
        occurrences: Sequence[Occurrence] = (),
    ) -> None:
        """Open the issue in a commit of its own, with `occurrences` before it."""
        changes, told = self.opened(kind, subject, text, remedy)
        self._registry.commit(changes, [*occurrences, *told], moment=self._moment(), actor=SELF, cause=0)

    def close(self, kind: IssueKind, subject: str, why: str, occurrences: Sequence[Occurrence] = ()) -> None:
        """Close the issue, if it is open, in a commit of its own, with `occurrences` before it."""
        changes, told = self.closed(kind, subject, why)
        self._registry.commit(changes, [*occurrences, *told], moment=self._moment(), actor=SELF, cause=0)

"""The actions that have not ended yet, by the instances that they wait for.

An action's items are derived from the instances' records, so they need not be
journalled at every change: a small action's record follows each of them, a
large one's is written when it has ended (a thousand items written a thousand
times would be a million). After a restart of the daemon `add` and `move` bring
the items up to date again.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from droned.lifecycle.actions import judge, with_items
from droned.models.records import ActionItem, ActionRecord, ActionState, InstanceRecord
from droned.models.registry import Moment

SMALL = 16
"""Items up to which an action's record follows each change of one of them."""


class _Open(Struct, kw_only=True):
    record: ActionRecord
    items: dict[str, ActionItem]
    left: int


class OpenActions:
    """Moves running actions along with the instances that they are about."""

    def __init__(self) -> None:
        self._open: dict[str, _Open] = {}
        self._by_instance: dict[str, set[str]] = {}

    def add(self, action: ActionRecord) -> None:
        """Follow `action` until it has ended."""
        if action.state is not ActionState.RUNNING:
            return
        items = {item.instance: item for item in action.items}
        left = sum(item.state is ActionState.RUNNING for item in action.items)
        self._open[action.key] = _Open(record=action, items=items, left=left)
        for item in action.items:
            if item.state is ActionState.RUNNING:
                self._by_instance.setdefault(item.instance, set()).add(action.key)

    def move(
        self, became: Iterable[tuple[str, InstanceRecord | None]], moment: Moment
    ) -> dict[str, ActionRecord]:
        """The actions (by key) to be put in place because these instances became what is given."""
        touched: set[str] = set()
        for instance, after in became:
            for key in tuple(self._by_instance.get(instance, ())):
                if self._judge(key, instance, after):
                    touched.add(key)
        moved: dict[str, ActionRecord] = {}
        for key in touched:
            entry = self._open[key]
            if entry.left and len(entry.items) > SMALL:
                continue
            entry.record = moved[key] = with_items(entry.record, entry.items, moment)
            if entry.record.state is not ActionState.RUNNING:
                del self._open[key]
        return moved

    def _judge(self, key: str, instance: str, after: InstanceRecord | None) -> bool:
        """Judge one item; whether it changed."""
        entry = self._open[key]
        item = entry.items[instance]
        judged = judge(item, after)
        if judged is item:
            return False
        entry.items[instance] = judged
        if judged.state is not ActionState.RUNNING:
            entry.left -= 1
            waiting = self._by_instance[instance]
            waiting.discard(key)
            if not waiting:
                del self._by_instance[instance]
        return True

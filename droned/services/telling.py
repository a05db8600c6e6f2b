"""What a commit says beside its records: the input that it took, and the end of an action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import asdict

from droned.lifecycle.inputs import Input
from droned.models.events import EventType, Occurrence
from droned.models.records import ActionItem, ActionRecord, ActionState, AppRecord, InstanceRecord


def named_input(
    given: Sequence[tuple[InstanceRecord, AppRecord, Input]],
) -> tuple[str, str, Mapping[str, object]] | None:
    """The input as `Commit.given` has it; several instances given the same are named together.

    Where they are given different ones, the fields say which instance was given which.
    """
    if not given:
        return None
    keys = " ".join(record.key for record, _, _ in given)
    kinds = {type(what).__name__ for _, _, what in given}
    if len(kinds) > 1:
        return (keys, "+".join(sorted(kinds)), {record.key: type(what).__name__ for record, _, what in given})
    return (keys, kinds.pop(), asdict(given[0][2]))


def action_ended(action: ActionRecord) -> Occurrence:
    """The event of an action's end, with the first failure and how many more there are."""
    failed = [item for item in action.items if item.state is ActionState.FAILED]
    return Occurrence(
        type=EventType.ACTION_ENDED,
        subject=action.items[0].instance if len(action.items) == 1 else "server",
        text=f"{action.command} {action.state}{_failures(failed)}",
        data={"action": action.key},
    )


def _failures(failed: Sequence[ActionItem]) -> str:
    if not failed:
        return ""
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    return f": {failed[0].instance}: {failed[0].text}{more}"

"""What a commit says beside its records."""

import pytest

from droned.lifecycle.inputs import Begin, Elapsed, Input
from droned.models.events import EventType
from droned.models.records import ActionItem, ActionRecord, ActionState, DueKind, Goal, State
from droned.services.telling import action_ended, named_input
from tests.lifecycle.samples import WEB, record

ELAPSED = Elapsed(kind=DueKind.GRACE)


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ((), None),
        ((ELAPSED,), ("web/0", "Elapsed", {"kind": DueKind.GRACE})),
        ((ELAPSED, ELAPSED), ("web/0 web/0", "Elapsed", {"kind": DueKind.GRACE})),
        ((ELAPSED, Begin()), ("web/0 web/0", "Begin+Elapsed", {"web/0": "Begin"})),
    ],
)
def test_inputs_are_named_together(inputs: tuple[Input, ...], named: object) -> None:
    stopped = record(State.STOPPED)
    assert named_input([(stopped, WEB, each) for each in inputs]) == named


def action(*texts: str) -> ActionRecord:
    """A restart whose items failed with these texts; an empty one succeeded."""
    items = tuple(
        ActionItem(
            instance=f"web/{number}",
            goal=Goal.RUNNING,
            after_run=1,
            state=ActionState.FAILED if text else ActionState.SUCCEEDED,
            text=text,
        )
        for number, text in enumerate(texts)
    )
    state = ActionState.FAILED if any(texts) else ActionState.SUCCEEDED
    return ActionRecord(
        key="a",
        command="restart",
        targets=("web",),
        actor="root",
        reason="",
        began_at=0.0,
        items=items,
        state=state,
    )


@pytest.mark.parametrize(
    ("texts", "subject", "told"),
    [
        (("",), "web/0", "restart succeeded"),
        (("exited 1",), "web/0", "restart failed: web/0: exited 1"),
        (("", "exited 1"), "server", "restart failed: web/1: exited 1"),
        (("exited 1", "", "exited 2"), "server", "restart failed: web/0: exited 1 and 1 more"),
    ],
)
def test_an_actions_end_names_its_first_failure(texts: tuple[str, ...], subject: str, told: str) -> None:
    event = action_ended(action(*texts))
    assert (event.type, event.subject, event.text) == (EventType.ACTION_ENDED, subject, told)
    assert event.data == {"action": "a"}

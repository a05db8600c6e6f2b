"""When droned ends by itself, and with which code."""

from __future__ import annotations

from typing import Any

import pytest

from droned.models.records import Exit, InstanceRecord, State
from droned.services.exit_when import exit_code


def instance(app: str, state: State, run: int = 1, **end: Any) -> InstanceRecord:
    exit_ = Exit(run=run, at=0.0, reason="", **end) if end else None
    return InstanceRecord(key=f"{app}/0", app=app, label="0", state=state, run=run, exit=exit_)


DONE = instance("job", State.EXITED, code=0)
BROKEN = instance("job", State.EXITED, code=3)
KILLED = instance("job", State.FAILED, signal=9)
UP = instance("web", State.RUNNING)
AWAY = instance("web", State.BACKOFF, code=1)


@pytest.mark.parametrize(
    ("condition", "records", "code"),
    [
        ("all-stopped", [DONE], 0),
        ("all-stopped", [DONE, UP], None),
        ("all-stopped", [DONE, AWAY], None),
        ("all-stopped", [DONE, BROKEN], 3),
        ("all-stopped", [KILLED], 137),
        ("all-stopped", [], None),
        ("all-stopped", [instance("web", State.STOPPED, run=0)], None),
        ("failed:job", [KILLED, UP], 137),
        ("failed:job", [BROKEN, UP], 3),
        ("failed:job", [DONE, UP], None),
        ("failed:web", [KILLED, UP], None),
        ("failed:job", [instance("job", State.FAILED, stage="exec", errno=2)], 1),
    ],
)
def test_the_condition_gives_the_programs_code(
    condition: str, records: list[InstanceRecord], code: int | None
) -> None:
    assert exit_code(condition, records) == code

"""When droned ends by itself, and with which code: the rule of a container's PID 1.

`all-stopped`: no instance has a process and none is about to get one.
`failed:APP`: droned gave up on an instance of APP, or it ended in a failure
that its policy leaves so. The code is that of the program: its exit code, or
128 and the signal, or 1 where there is none.
"""

from __future__ import annotations

from collections.abc import Iterable

from droned.models.records import Exit, InstanceRecord, State

ENDED = frozenset({State.STOPPED, State.EXITED, State.FAILED, State.UNKNOWN})
UNSUCCESSFUL = frozenset({State.EXITED, State.FAILED, State.UNKNOWN})


def exit_code(condition: str, records: Iterable[InstanceRecord]) -> int | None:
    """The code to end with because `condition` is met; None while it is not."""
    kind, _, app = condition.partition(":")
    if kind == "failed":
        for record in records:
            if record.app == app and record.state in UNSUCCESSFUL and code_of(record.exit):
                return code_of(record.exit)
        return None
    present = list(records)
    if not present or any(record.state not in ENDED or record.run == 0 for record in present):
        return None
    codes = [code_of(record.exit) for record in present if record.state is not State.STOPPED]
    return next((code for code in codes if code), 0)


def code_of(exit_: Exit | None) -> int:
    """An end as an exit code: 0-255."""
    if exit_ is None:
        return 0
    if exit_.signal is not None:
        return 128 + exit_.signal
    return 1 if exit_.code is None else exit_.code

"""Starts that failed before the program was executed: what is told of them, and what may mend them.

A user, group, folder or executable that is missing is not tried again and
again: the instance fails at once, droned looks every `LOOK_EVERY_S` whether it
is there, and starts the instance then. Every other failed start is a failure
like any other and is followed by the restart policy.
"""

from __future__ import annotations

import errno as errnos
from collections.abc import Mapping

from droned.lifecycle.inputs import StartFailed
from droned.lifecycle.outcome import due_in
from droned.lifecycle.restart import is_followed, is_permanent
from droned.lifecycle.words import errno_words
from droned.models.policy import Launch
from droned.models.records import AppRecord, Due, DueKind, Exit, InstanceRecord
from droned.models.registry import Moment
from droned.models.variables import instance_values, put_in

LOOK_EVERY_S = 30.0
"""How often droned looks whether a missing user, folder or executable is there."""

MISSING_STAGES = frozenset({"user", "group", "groups", "directory", "exec"})
MISSING_ERRNOS = frozenset({errnos.ENOENT, errnos.ENOTDIR, errnos.EACCES})

REFUSED = "refused"
"""The stage of a start that the guardian refused: it holds a run of this instance, or a later number."""

TOO_LONG = "timeout at "
"""How the guardian names the stage of a set-up that it did not wait for any longer."""


def is_missing(exit_: Exit) -> bool:
    """Whether the start failed for something that a person must put there."""
    return exit_.stage in MISSING_STAGES and exit_.errno in MISSING_ERRNOS


def exit_of_failed_start(record: InstanceRecord, app: AppRecord, given: StartFailed) -> Exit:
    """The `Exit` that a failed start leaves, its reason in the words of the app's configuration."""
    # The server's name is not known here, and no reader needs it to find the value.
    values = instance_values(record.app, record.label, "${DRONED_SERVER}")
    reason = failed_start_reason(given.stage, given.errno, app.spec.launch, values)
    return Exit(run=given.run, at=given.at, reason=reason, stage=given.stage, errno=given.errno)


def failed_start_reason(stage: str, number: int, launch: Launch, values: Mapping[str, str]) -> str:
    """Why a start failed: `no user "www" on this host`, `set-up failed at limits: …`."""

    def shown(template: str | int | None) -> str:
        return f'"{put_in(template, values)}"' if isinstance(template, str) else str(template)

    is_absent = number == errnos.ENOENT
    match stage:
        case "user" if is_absent:
            return f"no user {shown(launch.user)} on this host"
        case "group" if is_absent:
            return f"no group {shown(launch.group)} on this host"
        case "groups" if is_absent:
            named = ", ".join(shown(group) for group in launch.groups or ())
            return f"no such group on this host, one of {named}"
        case "directory":
            return _about(f"the working directory {shown(launch.directory)}", number)
        case "exec":
            return _about_program(put_in(launch.command[0], values), number)
        case "descriptors" if number == errnos.EMFILE:
            return (
                "no room for its output: too many open files (EMFILE) under droned's hard limit, which is "
                "raised by LimitNOFILE= of the unit or ulimit -Hn from droned's next start on"
            )
        case _ if stage == REFUSED:
            return "the guardian refused it: it holds a run of this or a later number"
    if stage.startswith(TOO_LONG):
        return f"set-up took too long at {stage.removeprefix(TOO_LONG)}"
    return f"set-up failed at {stage}: {errno_words(number)}" if number else f"set-up failed at {stage}"


def due_of_failed(record: InstanceRecord, app: AppRecord, moment: Moment) -> Due | None:
    """What a failed instance waits for by itself; None: only a command helps."""
    if not record.enabled:
        return None
    exit_ = record.exit
    if exit_ is not None and is_missing(exit_):
        return due_in(DueKind.LOOK, LOOK_EVERY_S, moment)
    policy = app.spec.restart
    if exit_ is not None and (is_permanent(policy, exit_) or not is_followed(policy, exit_)):
        return None
    if policy.retry_failed_after_s is None:
        return None
    return due_in(DueKind.RETRY, policy.retry_failed_after_s, moment)


def _about(subject: str, number: int) -> str:
    words = errno_words(number)
    return f"{subject} {words}" if words.startswith(("does", "is")) else f"{subject}: {words}"


def _about_program(program: str, number: int) -> str:
    if number != errnos.ENOENT:
        return _about(f'the program "{program}"', number)
    if "/" not in program:
        return f'no program "{program}" in the search path'
    # The kernel says the same of a script whose first line names a missing interpreter.
    return f'the program "{program}", or the interpreter it names, does not exist'

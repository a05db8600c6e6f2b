"""The entry of dronectl: reads the line, does the verb, ends with a truthful exit status.

This is the border at which every error becomes one line on standard error; a
traceback is shown only with `--debug`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from droned.ctl import quick

if TYPE_CHECKING:
    from droned.errors import DronedError

COMPLETION_VARIABLE = "_DRONECTL_COMPLETE"
"""Set by the shell's completion script, in which case click answers the shell."""


def main() -> NoReturn:
    """The process: do what its arguments say and end it.

    It leaves without the interpreter's tear-down, which takes a fifth of a whole
    `status`: everything is written by then, and the kernel closes what is open.
    """
    status = run(sys.argv[1:])
    if sys.stderr is not None:
        sys.stderr.flush()
    os._exit(status)


def run(arguments: Sequence[str]) -> int:
    """Do what the command line says and give its exit status; everything is flushed."""
    words = list(arguments)
    try:
        status = _run(words)
    except BrokenPipeError:
        # Whoever read standard output went away (`| head`): say nothing, as other tools do.
        from droned.ctl.failures import OUTPUT_CLOSED

        _write_to_nowhere()
        return OUTPUT_CLOSED
    except KeyboardInterrupt:
        from droned.ctl.failures import INTERRUPTED

        return INTERRUPTED
    return status


def _run(words: list[str]) -> int:
    try:
        is_completing = COMPLETION_VARIABLE in os.environ
        plain = None if is_completing else quick.read(words)
        if plain is not None:
            status = quick.show(*plain)
        elif words == quick.RELEASE and not is_completing:
            status = quick.show_release()
        else:
            from droned.ctl.app import run_verb

            status = run_verb(words)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as fault:  # the border: nothing but a line reaches a user
        from droned.errors import DronedError

        if isinstance(fault, DronedError):
            return _tell(fault)
        if "--debug" in words:
            raise
        what = f"cannot go on, dronectl itself failed: {type(fault).__name__}: {fault}"
        return _tell(DronedError(f"{what}\nrun it again with --debug for all of it"))
    return status


def _tell(fault: DronedError) -> int:
    from droned.ctl.console import Console
    from droned.ctl.failures import OutputFault
    from droned.errors import ConfigurationError

    if isinstance(fault, OutputFault):
        _write_to_nowhere()
    text = str(fault)
    if isinstance(fault, ConfigurationError) and fault.problems:
        text = "\n".join([text, *(each for each in fault.problems if each not in text)])
    Console(os.environ).error(text)
    return fault.exit_status


def _write_to_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()

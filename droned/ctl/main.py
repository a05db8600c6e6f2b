"""The entry of dronectl: reads the line, does the verb, ends with a truthful exit status.

This is the border at which every error becomes one line on standard error; a
traceback is shown only with `--debug`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from droned.ctl import quick

if TYPE_CHECKING:
    from droned.errors import DronedError

COMPLETION_VARIABLE = "_DRONECTL_COMPLETE"
"""Set by the shell's completion script, in which case click answers the shell."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run dronectl with `arguments` (the process's own by default) and give its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _run(words)
        sys.stdout.flush()
    except BrokenPipeError:
        return _output_closed()
    except KeyboardInterrupt:
        from droned.ctl.failures import INTERRUPTED

        return INTERRUPTED
    return status


def _run(words: list[str]) -> int:
    try:
        plain = None if COMPLETION_VARIABLE in os.environ else quick.read(words)
        if plain is not None:
            return quick.show(*plain)
        from droned.ctl.app import run

        return run(words)
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


def _tell(fault: DronedError) -> int:
    from droned.ctl.console import Console
    from droned.errors import ConfigurationError

    text = str(fault)
    if isinstance(fault, ConfigurationError) and fault.problems:
        text = "\n".join([text, *(each for each in fault.problems if each not in text)])
    Console(os.environ).error(text)
    return fault.exit_status


def _output_closed() -> int:
    """Whoever read standard output went away (`| head`): say nothing, as other tools do."""
    from droned.ctl.failures import OUTPUT_CLOSED

    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return OUTPUT_CLOSED


if __name__ == "__main__":
    sys.exit(main())

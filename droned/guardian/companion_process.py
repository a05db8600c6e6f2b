"""The process of a companion: forked with what it is to keep, and executed."""

import os
import socket
from collections.abc import Callable, Iterable
from typing import NoReturn

from droned.guardian import kernel, log, notify
from droned.guardian.wire import pair_socket

ENVIRONMENT = ("DRONED_GUARDIAN_FD", "DRONED_LOCK_FD", "DRONED_GUARDIAN", "DRONED_SAFE_MODE")
"""What a daemon alone is given."""
_EXEC_FAILED = 127

Life = tuple[int, socket.socket]
"""The pid of a companion, and our end of the pair that is its only way to us."""
Command = tuple[list[str], dict[str, str]]
"""Arguments and environment."""


def begin(command: Callable[[int], Command], kept: Iterable[int] = ()) -> Life:
    """Start a companion, which is our child. Raises OSError.

    `command` is made with the descriptor of its end of the pair; it keeps that and those in `kept`.
    """
    ours, theirs = pair_socket()
    with theirs:
        argv, env = command(theirs.fileno())
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            raise
        if pid == 0:
            _become(argv, env, sorted([theirs.fileno(), *kept]))
    return pid, ours


def environment() -> dict[str, str]:
    """Ours without what is meant for us or for a daemon alone."""
    return {key: value for key, value in os.environ.items() if key not in (*notify.VARIABLES, *ENVIRONMENT)}


def _become(argv: list[str], env: dict[str, str], kept: list[int]) -> NoReturn:
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        kernel.close_all_but(kept)
        for fd in kept:
            os.set_inheritable(fd, True)
        kernel.unblock_signals()
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        log.say(f"cannot execute {argv[0]}: {error.strerror}")
    finally:
        os._exit(_EXEC_FAILED)

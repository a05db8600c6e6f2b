"""The process of a daemon: what it is started with, and how."""

import json
import os
import socket
import sys

from droned.guardian import kernel, log, notify, processes
from droned.guardian.wire import pair_socket

ENVIRONMENT = ("DRONED_GUARDIAN_FD", "DRONED_LOCK_FD", "DRONED_GUARDIAN", "DRONED_SAFE_MODE")
_EXEC_FAILED = 127

Life = tuple[int, socket.socket]
"""The pid of a daemon, and our end of the pair that is its only way to us."""


def begin_life(argv: list[str], own_argv: list[str], lock_fd: int, *, is_safe_mode: bool = False) -> Life:
    """Start a daemon, which is our child. Raises OSError.

    `own_argv` starts a guardian such as this one; the daemon needs it when it has lost us.
    """
    ours, theirs = pair_socket()
    with theirs:
        env = _environment(theirs.fileno(), own_argv, lock_fd, is_safe_mode=is_safe_mode)
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            raise
        if pid == 0:
            _become_daemon(argv, env, sorted([theirs.fileno(), lock_fd]))
    return pid, ours


def own_command(arguments: list[str]) -> list[str]:
    """The command that starts a guardian with `arguments`, as this one was started."""
    main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    return [sys.executable, "-I", "-S", "-E", main, *arguments]


def _environment(fd: int, own_argv: list[str], lock_fd: int, *, is_safe_mode: bool) -> dict[str, str]:
    env = {key: value for key, value in os.environ.items() if key not in (*notify.VARIABLES, *ENVIRONMENT)}
    env["DRONED_GUARDIAN_FD"] = str(fd)
    env["DRONED_LOCK_FD"] = str(lock_fd)
    own = os.getpid()
    env["DRONED_GUARDIAN"] = json.dumps(
        {
            "pid": own,
            "start_time": processes.start_time(own),
            "argv": own_argv,
            "env": {key: os.environ[key] for key in notify.VARIABLES if key in os.environ},
        }
    )
    if is_safe_mode:
        env["DRONED_SAFE_MODE"] = "1"
        log.say("the daemon died three times within ten minutes: the next one leaves its plugins out")
    return env


def _become_daemon(argv: list[str], env: dict[str, str], kept: list[int]) -> None:
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        kernel.close_all_but(kept)
        for fd in kept:
            os.set_inheritable(fd, True)
        kernel.unblock_signals()
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        log.say(f"cannot execute the daemon {argv[0]}: {error.strerror}")
    finally:
        os._exit(_EXEC_FAILED)

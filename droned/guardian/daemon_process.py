"""The process of a daemon: what it is started with."""

import json
import os
import sys

from droned.guardian import companion_process, log, notify, processes
from droned.guardian.companion_process import Life


def begin_life(argv: list[str], own_argv: list[str], lock_fd: int, *, is_safe_mode: bool = False) -> Life:
    """Start a daemon, which is our child. Raises OSError.

    `own_argv` starts a guardian such as this one; the daemon needs it when it has lost us.
    """
    return companion_process.begin(
        lambda fd: (argv, _environment(fd, own_argv, lock_fd, is_safe_mode=is_safe_mode)), [lock_fd]
    )


def own_command(arguments: list[str]) -> list[str]:
    """The command that starts a guardian with `arguments`, as this one was started."""
    main = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    return [sys.executable, "-I", "-S", "-E", main, *arguments]


def _environment(fd: int, own_argv: list[str], lock_fd: int, *, is_safe_mode: bool) -> dict[str, str]:
    env = companion_process.environment()
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

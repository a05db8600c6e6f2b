"""How `droned-logs` comes to life.

Usage: python -I -S -E droned/logs/__main__.py --state DIR [--guardian-fd N]

Without a guardian it waits for one to attach. Exit codes: 75 when another
process captures here, 64 for wrong arguments, 73 when the folder cannot be
used, 70 for a fault of our own.
"""

import fcntl
import gc
import os
import resource
import signal
import socket
import sys
import time

from droned.logs import log
from droned.logs.capture import Capture
from droned.logs.format import LOCK
from droned.logs.loop import READ, Loop
from droned.logs.streams import FOLDER_MODE

EX_USAGE, EX_SOFTWARE, EX_CANTCREAT, EX_TEMPFAIL = 64, 70, 73, 75
_WAIT_S = 5.0
_STEP_S = 0.005
_VALUED = ("--state", "--guardian-fd")


class UsageError(Exception):
    """Arguments that are not understood."""


def parsed(arguments: list[str]) -> tuple[str, int | None]:
    """The state folder, and the descriptor of the connection to the guardian. Raises UsageError."""
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if word not in _VALUED:
            raise UsageError(f"cannot understand {word!r}")
        value = next(words, None)
        if value is None:
            raise UsageError(f"cannot find the value of {word}")
        options[word] = value
    if "--state" not in options:
        raise UsageError("cannot start without --state DIR")
    fd = options.get("--guardian-fd")
    if fd is not None and not fd.isdecimal():
        raise UsageError(f"cannot take {fd!r} as a descriptor")
    return options["--state"], None if fd is None else int(fd)


def main(arguments: list[str]) -> int:
    """Capture until told to go; the exit code."""
    try:
        state, guardian_fd = parsed(arguments)
        guardian = None if guardian_fd is None else socket.socket(fileno=guardian_fd)
    except (UsageError, OSError) as error:
        log.say(str(error))
        return EX_USAGE
    gc.disable()  # we make no cycles that last
    _raise_limit()
    folder = os.path.join(os.path.abspath(state), "logs")
    try:
        os.makedirs(folder, FOLDER_MODE, exist_ok=True)
        if not _locked(folder):
            log.say(f"cannot capture: another process does, with {folder}/{LOCK}")
            return EX_TEMPFAIL
        loop = Loop()
        _stop_by_signal(loop)
        capture = Capture(folder, loop)
    except OSError as error:
        log.say(f"cannot use {folder}: {error}")
        return EX_CANTCREAT
    try:
        if guardian is None:
            capture.link.be_alone()
        else:
            os.set_inheritable(guardian.fileno(), False)
            capture.link.begin(guardian)
        capture.run()
    except Exception:  # noqa: BLE001  # the border of the process: the guardian starts another
        import traceback  # nobody needs it before this

        log.say(traceback.format_exc().replace("\n", " | "))
        return EX_SOFTWARE
    return 0


def _raise_limit() -> None:
    """Two descriptors for each stream: as many as we may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            pass


def _locked(folder: str) -> bool:
    """Take the lock, which is ours until the end of the process; waits for one that is about to go."""
    fd = os.open(f"{folder}/{LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until = time.monotonic() + _WAIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                os.close(fd)
                return False
            time.sleep(_STEP_S)
            continue
        return True


def _stop_by_signal(loop: Loop) -> None:
    """TERM is a `go`; what a terminal sends is for others."""
    receive, send = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(send, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGTERM, lambda number, frame: None)

    def stop(events: int) -> None:
        os.read(receive, 64)
        loop.is_over = True

    loop.watch(receive, READ, stop)


def run() -> None:
    """The program."""
    sys.exit(main(sys.argv[1:]))

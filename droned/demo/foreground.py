"""The demo's process in the terminal: holds the demo's lock, waits for the guardian, and clears up after it.

It stands where systemd or init stands for a real droned: guardian and daemon may be killed as the user
likes, and only when both are gone is the guardian started again. The lock makes a second demo impossible;
it belongs to the open file, so it goes with the process however that ends.
"""

import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from types import FrameType

from droned.demo.prepare import control_command, prepare
from droned.errors import BadRequest, CannotRun, StateInUse
from droned.models.places import places_of

HELP = """usage: droned demo

Runs a small environment in the foreground, in folders of its own: a web server with two instances, a
worker, and something that fails now and then. Ctrl-C ends it; no process and no file is left."""
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GUARDIAN_POLL_S = 0.2


def demo_command(argv: list[str], environ: Mapping[str, str] = os.environ) -> list[str]:
    """The arguments of `droned run` that run the demo; `argv` is what followed the word `demo`.

    Returns in a child process only. The process that called it stays here until the demo has ended and
    leaves by SystemExit with the demo's exit status. Raises BadRequest for arguments, StateInUse while a
    demo runs, CannotRun when a folder or port is not to be had.
    """
    if argv and argv[0] in ("-h", "--help"):
        print(HELP)
        raise SystemExit(0)
    if argv:
        raise BadRequest(f'cannot take "{argv[0]}": the demo has no arguments')
    uid = os.getuid()
    places = places_of(uid, environ)
    made_run_dir = not os.path.isdir(places.run_dir)
    lock = take_lock(places.demo_state_dir)
    try:
        demo = prepare(uid, environ)
    except CannotRun:
        clear(places.demo_state_dir, places.run_dir if made_run_dir else None)
        raise
    print(demo.text, flush=True)
    foreground = Foreground(demo.state_dir)
    while True:
        child = os.fork()
        if child == 0:
            os.close(lock)
            for number in ENDING_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            return demo.arguments
        code = foreground.wait_for(child)
        if code is not None:
            break
        print(
            "droned demo: guardian and daemon are both gone; starting them again, as init would", flush=True
        )
    clear(demo.state_dir, places.run_dir if made_run_dir else None)
    if code == 0:
        print("The demo has ended: no process and no file is left.", flush=True)
    raise SystemExit(code)


class Foreground:
    """Waits for the demo's guardian, whichever process that is just now, and tells it to end."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._child: int | None = None
        """The guardian, as long as it is the one that we started and did not reap."""
        self._is_ending = False

    def wait_for(self, child: int) -> int | None:
        """The exit status once neither the guardian `child` nor a successor is there; None after a KILL."""
        self._child = child
        for number in ENDING_SIGNALS:
            signal.signal(number, self._end)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self._child = None
        named = guardian_file(self._state_dir)
        had_begun = os.path.exists(named)
        while is_held(f"{self._state_dir}/lock"):
            if self._is_ending:
                self._pass_on()
            time.sleep(GUARDIAN_POLL_S)
        if code >= 0:
            return code
        if os.path.exists(named):
            return None
        # A guardian takes its name away when it ends in order: so did the one that took the place of ours.
        return 0 if had_begun else 128 - code

    def _end(self, number: int, frame: FrameType | None) -> None:
        """A signal to us: note it and pass it on."""
        self._is_ending = True
        self._pass_on()

    def _pass_on(self) -> None:
        """Ask the guardian for an ordered stop; the terminal may have done so already, and twice is once."""
        pid = self._child or guardian_pid(self._state_dir)
        try:
            if pid is not None:
                os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass  # gone since; a successor is asked in the next turn of wait_for


def take_lock(state_dir: str) -> int:
    """A descriptor that holds the demo's lock; the state folder is made if need be.

    Raises StateInUse while another demo holds it or its guardian lives on without it, CannotRun without
    permission.
    """
    path = f"{state_dir}/demo.lock"
    try:
        while True:
            os.makedirs(state_dir, mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if not _lock(descriptor) or is_held(f"{state_dir}/lock"):
                os.close(descriptor)
                guardian = guardian_pid(state_dir) or "unknown"
                raise StateInUse(
                    f"cannot start a second demo: one runs already (guardian {guardian}); "
                    f"end it with: {control_command()} daemon shutdown"
                )
            # The demo before us may have removed the file between our open and our lock.
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
            os.close(descriptor)
    except OSError as error:
        raise CannotRun(f"cannot use {state_dir} for the demo: {error.strerror}") from error


def _lock(descriptor: int) -> bool:
    """Take the lock of an open file; False when another open file holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: str) -> bool:
    """Does another process hold the lock file `path`? A missing one is held by nobody."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def guardian_file(state_dir: str) -> str:
    """The file in which a guardian says who it is."""
    return f"{state_dir}/guardian/guardian.json"


def guardian_pid(state_dir: str) -> int | None:
    """The guardian that the state folder names; None when it names none that lives."""
    try:
        with open(guardian_file(state_dir), "rb") as file:
            named = json.load(file)
        with open(f"/proc/{int(named['pid'])}/stat", "rb") as file:
            start_time = int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return int(named["pid"]) if start_time == named.get("start_time") else None


def clear(state_dir: str, run_dir: str | None) -> None:
    """Remove the demo's files, and `run_dir` if it is given and empty."""
    shutil.rmtree(state_dir, ignore_errors=True)
    if os.path.exists(state_dir):
        print(f"droned demo: cannot remove all of {state_dir}", file=sys.stderr)
    if run_dir is not None:
        try:
            os.rmdir(run_dir)
        except OSError:
            pass  # somebody else's socket is in it by now

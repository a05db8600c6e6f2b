"""`droned run --daemonize`: leave the terminal, and say truthfully how the start went.

The process that was called stays until droned is in control, or until it has
ended with its reasons in the log, and gives its exit status accordingly.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

IN_CONTROL_WITHIN_S = 60.0
LOOK_S = 0.05
SETTLED_S = 5.0
"""A guardian that lives so long is taken for started, where its socket is not the one expected."""
SHOWN_BYTES = 4096


def go_to_background(state_dir: str, socket_path: str) -> None:
    """Return in a process without a terminal, its output in `droned.log`; the caller never returns."""
    log_path = f"{state_dir}/droned.log"
    log = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    begins_at = os.fstat(log).st_size
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        pid = int(os.read(reader, 32) or b"0")
        os._exit(_outcome(pid, state_dir, socket_path, log_path, begins_at))
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(writer, str(os.getpid()).encode())
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    os.chdir("/")


def _outcome(pid: int, state_dir: str, socket_path: str, log_path: str, begins_at: int) -> int:
    """Wait for droned (its guardian is `pid`); the exit status for the one who called."""
    began = time.monotonic()
    while time.monotonic() - began < IN_CONTROL_WITHIN_S:
        if not _lives(pid):
            _show_end_of(log_path, begins_at)
            return 1
        is_ours = _guardian_of(state_dir) == pid
        if is_ours and (_answers(socket_path) or time.monotonic() - began > SETTLED_S):
            return 0
        time.sleep(LOOK_S)
    print(f"droned: not in control after {IN_CONTROL_WITHIN_S:.0f} s; see {log_path}", file=sys.stderr)
    return 1


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _guardian_of(state_dir: str) -> int | None:
    try:
        with open(f"{state_dir}/guardian/guardian.json", "rb") as file:
            pid = json.load(file)["pid"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if isinstance(pid, int) else None


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def _show_end_of(log_path: str, begins_at: int) -> None:
    """What the log says of this start, on standard error."""
    with open(log_path, "rb") as log:
        log.seek(begins_at)
        said = log.read()[-SHOWN_BYTES:]
    sys.stderr.write(said.decode("utf-8", "replace"))
    sys.stderr.flush()

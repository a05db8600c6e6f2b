"""The process of `droned-logs`: what it is started with, and how one that lives is found."""

import fcntl
import os
import socket
import struct
import sys

from droned.guardian import companion_process, processes
from droned.guardian.companion_process import Life

_FOLDER = "logs"
_ATTACH = b'{"do":"attach"}'
_MAIN = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "logs", "__main__.py")


def begin_life(state_dir: str) -> Life:
    """Start a `droned-logs`, which is our child. Raises OSError."""
    return companion_process.begin(lambda fd: (_command(state_dir, fd), companion_process.environment()))


def _command(state_dir: str, fd: int) -> list[str]:
    return [sys.executable, "-I", "-S", "-E", _MAIN, "--state", state_dir, "--guardian-fd", str(fd)]


def attached(state_dir: str) -> Life | None:
    """The one that lives, which was told that we are its guardian from now on; None when there is none.

    Its pid is that of the process that listens at its socket, which has to be our own user's.
    """
    try:
        folder = os.open(os.path.join(state_dir, _FOLDER), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        sock.connect(f"/proc/self/fd/{folder}/.socket")  # the path itself may be too long for a socket's
        pid, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        # Processes that it has started may hold its socket open when it is gone.
        if uid == os.geteuid() and processes.is_running(pid):
            sock.send(_ATTACH)
            return pid, sock
    except OSError:
        pass
    finally:
        os.close(folder)
    sock.close()
    return None


def is_held(state_dir: str) -> bool:
    """Whether some `droned-logs` has the folder: one that is just starting, or hangs."""
    try:
        fd = os.open(os.path.join(state_dir, _FOLDER, ".lock"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False

"""System calls that Python's os module does not have, and what this kernel lacks.

`splice` can be switched off for tests by naming it in the environment variable DRONED_WITHOUT.
"""

import fcntl
import os
import select
import struct
import termios

_PR_SET_PDEATHSIG = 1
_SPLICE_F_NONBLOCK = 2
_F_SETPIPE_SZ = 1031


def has_splice() -> bool:
    """Whether bytes can be moved from pipe to file within the kernel."""
    return hasattr(os, "splice") and "splice" not in os.environ.get("DRONED_WITHOUT", "").split(",")


def tee(source: int, target: int, most: int) -> int:
    """Copy up to `most` bytes from one pipe to another, and leave them in the first; 0 at its end.

    Raises BlockingIOError where there is nothing, or no room.
    """
    import ctypes  # a quarter of a megabyte that is needed when the first segment ends

    libc = ctypes.CDLL(None, use_errno=True)
    count = int(libc.tee(source, target, ctypes.c_size_t(most), _SPLICE_F_NONBLOCK))
    if count < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return count


def bytes_in(pipe: int) -> int:
    """How many bytes are in a pipe now."""
    count: int = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0\0\0\0"))[0]
    return count


def at_end(pipe: int) -> bool:
    """Whether a pipe is empty and nobody can write to it any more."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return any(events & select.POLLHUP and not events & select.POLLIN for _, events in poll.poll(0))


def enlarge(pipe: int, size: int) -> bool:
    """Give a pipe more room; False where this user may not."""
    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, size)
    except OSError:
        return False
    return True


def die_with_parent(parent: int, number: int) -> None:
    """Have signal `number` sent to this process when its parent is gone, also when it is already."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)

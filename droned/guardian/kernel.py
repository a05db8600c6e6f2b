"""System calls that Python's os module does not have, and what this kernel lacks.

Each optional ability (`cgroup`, `pidfd`, `posix_spawn`, `subreaper`) can be
switched off for tests by naming it in the environment variable DRONED_WITHOUT.
"""

import ctypes
import errno
import fcntl
import os
import signal
import struct

ABILITIES = ("cgroup", "pidfd", "posix_spawn", "subreaper")

# These calls are short: no thread has to wait for the interpreter lock meanwhile.
_libc = ctypes.PyDLL(None, use_errno=True)

_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
_SYS_CLOSE_RANGE = 436  # on every architecture
_CLOSE_RANGE_CLOEXEC = 4
_FALLOC_FL_KEEP_SIZE = 1
_PIDFD_GET_INFO = 0xC040_FF0B
_PIDFD_INFO_EXIT = 8
_SIGNALFD_BYTES = 128
_HIGHEST_FD = 0xFFFF_FFFF

_sigset_all = ctypes.create_string_buffer(b"\xff" * 128, 128)
_sigset_none = ctypes.create_string_buffer(128)


def switched_off() -> frozenset[str]:
    """The abilities that DRONED_WITHOUT takes away."""
    return frozenset(os.environ.get("DRONED_WITHOUT", "").split(",")) & frozenset(ABILITIES)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


# ---- processes


def become_subreaper() -> bool:
    """Have orphans below this process land here; False where the kernel cannot."""
    return _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0  # type: ignore[no-any-return]


def forbid_new_privileges() -> None:
    """Set no_new_privs for this process; OSError where it cannot be set."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def close_all_but(kept: list[int]) -> None:
    """Close every descriptor from 3 on that is not in `kept` (ascending)."""
    _each_gap(kept, 0)


def keep_from_children(kept: list[int]) -> None:
    """Have every descriptor from 3 on that is not in `kept` (ascending) closed by exec."""
    _each_gap(kept, _CLOSE_RANGE_CLOEXEC)


def _each_gap(kept: list[int], flags: int) -> None:
    first = 3
    for fd in (*kept, _HIGHEST_FD + 1):
        if fd > first and _libc.syscall(_SYS_CLOSE_RANGE, first, fd - 1, flags) < 0:
            _each_listed(set(kept), flags)
            return
        first = max(first, fd + 1)


def _each_listed(kept: set[int], flags: int) -> None:
    """The same for kernels before 5.9 (close_range) or 5.11 (its flag)."""
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd < 3 or fd in kept:
            continue
        try:
            if flags:
                os.set_inheritable(fd, False)
            else:
                os.close(fd)
        except OSError as error:
            if error.errno != errno.EBADF:  # the one that listed the folder
                raise


# ---- signals: all of them are blocked for good and read from a descriptor


def block_signals() -> None:
    """Block every signal; none is lost, they wait to be read."""
    _checked(_libc.sigprocmask(int(signal.SIG_SETMASK), _sigset_all, None))


def unblock_signals() -> None:
    """Let every signal through; for a child just before it executes its program.

    Python's own call makes an enumeration member of each signal that was blocked, which a new child would
    pay for with 0.2 ms.
    """
    _checked(_libc.sigprocmask(int(signal.SIG_SETMASK), _sigset_none, None))


def open_signal_descriptor() -> int:
    """A non-blocking descriptor from which blocked signals are read."""
    return _checked(_libc.signalfd(-1, _sigset_all, os.O_CLOEXEC | os.O_NONBLOCK))


def read_signals(fd: int) -> list[int]:
    """The numbers of the signals that have come, each once however often it came."""
    try:
        content = os.read(fd, 64 * _SIGNALFD_BYTES)
    except BlockingIOError:
        return []
    starts = range(0, len(content), _SIGNALFD_BYTES)
    return [struct.unpack_from("=I", content, start)[0] for start in starts]


# ---- files


def preallocate(fd: int, size_bytes: int) -> None:
    """Reserve `size_bytes` on disk without making the file longer; OSError where it cannot be done."""
    call = getattr(_libc, "fallocate64", None) or _libc.fallocate
    _checked(call(fd, _FALLOC_FL_KEEP_SIZE, ctypes.c_int64(0), ctypes.c_int64(size_bytes)))


# ---- pidfds


def has_pidfd() -> bool:
    """Whether processes can be held by descriptors here."""
    if "pidfd" in switched_off():
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def tells_exit_status() -> bool:
    """Whether this kernel is one that tells the wait status of others' children once they are reaped."""
    record = bytearray(64)
    try:
        pidfd = os.pidfd_open(os.getpid())
    except (AttributeError, OSError):
        return False
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, record)
    except OSError:
        return False
    finally:
        os.close(pidfd)
    return True


def exit_status(pidfd: int) -> int | None:
    """The raw wait status of the dead process behind `pidfd`, whoever reaped it; None while nobody can say.

    Kernels tell it from 6.15 on, once the process has been reaped.
    """
    record = bytearray(64)
    struct.pack_into("=Q", record, 0, _PIDFD_INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, record)
    except OSError:
        return None
    (mask,) = struct.unpack_from("=Q", record, 0)
    if not mask & _PIDFD_INFO_EXIT:
        return None
    (status,) = struct.unpack_from("=i", record, 60)
    return int(status)

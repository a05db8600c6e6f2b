"""Calls of the kernel that are over at once, made without letting go of the interpreter lock.

Python lets go of it around every call, and who wants it back may have to wait
for another thread: at a thousand launches a second that costs more than the
calls. So our threads make by these what cannot wait for a disk, and by Python's
own what can. Only for files of the kernel and descriptors that are open.
"""

import ctypes
import fcntl
import os
import termios

_libc = ctypes.PyDLL(None, use_errno=True)
_READ_BYTES = 4096


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def read(path: bytes) -> bytes:
    """The first 4,096 bytes of a file of the kernel. Raises OSError."""
    fd = _checked(_libc.open(path, os.O_RDONLY | os.O_CLOEXEC))
    try:
        content = ctypes.create_string_buffer(_READ_BYTES)
        length = _checked(_libc.read(fd, content, _READ_BYTES))
        return content.raw[:length]
    finally:
        _libc.close(fd)


def open_for_writing(path: bytes) -> int:
    """A descriptor of a file of the kernel. Raises OSError."""
    return _checked(_libc.open(path, os.O_WRONLY | os.O_CLOEXEC))


def open_to_append(path: bytes) -> int:
    """A descriptor of a file, each write to which goes to its end. Raises OSError."""
    return _checked(_libc.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))


def open_for_both(path: bytes) -> int:
    """A descriptor for reading and writing of a file of the kernel. Raises OSError."""
    return _checked(_libc.open(path, os.O_RDWR | os.O_CLOEXEC))


def pipe() -> tuple[int, int]:
    """Read end and write end of a new pipe, neither of which waits. Raises OSError."""
    ends = (ctypes.c_int * 2)()
    _checked(_libc.pipe2(ends, os.O_CLOEXEC | os.O_NONBLOCK))
    return ends[0], ends[1]


def write(fd: int, content: bytes) -> int:
    """How many bytes of `content` were written. Raises OSError."""
    return _checked(_libc.write(fd, content, len(content)))


def bytes_in(pipe: int) -> int:
    """How many bytes wait in a pipe; 0 where that cannot be told."""
    count = ctypes.c_int(0)
    _libc.ioctl(pipe, ctypes.c_ulong(termios.FIONREAD), ctypes.byref(count))
    return count.value


def close(fd: int) -> None:
    """Close a descriptor."""
    _libc.close(fd)


def have_wait(fd: int, flags: int) -> None:
    """Set the status flags of an open file: the way to take O_NONBLOCK off it."""
    _libc.fcntl(fd, fcntl.F_SETFL, flags)


def wake(eventfd: int) -> None:
    """Add 1 to an event counter."""
    _libc.eventfd_write(eventfd, ctypes.c_uint64(1))

"""posix_spawn as the C library has it: a program is executed without a copy of anything of ours.

It holds the thread that calls it until the program is executed, which a slow
disk can make long; so it is for threads of their own, and it is called in a way
that lets go of the interpreter's lock meanwhile, as Python's own does not.

A child begins a session of its own, with no signal blocked and each at its
default; it has three descriptors, the caller's folder and umask (each thread
of ours that calls this has its own) and our limits. It gets a copy of the
caller's table of descriptors first, which exec closes again: with two thousand
in it that takes longer than all the rest. So the threads have tables of their
own, with next to nothing in them.
"""

import ctypes
import errno
import os
import sys

_CLONE_FS, _CLONE_FILES = 0x200, 0x400
_SETSIGDEF, _SETSIGMASK, _SETSID = 0x04, 0x08, 0x80
_SIGNAL_SET_BYTES = 128
_ROOM_BYTES = 512  # for the library's structures: 336 and 80 bytes in glibc, less in musl

# Short calls keep the interpreter's lock: whoever lets go of it may wait for it.
_short = ctypes.PyDLL(None, use_errno=True)
_long = ctypes.CDLL(None)


def is_there() -> bool:
    """Whether this system has what the module needs.

    With glibc: in musl the call holds a lock over the whole of it that a fork needs too.
    """
    needed = (
        "gnu_get_libc_version",
        "posix_spawn",
        "posix_spawn_file_actions_adddup2",
        "posix_spawnattr_setsigmask",
        "unshare",
    )
    return sys.platform == "linux" and all(hasattr(_short, name) for name in needed)


def have_own_world() -> None:
    """Give the calling thread a folder, umask and table of descriptors that no other has. Raises OSError.

    The table is a copy of the one that the others share, to be closed but for what is needed.
    """
    if _short.unshare(_CLONE_FS | _CLONE_FILES) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Attributes:
    """What all children have in common; one for each thread."""

    __slots__ = ("_actions", "_attributes")

    def __init__(self) -> None:
        self._attributes = ctypes.create_string_buffer(_ROOM_BYTES)
        self._actions = ctypes.create_string_buffer(_ROOM_BYTES)
        signals = ctypes.create_string_buffer(_ROOM_BYTES)
        _short.posix_spawnattr_init(self._attributes)
        _short.sigemptyset(signals)
        _short.posix_spawnattr_setsigmask(self._attributes, signals)
        # Not by sigfillset: it leaves two out, which the library would then have children ignore.
        ctypes.memset(signals, 0xFF, _SIGNAL_SET_BYTES)
        _short.posix_spawnattr_setsigdefault(self._attributes, signals)
        flags = ctypes.c_short(_SETSIGDEF | _SETSIGMASK | _SETSID)
        _short.posix_spawnattr_setflags(self._attributes, flags)

    def spawn(
        self, paths: list[bytes], argv: list[bytes], env: dict[bytes, bytes], streams: tuple[int, int, int]
    ) -> int:
        """Execute the first of `paths` that can be, `streams` being its descriptors 0, 1 and 2; its pid.

        Raises OSError; the error of a program that is there beats the absence of others.
        """
        arguments = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
        entries = [key + b"=" + value for key, value in env.items()]
        environment = (ctypes.c_char_p * (len(entries) + 1))(*entries, None)
        pid = ctypes.c_int()
        failure = 0
        _short.posix_spawn_file_actions_init(self._actions)
        try:
            for target, fd in enumerate(streams):
                _short.posix_spawn_file_actions_adddup2(self._actions, fd, target)
            for path in paths:
                number = _long.posix_spawn(
                    ctypes.byref(pid), path, self._actions, self._attributes, arguments, environment
                )
                if number == 0:
                    return pid.value
                if number in (errno.ENOENT, errno.ENOTDIR):
                    failure = failure or number
                elif number == errno.EACCES:
                    failure = number
                else:
                    raise OSError(number, os.strerror(number))
        finally:
            _short.posix_spawn_file_actions_destroy(self._actions)
        raise OSError(failure or errno.ENOENT, os.strerror(failure or errno.ENOENT))

"""The journal's folder: its system calls, each relative to one open folder.

Blocking; called from the journal's thread only. Every call raises OSError.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Protocol

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe in the place of a file must not hold the opening up.
_OLD_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ZEROS = 1 << 20
_sync_content = getattr(os, "fdatasync", os.fsync)


class FilesLost(OSError):
    """The folder or the file that was written is no longer where it belongs: moved or deleted."""


class IFolder(Protocol):
    """What the journal needs of a folder; the tests have one in memory that can crash and fail."""

    def make(self) -> None:
        """Make the folder (mode 0700) where it is missing, and hold it open."""

    def check(self, descriptor: int | None) -> None:
        """Raise FilesLost when the folder, or the open file if one is given, was moved or deleted."""

    def names(self) -> list[str]:
        """The names of all files."""

    def size(self, name: str) -> int:
        """A file's size in bytes."""

    def read(self, name: str, limit: int) -> bytes:
        """A regular file's content, of at most `limit` bytes."""

    def create(self, name: str) -> int:
        """A new, empty file (mode 0600) in the place of any of that name, open for writing."""

    def write(self, descriptor: int, content: bytes, at: int) -> None:
        """Write all of `content` at the offset `at`."""

    def allocate(self, descriptor: int, size: int) -> None:
        """Make the file `size` bytes long, the new ones zeros that the disk has room for."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Make the file `size` bytes long."""

    def trim(self, name: str, size: int) -> None:
        """Make the named file `size` bytes long."""

    def sync(self, descriptor: int) -> None:
        """Bring what was written, and the file's size, to the disk."""

    def close(self, descriptor: int) -> None:
        """Close an open file."""

    def rename(self, old: str, new: str) -> None:
        """Give a file another name, in the place of any that has it."""

    def keep_as(self, name: str, other: str) -> None:
        """Give a file a second name, or another one where the file system knows no second ones."""

    def remove(self, name: str) -> None:
        """Delete a file."""

    def sync_names(self) -> None:
        """Bring creations, renames and deletions to the disk."""


class Folder:
    """An `IFolder` on the file system."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._folder: int | None = None

    @property
    def path(self) -> str:
        """The folder's absolute path."""
        return self._path

    @property
    def _open(self) -> int:
        if self._folder is None:
            raise FilesLost(errno.ENOENT, "the journal's folder is not open", self._path)
        return self._folder

    def make(self) -> None:
        """See `IFolder`."""
        os.makedirs(os.path.dirname(self._path), mode=0o755, exist_ok=True)
        try:
            os.mkdir(self._path, 0o700)
        except FileExistsError:
            pass
        opened = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if self._folder is not None:
            os.close(self._folder)
        self._folder = opened

    def leave(self) -> None:
        """Close the folder itself."""
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None

    def check(self, descriptor: int | None) -> None:
        """See `IFolder`."""
        try:
            here = os.stat(self._path)
        except FileNotFoundError as error:
            raise FilesLost(errno.ENOENT, "the journal's folder is gone", self._path) from error
        held = os.fstat(self._open)
        if (here.st_dev, here.st_ino) != (held.st_dev, held.st_ino):
            raise FilesLost(errno.ENOENT, "the journal's folder was moved away", self._path)
        if descriptor is not None and os.fstat(descriptor).st_nlink == 0:
            raise FilesLost(errno.ENOENT, "the journal's newest file was deleted", self._path)

    def names(self) -> list[str]:
        """See `IFolder`."""
        return os.listdir(self._open)

    def size(self, name: str) -> int:
        """See `IFolder`."""
        return os.stat(name, dir_fd=self._open, follow_symlinks=False).st_size

    def read(self, name: str, limit: int) -> bytes:
        """See `IFolder`."""
        descriptor = os.open(name, _OLD_FILE, dir_fd=self._open)
        with open(descriptor, "rb", buffering=0) as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(errno.EINVAL, "this is no regular file", name)
            if found.st_size > limit:
                raise OSError(errno.EFBIG, f"the file is larger than {limit} bytes", name)
            return opened.read()

    def create(self, name: str) -> int:
        """See `IFolder`."""
        try:
            return os.open(name, _NEW_FILE, 0o600, dir_fd=self._open)
        except FileExistsError:
            os.unlink(name, dir_fd=self._open)
            return os.open(name, _NEW_FILE, 0o600, dir_fd=self._open)

    def write(self, descriptor: int, content: bytes, at: int) -> None:
        """See `IFolder`."""
        left = memoryview(content)
        while left:
            done = os.pwrite(descriptor, left, at)
            left, at = left[done:], at + done

    def allocate(self, descriptor: int, size: int) -> None:
        """See `IFolder`."""
        try:
            os.posix_fallocate(descriptor, 0, size)
        except (AttributeError, OSError) as error:
            # Not on this system, or not on this file system: zeros that are written hold their room as well.
            if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
            held = os.fstat(descriptor).st_size
            while held < size:
                held += os.pwrite(descriptor, bytes(min(size - held, _ZEROS)), held)

    def truncate(self, descriptor: int, size: int) -> None:
        """See `IFolder`."""
        os.ftruncate(descriptor, size)

    def trim(self, name: str, size: int) -> None:
        """See `IFolder`."""
        descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._open)
        try:
            os.ftruncate(descriptor, size)
        finally:
            os.close(descriptor)

    def sync(self, descriptor: int) -> None:
        """See `IFolder`."""
        _sync_content(descriptor)

    def close(self, descriptor: int) -> None:
        """See `IFolder`."""
        os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        """See `IFolder`."""
        os.rename(old, new, src_dir_fd=self._open, dst_dir_fd=self._open)

    def keep_as(self, name: str, other: str) -> None:
        """See `IFolder`."""
        try:
            os.link(name, other, src_dir_fd=self._open, dst_dir_fd=self._open, follow_symlinks=False)
        except OSError:
            # vfat and others; a folder in the place of a file; no more room for a name that is new.
            self.rename(name, other)

    def remove(self, name: str) -> None:
        """See `IFolder`."""
        os.unlink(name, dir_fd=self._open)

    def sync_names(self) -> None:
        """See `IFolder`."""
        os.fsync(self._open)

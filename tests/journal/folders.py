"""A folder in memory that can fail at any call and lose power at any moment."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from droned.drivers.journal_folder import FilesLost
from droned.journal.format import SECTOR_BYTES

Before = Callable[[str], OSError | None]
"""Called with the name of each call before it is made; what it gives is raised instead."""


class _File:
    def __init__(self) -> None:
        self.content = bytearray()
        self.synced = b""
        self.writes: list[tuple[int, bytes]] = []
        """Since the last sync: content at an offset; an offset of -1 is a new size in the content's place."""
        self.is_listed = True


class MemoryFolder:
    """An `IFolder`; `before` watches every call."""

    def __init__(self, before: Before = lambda call: None) -> None:
        self.before = before
        self.files: dict[str, _File] = {}
        self.is_gone = False
        self._synced_names: dict[str, _File] = {}
        self._open: dict[int, _File] = {}
        self._next = 3
        self._name_changes: list[tuple[str, _File | None]] = []

    def crashed(self, rng: random.Random) -> MemoryFolder:
        """What could be found after a power cut now: synced is there, the rest by chance, in any order."""
        found = MemoryFolder()
        names = dict(self._synced_names)
        # Names change in order (a file system's own journal), but how many of the changes made it is chance.
        for name, file in self._name_changes[: rng.randint(0, len(self._name_changes))]:
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        for name, file in names.items():
            survived = _File()
            survived.content = bytearray(_survived(file, rng))
            survived.synced = bytes(survived.content)
            found.files[name] = survived
        found._synced_names = dict(found.files)
        return found

    @property
    def open_files(self) -> int:
        """How many files are open."""
        return len(self._open)

    def make(self) -> None:
        self._call("make")
        if self.is_gone:
            self.files, self._synced_names, self._name_changes = {}, {}, []
            self.is_gone = False

    def check(self, descriptor: int | None) -> None:
        self._call("check")
        if self.is_gone or (descriptor is not None and not self._open[descriptor].is_listed):
            raise FilesLost(errno.ENOENT, "the journal's folder is gone")

    def names(self) -> list[str]:
        self._call("names")
        return list(self.files)

    def size(self, name: str) -> int:
        return len(self.files[name].content)

    def read(self, name: str, limit: int) -> bytes:
        self._call("read")
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        return bytes(self.files[name].content)

    def create(self, name: str) -> int:
        self._call("create")
        if self.is_gone:
            raise FileNotFoundError(errno.ENOENT, "no such folder", name)
        file = _File()
        self._name(name, file)
        self._next += 1
        self._open[self._next] = file
        return self._next

    def write(self, descriptor: int, content: bytes, at: int) -> None:
        file = self._open[descriptor]
        try:
            self._call("write")
        except OSError:
            # A short write: some of it is there.
            self._write(file, content[: len(content) // 2], at)
            raise
        self._write(file, content, at)

    def allocate(self, descriptor: int, size: int) -> None:
        self._call("allocate")
        self._resize(self._open[descriptor], max(size, len(self._open[descriptor].content)))

    def truncate(self, descriptor: int, size: int) -> None:
        self._call("truncate")
        self._resize(self._open[descriptor], size)

    def trim(self, name: str, size: int) -> None:
        self._call("trim")
        self._resize(self.files[name], size)

    def sync(self, descriptor: int) -> None:
        file = self._open[descriptor]
        try:
            self._call("sync")
        except OSError:
            # What the kernel could not write is gone; the next sync would say that all is well.
            file.writes = []
            raise
        file.synced = bytes(file.content)
        file.writes = []

    def close(self, descriptor: int) -> None:
        del self._open[descriptor]

    def rename(self, old: str, new: str) -> None:
        self._call("rename")
        file = self.files[old]
        if new in self.files:
            self.files[new].is_listed = False
        self.files[new] = self.files.pop(old)
        self._name_changes += [(new, file), (old, None)]

    def keep_as(self, name: str, other: str) -> None:
        self._call("keep_as")
        self._name(other, self.files[name])

    def remove(self, name: str) -> None:
        self._call("remove")
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "no such file", name)
        self.files.pop(name).is_listed = False
        self._name_changes.append((name, None))

    def sync_names(self) -> None:
        self._call("sync_names")
        self._synced_names = dict(self.files)
        self._name_changes = []

    def _call(self, call: str) -> None:
        error = self.before(call)
        if error is not None:
            raise error

    def _name(self, name: str, file: _File) -> None:
        self.files[name] = file
        self._name_changes.append((name, file))

    def _write(self, file: _File, content: bytes, at: int) -> None:
        if len(file.content) < at:
            file.content.extend(bytes(at - len(file.content)))
        file.content[at : at + len(content)] = content
        file.writes.append((at, content))

    def _resize(self, file: _File, size: int) -> None:
        del file.content[size:]
        file.content.extend(bytes(size - len(file.content)))
        file.writes.append((-1, size.to_bytes(8, "little")))


def _survived(file: _File, rng: random.Random) -> bytes:
    content = bytearray(file.synced)
    share = rng.choice((0.0, 0.3, 0.7, 1.0))
    for at, written in file.writes:
        if at < 0:
            if rng.random() < max(share, 0.5):
                size = int.from_bytes(written, "little")
                del content[size:]
                content.extend(bytes(size - len(content)))
            continue
        start = at
        while start < at + len(written):
            end = min((start // SECTOR_BYTES + 1) * SECTOR_BYTES, at + len(written))
            # A file system shows no byte behind the size that it has on disk.
            if rng.random() < share and end <= len(content):
                content[start:end] = written[start - at : end - at]
            start = end
    return bytes(content)

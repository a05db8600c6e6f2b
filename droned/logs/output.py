"""One stream in another format: what of it is written, and where its raw bytes are."""

import json
import os
import zlib
from collections.abc import Callable
from typing import Any

from droned.logs.copies import numbered
from droned.logs.format import SegmentName, segment_name, segment_named
from droned.logs.formats import DERIVED, STAMPED, as_json, stamped
from droned.logs.streams import FILE_MODE, make_folder, read_piece, save_place

_LONGEST_LINE = 1024 * 1024
_PIECE_BYTES = 1024 * 1024


class RawBytes:
    """The bytes of a stream by offset, from its segments."""

    __slots__ = ("_names", "_opened", "folder", "stream")

    def __init__(self, folder: str, stream: str) -> None:
        self.folder = folder
        self.stream = stream
        self._names: list[SegmentName] = []
        self._opened: tuple[int, Any] | None = None

    def read(self, begin: int, end: int) -> tuple[int, bytes]:
        """The first bytes from `begin` on that are there, and where they begin; none from `end` on."""
        for is_fresh in (False, True):
            if is_fresh:
                self._look()
            for number, name in enumerate(self._names):
                after = self._names[number + 1].start if number + 1 < len(self._names) else None
                if name.start >= end or (after is not None and after <= begin):
                    continue
                at = max(begin, name.start)
                until = min(end, after if after is not None else end, at + _PIECE_BYTES)
                piece = self._piece(name, at - name.start, until - name.start)
                if piece:
                    return at, piece
        return end, b""

    def _look(self) -> None:
        try:
            files = os.listdir(self.folder)
        except OSError:
            files = []
        found = {
            name.start: name
            for file in sorted(files)
            if (name := segment_named(file)) is not None and name.stream == self.stream
        }
        self._names = [found[start] for start in sorted(found)]

    def _piece(self, name: SegmentName, begin: int, end: int) -> bytes:
        path = f"{self.folder}/{segment_name(self.stream, name.start, is_compressed=name.is_compressed)}"
        if not name.is_compressed:
            return read_piece(path, begin, end)
        import gzip  # only who has fallen far behind reads what is compressed

        if self._opened is None or self._opened[0] != name.start:
            if self._opened is not None:
                self._opened[1].close()
            try:
                self._opened = (name.start, gzip.open(path))  # noqa: SIM115  # kept for the next piece
            except OSError:
                return b""
        try:
            self._opened[1].seek(begin)
            return self._opened[1].read(end - begin)
        except (OSError, EOFError, zlib.error):
            return b""


class Output:
    """The file of one stream in one format.

    `done` is the offset of the first byte that no line of it has; `rotated` gets
    instance and stream when its older files are not what they were.
    """

    __slots__ = (
        "_carry",
        "_fd",
        "_format",
        "_is_changed",
        "_keep",
        "_max_size",
        "_path",
        "_raw",
        "_read",
        "_rotated",
        "_size",
        "done",
        "instance",
        "stream",
    )

    def __init__(
        self,
        raw: RawBytes,
        instance: str,
        stream: str,
        kind: str,
        max_size: int,
        keep: int,
        start: int,
        rotated: Callable[[str, str], None],
    ) -> None:
        self._raw = raw
        self.instance = instance
        self.stream = stream
        self._format = kind
        self._max_size = max_size
        self._keep = keep
        self._path = f"{raw.folder}/{stream}.{DERIVED[kind]}"
        self._carry = b""
        self._is_changed = False
        self._rotated = rotated
        self.done, self._size = self._saved(start)
        self._read = self.done
        make_folder(raw.folder)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        self._size = min(self._size, os.fstat(self._fd).st_size)
        os.ftruncate(self._fd, self._size)
        os.lseek(self._fd, 0, os.SEEK_END)
        if self._older(keep)[1]:
            rotated(instance, stream)

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def take(self, end: int, time_us: int, run: int | None) -> None:
        """Write the lines of what was captured up to `end`, which no tick before this one told of."""
        while self._read < end:
            begin, piece = self._raw.read(self._read, end)
            if begin > self._read:  # deleted before we came to it
                self._carry = b""
                self.done = begin
            self._read = begin + len(piece)
            text = self._carry + piece
            cut = text.rfind(b"\n") + 1
            if cut:
                self._write(text[:cut], time_us, run)
                self.done += cut
            self._carry = text[cut:]
            if len(self._carry) >= _LONGEST_LINE:
                self._write(self._carry + b"\n", time_us, run)
                self.done += len(self._carry)
                self._carry = b""

    def finish_line(self, end: int, time_us: int, run: int | None) -> None:
        """The run ended there: what has no newline is a line as well."""
        if self._carry and self._read == end:
            self._write(self._carry + b"\n", time_us, run)
            self.done = end
            self._carry = b""

    def _write(self, lines: bytes, time_us: int, run: int | None) -> None:
        if self._size >= self._max_size:
            self.save()
            self._rotate()
        if self._format == STAMPED:
            text = stamped(lines, time_us)
        else:
            text = as_json(lines, time_us, self.instance, run, self.stream)
        view = memoryview(text)
        while view:
            view = view[os.write(self._fd, view) :]
        self._size += len(text)
        self._is_changed = True

    def save(self) -> None:
        """Say how far it is, if that has changed."""
        if not self._is_changed:
            return
        save_place(self._path, self.done, self._size)
        self._is_changed = False

    def _saved(self, start: int) -> tuple[int, int]:
        try:
            with open(f"{self._path}.at", "rb", buffering=0) as file:
                told = json.loads(file.readall())
            return int(told["raw"]), int(told["size"])
        except (OSError, ValueError, KeyError, TypeError):
            return start, 0

    def _rotate(self) -> None:
        """Begin another file; what the side file says is whole, so its name is all that it loses."""
        os.close(self._fd)
        for number in reversed(self._older(self._keep - 1)[0]):
            _move(f"{self._path}.{number}", f"{self._path}.{number + 1}")
        if self._keep:
            _move(self._path, f"{self._path}.1")
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
        self._size = 0
        self._is_changed = True
        self.save()
        self._rotated(self.instance, self.stream)

    def _older(self, most: int) -> tuple[list[int], list[int]]:
        """The numbers of older files up to `most`, ascending, and those above it, which are deleted."""
        newest = os.path.basename(self._path)
        numbers = sorted(filter(None, (numbered(file, newest) for file in os.listdir(self._raw.folder))))
        surplus = [number for number in numbers if number > most]
        for number in surplus:
            try:
                os.unlink(f"{self._path}.{number}")
            except FileNotFoundError:
                pass
        return numbers[: len(numbers) - len(surplus)], surplus


def _move(path: str, to: str) -> None:
    """Rename a file, unless it was deleted meanwhile."""
    try:
        os.replace(path, to)
    except FileNotFoundError:
        pass

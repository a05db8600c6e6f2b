"""What is captured: instances, their streams, the pipes that feed them, and the segments they lie in.

A stream writes to one segment at a time, from `segment` (offset of its first
byte) to `offset`; older ones are in `kept`. It opens a file only when there is
a byte for it. Nobody else writes to these files, so the end of the file and
the offset are the same place.
"""

import os
import time

from droned.logs.format import last_named, link_name, segment_name
from droned.logs.policy import Policy

FOLDER_MODE = 0o750
FILE_MODE = 0o640
_PARTS = 2
_LONGEST_NAME = 200


class Segment:
    """A segment that is done with. `bytes` is its size on disk, -1 while nobody has looked."""

    __slots__ = ("bytes", "done_at", "end", "is_compressed", "is_gone", "start", "stream")

    def __init__(
        self, stream: "Stream", start: int, end: int, size: int, done_at: float, *, is_compressed: bool
    ) -> None:
        self.stream = stream
        self.start = start
        self.end = end
        self.bytes = size
        self.done_at = done_at
        self.is_compressed = is_compressed
        self.is_gone = False

    @property
    def path(self) -> str:
        """Where it lies."""
        name = segment_name(self.stream.name, self.start, is_compressed=self.is_compressed)
        return f"{self.stream.instance.folder}/{name}"


class Instance:
    """One running copy of an app, as far as its output is concerned.

    `recent` has what was captured of two streams lately, in order: lengths,
    negative for stderr. `first_failure` is the run that began the series of
    failures we are in; 0: none; -1: not known since we were started.
    """

    __slots__ = ("began_at", "began_run", "ended_run", "first_failure", "folder", "name", "recent", "streams")

    def __init__(self, name: str, folder: str) -> None:
        self.name = name
        self.folder = folder
        self.streams: list[Stream] = []
        self.recent: list[int] | None = None
        self.count_anew()

    def count_anew(self) -> None:
        """Its runs begin with the first one again, or are not known."""
        self.began_run = self.ended_run = self.first_failure = -1
        self.began_at = 0.0

    def stream(self, name: str) -> "Stream | None":
        """Its stream of this name, if it has one."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        return None

    def offsets(self) -> dict[str, int]:
        """How far each of its streams has come."""
        return {stream.name: stream.offset for stream in self.streams}


class Stream:
    """One stream over all runs of its instance.

    `room` is how many bytes still fit its segment, `fd` the open file of that
    (-1: none), `lost` what was thrown away since the last byte, `trouble` why
    it cannot be written now ("": it can), `run_start` where the run began. Until
    `spared_until` nothing of it goes by its policy, which nobody has told yet.
    `kept_bytes` and `copies_bytes` are what segments that are done with, and
    lines in other formats, take on disk as far as anybody has looked.
    """

    __slots__ = (
        "copies_bytes",
        "fd",
        "instance",
        "is_forgotten",
        "kept",
        "kept_bytes",
        "lost",
        "lost_at",
        "lost_ever",
        "name",
        "number",
        "offset",
        "pipes",
        "policy",
        "room",
        "run_start",
        "segment",
        "segment_at",
        "sign",
        "spared_until",
        "trouble",
    )

    def __init__(self, number: int, instance: Instance, name: str, policy: Policy, offset: int) -> None:
        self.number = number
        self.instance = instance
        self.name = name
        self.policy = policy
        self.sign = -1 if name == "stderr" else 1
        self.offset = offset
        self.segment = offset
        self.segment_at = 0.0
        self.room = policy.max_size
        self.run_start = 0
        self.fd = -1
        self.kept: list[Segment] = []
        self.kept_bytes = 0
        self.copies_bytes = 0
        self.pipes: list[Pipe] = []
        self.lost = 0
        self.lost_ever = 0
        self.lost_at = 0.0
        self.trouble = ""
        self.is_forgotten = False
        self.spared_until = 0.0

    @property
    def path(self) -> str:
        """The file of its newest segment."""
        return f"{self.instance.folder}/{segment_name(self.name, self.segment)}"

    @property
    def active_bytes(self) -> int:
        """How large the segment is that is written to."""
        return self.offset - self.segment

    @property
    def held_bytes(self) -> int:
        """All that it takes on disk."""
        return self.kept_bytes + self.copies_bytes + self.offset - self.segment

    @property
    def has_copies(self) -> bool:
        """Whether its lines lie here in another format as well."""
        return self.copies_bytes > 0 or self.policy.format != "raw"

    @property
    def oldest(self) -> int:
        """The offset of the oldest byte that is still there."""
        return self.kept[0].start if self.kept else self.segment

    def lose(self, count: int) -> None:
        """So many bytes are thrown away."""
        if count:
            self.lost += count
            self.lost_ever += count
            self.lost_at = time.monotonic()

    def treat_by(self, policy: Policy) -> None:
        """Another policy from now on."""
        self.room += policy.max_size - self.policy.max_size
        self.policy = policy
        self.spared_until = 0.0

    def open(self, now: float) -> None:
        """Open the file of its segment, made if need be, at its end. OSError where that cannot be done."""
        folder = self.instance.folder
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        except FileNotFoundError:
            make_folder(folder)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            if self.offset == self.segment:
                os.ftruncate(fd, 0)  # what a write that failed has left
                self.segment_at = now
                point(folder, self.name, self.segment)
            elif os.lseek(fd, 0, os.SEEK_END) != self.offset - self.segment:
                # Somebody has cut or deleted it: what comes next gets a file that is right.
                os.close(fd)
                self.begin_segment(now)
                self.open(now)
                return
        except OSError:
            os.close(fd)
            raise
        self.fd = fd

    def close(self) -> None:
        """Close the file; it is opened again when there is a byte for it."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            try:
                os.close(fd)
            except OSError:
                pass  # it is closed all the same; a disk that fails tells that to the next write

    def is_deleted(self) -> bool:
        """Whether somebody has deleted the file that is open: what is written to it nobody can find."""
        return self.fd >= 0 and not os.fstat(self.fd).st_nlink

    def ends_line(self) -> bool:
        """Whether the last byte of the open segment is a newline, or there is none."""
        size = self.offset - self.segment
        return not size or os.pread(self.fd, 1, size - 1) == b"\n"

    def begin_segment(self, now: float) -> Segment | None:
        """Be done with this segment: the next byte goes to another. Gives it; None where it was empty."""
        self.close()
        if self.offset == self.segment:
            return None
        size = self.offset - self.segment
        done = Segment(self, self.segment, self.offset, size, now, is_compressed=False)
        self.kept.append(done)
        self.kept_bytes += size
        self.segment = self.offset
        self.room = self.policy.max_size
        return done

    def tail(self, most: int, start: int) -> bytes:
        """Its last bytes: at most so many, none before offset `start`, none that cannot be read."""
        parts: list[bytes] = []
        first = max(self.offset - most, start)
        pieces = [(self.segment, self.offset, self.path)]
        pieces += [
            (kept.start, kept.end, kept.path) for kept in reversed(self.kept) if not kept.is_compressed
        ]
        for begin, end, path in pieces:
            if end <= first:
                break
            if end > begin:
                parts.append(read_piece(path, max(first, begin) - begin, end - begin))
        return b"".join(reversed(parts))


class Pipe:
    """The read end of one pipe. `name` is what guardian and we call it by; `is_own` where it is the daemon's.

    `hot` counts how often it gave much, `idle` how often little since then.
    `left` has bytes that were read but not written, where there is no splice;
    `is_away` says that it is not looked at, because the disk is full and its
    program is to wait.
    """

    __slots__ = ("at", "fd", "hot", "idle", "is_away", "is_own", "left", "name", "run", "stream")

    def __init__(self, fd: int, name: str, stream: Stream, run: int, at: float, *, is_own: bool) -> None:
        self.fd = fd
        self.name = name
        self.stream = stream
        self.run = run
        self.at = at
        self.is_own = is_own
        self.is_away = False
        self.hot = 0
        self.idle = 0
        self.left = b""


def is_instance(name: str) -> bool:
    """Whether this can be the name of an instance: two parts that are names of folders."""
    parts = name.split("/")
    return len(parts) == _PARTS and all(
        part and part[0] != "." and "\0" not in part and len(part) <= _LONGEST_NAME for part in parts
    )


def make_folder(folder: str) -> None:
    """The folder of an instance, and that of its app."""
    for path in (os.path.dirname(folder), folder):
        try:
            os.mkdir(path, FOLDER_MODE)
        except FileExistsError:
            pass


def point(folder: str, stream: str, start: int) -> None:
    """Have the link of a stream point to the segment that begins at `start`."""
    link = f"{folder}/{link_name(stream)}"
    target = segment_name(stream, start)
    try:
        os.symlink(target, link)
        return
    except FileExistsError:
        pass
    fresh = f"{link}.new"
    try:
        os.symlink(target, fresh)
    except FileExistsError:
        os.unlink(fresh)
        os.symlink(target, fresh)
    os.replace(fresh, link)


def delete_beside(stream: Stream) -> int:
    """Delete the link of a stream, and its lines in other formats; how many bytes that gave."""
    folder, size = stream.instance.folder, 0
    try:
        names = os.listdir(folder)
    except OSError:
        return 0
    for name in names:
        if name.startswith(f"{stream.name}."):
            try:
                size += os.lstat(f"{folder}/{name}").st_size
                os.unlink(f"{folder}/{name}")
            except OSError:
                pass
    return size


def delete_lasts(folder: str, run: int) -> None:
    """Delete the last lines of this run and later ones: such runs are still to come."""
    try:
        for name in os.listdir(folder):
            found = last_named(name)
            if found is not None and found >= run:
                os.unlink(f"{folder}/{name}")
    except OSError:
        pass  # there is mostly no folder yet


def read_piece(path: str, begin: int, end: int) -> bytes:
    """These bytes of a file; fewer, or none, where it does not have them."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.pread(fd, end - begin, begin)
    except OSError:
        return b""
    finally:
        os.close(fd)


def save_place(path: str, raw: int, size: int) -> None:
    """Say beside `path` how far the stream was read, and how much of `path` counts. Raises OSError."""
    make_folder(os.path.dirname(path))
    fresh = f"{path}.at.new"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        os.write(fd, b'{"raw":%d,"size":%d}' % (raw, size))
    finally:
        os.close(fd)
    os.replace(fresh, f"{path}.at")

"""The ledger: what has to be known when guardian and daemon are killed together.

An append-only file of JSON lines in the state folder. Its first line says for
which boot it counts and what a new guardian cannot find out by itself. No
program ever runs that is not in here: a child by fork writes the line of its
own start just before it executes its program; a spawner writes a line before,
and another one after it, since only then it knows the process. The guardian
writes a line for each end and each acknowledgement, and one for an instance
whose output is captured otherwise than that of its launch before.

Lines are one write each to a file opened for append. A torn or damaged line is
passed over. The disk space is reserved ahead, so that a full disk does not
matter for some ten thousand starts; an error of the file never holds up a
start, it is counted. Nothing is synced: the file is of use only within a boot.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from droned.guardian import kernel
from droned.guardian.runs import Key, Run, Table
from droned.guardian.wire import Head, encode

FILE_BYTES = 4 * 1024 * 1024
_RESERVE_BYTES = 1024 * 1024
Capturing = tuple[tuple[str, ...], str]
"""What of an instance is captured: names of streams (none: all goes to files), and the text of the policy."""
_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Memory:
    """What a ledger tells: its header, the runs that still matter, the count of unreadable lines.

    `intended` are the runs of which it does not tell whether they came to be, in
    their order; `acknowledged` those that are kept only for what they have left;
    `captured` is by instance.
    """

    __slots__ = ("acknowledged", "captured", "damaged", "head", "header", "intended", "last_runs", "runs")

    def __init__(self) -> None:
        self.header: dict[str, Any] = {}
        self.runs: dict[Key, Run] = {}
        self.intended: dict[Key, None] = {}
        self.acknowledged: set[Key] = set()
        self.captured: dict[str, Capturing] = {}
        self.last_runs: dict[str, int] = {}
        self.head: Head | None = None
        self.damaged = 0

    @property
    def boot_id(self) -> str:
        """The boot for which it counts."""
        return str(self.header.get("boot", ""))

    def acknowledge(self, key: Key) -> None:
        """The end of this run is kept elsewhere; what it has left behind is not."""
        self.intended.pop(key, None)
        run = self.runs.get(key)
        if run is not None and run.leftovers:
            self.acknowledged.add(key)
        else:
            self.runs.pop(key, None)

    def tree_gone(self, key: Key) -> None:
        """Nothing is left of this run."""
        if key in self.runs:
            self.runs[key].leftovers = 0
        if key in self.acknowledged:
            self.acknowledged.discard(key)
            del self.runs[key]


def recall(content: bytes) -> Memory:
    """Read a ledger. Runs without an end are given as running; whether they do is for others to see."""
    memory = Memory()
    for line in content.split(b"\n"):
        if not line:
            continue
        entry = _parsed(line)
        try:
            _take(memory, entry)
        except (KeyError, TypeError, ValueError, IndexError):
            memory.damaged += 1
    return memory


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        # A write that a full disk cut short has no end of line: what follows it is whole.
        at = line.rfind(b'{"')
        try:
            entry = json.loads(line[at:]) if at > 0 else None
        except ValueError:
            entry = None
    return entry if isinstance(entry, dict) else {}


def _take(memory: Memory, entry: dict[str, Any]) -> None:
    match entry:
        case {"boot": str()}:
            memory.header = entry
        case {"start": [str(instance), int(number), int(pid), int(started), float() | int() as at]}:
            run = Run(instance, number, pid, float(at), start_time=started)
            run.state = "running"
            memory.runs.setdefault(run.key, run)
            memory.intended.pop(run.key, None)
            memory.last_runs[instance] = max(number, memory.last_runs.get(instance, 0))
        case {"spawn": [str(instance), int(number)]}:
            memory.intended[instance, number] = None
            memory.last_runs[instance] = max(number, memory.last_runs.get(instance, 0))
        case {"end": [str(instance), int(number), status, float() | int() as at, failure, *more]}:
            memory.intended.pop((instance, number), None)
            found = memory.runs.get((instance, number))
            if found is None:  # it failed before its line could be written, or another was torn
                found = memory.runs[instance, number] = Run(instance, number, 0, float(at))
                memory.last_runs[instance] = max(number, memory.last_runs.get(instance, 0))
            found.state, found.is_reaped = "ended", True
            found.ended_at = float(at)
            found.status = status if isinstance(status, int) else None
            found.seen = found.status is not None
            found.leftovers = int(more[0]) if more else 0
            if failure is not None:
                found.failure = {"stage": str(failure[0]), "errno": int(failure[1])}
        case {"gone": [str(instance), int(number)]}:
            memory.tree_gone((instance, number))
        case {"ack": [*pairs], **rest}:
            for instance, number in pairs:
                memory.acknowledge((instance, number))
            head = rest.get("head")
            if head is not None:
                memory.head = {"version": int(head["version"]), "digest": str(head["digest"])}
        case {"forget": str(instance)}:
            memory.last_runs.pop(instance, None)
            memory.captured.pop(instance, None)
        case {"logs": [str(instance), [*streams], str(policy)]}:
            memory.captured[instance] = (tuple(map(str, streams)), policy)
        case {"last": [str(instance), int(number)]}:
            memory.last_runs[instance] = max(number, memory.last_runs.get(instance, 0))
        case _:
            memory.damaged += 1


def start_prefix(instance: str, run: int) -> bytes:
    """The line of a start up to the pid; the child adds pid, start time, time, and `]}`."""
    return b'{"start":[%s,%d,' % (encode(instance).encode("ascii"), run)


def start_line(run: Run) -> bytes:
    """The line of a start, as the child itself writes it."""
    return start_entry(run.instance, run.run, run.pid, run.start_time, run.at)


def start_entry(instance: str, run: int, pid: int, start_time: int, at: float) -> bytes:
    """The same of what is not yet in a `Run`."""
    return b"%s%d,%d,%.6f]}\n" % (start_prefix(instance, run), pid, start_time, at)


def intent_line(instance: str, run: int) -> bytes:
    """The line that says that a process for this run is about to be."""
    return b'{"spawn":[%s,%d]}\n' % (encode(instance).encode("ascii"), run)


def captured_line(instance: str, capturing: Capturing) -> bytes:
    """The line that says what is captured of the launches of an instance from here on."""
    return b"%s\n" % encode({"logs": [instance, *capturing]}).encode()


def end_line(run: Run) -> bytes:
    """The line of an end, or of a start that failed."""
    failure = [run.failure["stage"], run.failure["errno"]] if run.failure is not None else None
    end = [run.instance, run.run, run.status, run.ended_at, failure, run.leftovers]
    return b"%s\n" % encode({"end": end}).encode()


def gone_line(run: Run) -> bytes:
    """The line that says that nothing is left of a run any more."""
    return b"%s\n" % encode({"gone": [run.instance, run.run]}).encode()


class Ledger:
    """The open file of one guardian."""

    __slots__ = ("_limit", "_needs_newline", "_path", "errors", "fd", "header")

    def __init__(self, path: str, header: dict[str, Any], fd: int = -1) -> None:
        """`header` is written at the top of each new file; `fd` is the file of before a re-exec."""
        self._path = path
        self.header = header
        self._limit = FILE_BYTES
        self._needs_newline = False
        self.fd = fd
        self.errors = 0

    def append(self, lines: bytes) -> None:
        """Write whole lines; an error is counted and nothing else."""
        if self._needs_newline:
            lines = b"\n" + lines
        try:
            self._needs_newline = os.write(self.fd, lines) != len(lines)
        except OSError:
            self._needs_newline = True
        if self._needs_newline:
            self.errors += 1

    def child_failed(self, run: Run) -> None:
        """A child could not write its line whole: write it in its place."""
        self.line_was_lost()
        self.append(start_line(run))

    def line_was_lost(self) -> None:
        """Somebody else could not write a line whole."""
        self.errors += 1
        self._needs_newline = True

    @property
    def is_long(self) -> bool:
        """Whether it is time to write it anew."""
        try:
            return os.fstat(self.fd).st_size > self._limit
        except OSError:
            return False

    def rewrite(
        self, table: Table, head: Head | None, captured: Mapping[str, Capturing] | None = None
    ) -> None:
        """Put a new file with what counts in the place of the old, which stays when that fails.

        Only for moments when no child is in its set-up: it would write into the old one.
        """
        content = b"".join(self._lines(table, head, captured or {}))
        path = f"{self._path}.new"
        fd = -1
        try:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            fd = os.open(path, _FLAGS | os.O_EXCL, 0o600)
            self._reserve(fd, len(content))
            written = 0
            while written < len(content):
                written += os.write(fd, content[written:])
            os.rename(path, self._path)
        except OSError:
            self.errors += 1
            if fd >= 0:
                os.close(fd)
            self._keep_old()
            return
        if self.fd >= 0:
            # Under the number that it always had: a thread that comes late writes to the file that counts.
            os.dup2(fd, self.fd, inheritable=False)
            os.close(fd)
        else:
            self.fd = fd
        self._needs_newline = False
        self._limit = max(FILE_BYTES, 2 * len(content))

    def _reserve(self, fd: int, size_bytes: int) -> None:
        try:
            kernel.preallocate(fd, max(FILE_BYTES, 2 * size_bytes) + _RESERVE_BYTES)
        except OSError:
            self.errors += 1  # told, but a ledger without reserve is better than none

    def _keep_old(self) -> None:
        self._limit = 2 * max(self._limit, FILE_BYTES)
        if self.fd < 0:
            try:
                self.fd = os.open(self._path, _FLAGS, 0o600)
                self._needs_newline = True
            except OSError:
                self.errors += 1

    def _lines(self, table: Table, head: Head | None, captured: Mapping[str, Capturing]) -> Iterable[bytes]:
        yield encode(self.header).encode() + b"\n"
        if head is not None:
            yield encode({"ack": [], "head": head}).encode() + b"\n"
        for instance, number in table.last_runs().items():
            yield encode({"last": [instance, number]}).encode() + b"\n"
        for instance, capturing in captured.items():
            yield captured_line(instance, capturing)
        for run in table.runs.values():
            if run.pid:
                yield start_line(run)
            elif run.lives:
                yield intent_line(run.instance, run.run)
            if run.state == "ended":
                yield end_line(run)
        kept = table.kept_for_leftovers()
        if kept:
            yield encode({"ack": kept}).encode() + b"\n"

    def acknowledged(self, pairs: Iterable[tuple[str, int]], head: Head | None) -> None:
        """These ends are kept elsewhere now."""
        self.append(encode({"ack": list(pairs), "head": head}).encode() + b"\n")

    def forgotten(self, instance: str) -> None:
        """The instance is gone for good."""
        self.append(encode({"forget": instance}).encode() + b"\n")


def load(path: str) -> Memory:
    """What the file at `path` tells; nothing when there is none or it cannot be read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(fd, "rb") as file:
            return recall(file.read())
    except OSError:
        return Memory()

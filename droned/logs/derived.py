"""Has lines written in other formats as well, where policies ask for it, by a process of its own.

It reads the index and the segments like any reader, so a kill of it or of us
costs nothing; it is only told which streams it is about, and that there is something new,
and tells of which stream it has begun another file.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterable

from droned.logs import log
from droned.logs.format import PACKET_BYTES
from droned.logs.formats import DERIVED
from droned.logs.loop import READ, Loop
from droned.logs.streams import Stream, save_place

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "formatter.py")
_AGAIN_S = 2.0
_KILL = 9
_ROWS_A_PACKET = 100
_NEW = b"{}"

Row = list[str | int]


class Derived:
    """The streams with a format of their own, and the process; none while there are no such streams.

    `rotated` gets instance and name of a stream of which another file was begun.
    """

    __slots__ = ("_folder", "_loop", "_pid", "_pidfd", "_rotated", "_rows", "_sock")

    def __init__(self, folder: str, loop: Loop, rotated: Callable[[str, str], None]) -> None:
        self._folder = folder
        self._loop = loop
        self._rotated = rotated
        self._rows: dict[int, Row] = {}
        self._sock: socket.socket | None = None
        self._pid = 0
        self._pidfd = -1

    def settle(self, streams: Iterable[Stream]) -> None:
        """These streams may have another policy than before."""
        changed = []
        for stream in streams:
            policy = stream.policy
            known = self._rows.get(stream.number)
            if known is None and policy.format == "raw":
                continue
            start = known[-1] if known is not None else stream.offset
            row: Row = [
                stream.instance.name,
                stream.name,
                policy.format,
                policy.max_size,
                policy.keep,
                start,
            ]
            if row != known:
                if policy.format != "raw":
                    _begin_at(stream)
                self._rows[stream.number] = row
                changed.append(row)
        if not changed:
            return
        if self._pid:
            self._send(changed)
        else:
            self._begin()

    def begin_anew(self, streams: Iterable[Stream]) -> None:
        """What these streams have written so far was deleted, in all formats."""
        changed = [self._rows[stream.number] for stream in streams if stream.number in self._rows]
        for stream in streams:
            if stream.number in self._rows and stream.policy.format != "raw":
                _begin_at(stream)
        if changed and self._pid:
            self._send(changed)

    def moved(self) -> None:
        """Something was captured, and the index tells of it."""
        if self._sock is not None:
            try:
                self._sock.send(_NEW)
            except OSError:
                pass  # it has enough to do, or is gone and will be started again

    def close(self) -> None:
        """Have it end; what it has not written is written by the next one."""
        self._hang_up()
        if self._pid:
            os.kill(self._pid, _KILL)
            os.waitpid(self._pid, 0)

    def _begin(self) -> None:
        if self._pid:
            return
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-S", "-E", _PROGRAM, str(os.getpid()), self._folder]
        actions = [(os.POSIX_SPAWN_DUP2, its.fileno(), 0)]
        try:
            self._pid = os.posix_spawn(sys.executable, command, {}, file_actions=actions)
            self._pidfd = os.pidfd_open(self._pid)
        except OSError as error:
            log.say(f"cannot write other formats: {error.strerror}")
            ours.close()
            self._loop.alarm("formats", time.monotonic() + _AGAIN_S, self._begin)
            return
        finally:
            its.close()
        ours.setblocking(False)
        self._sock = ours
        self._loop.watch(self._pidfd, READ, self._ended)
        self._loop.watch(ours.fileno(), READ, self._told)
        self._send(list(self._rows.values()))

    def _send(self, rows: list[Row]) -> None:
        if self._sock is None:
            return
        try:
            for first in range(0, len(rows), _ROWS_A_PACKET):
                text = json.dumps({"streams": rows[first : first + _ROWS_A_PACKET]}).encode("ascii")
                if len(text) <= PACKET_BYTES:
                    self._sock.send(text)
        except OSError:
            self._hang_up()  # it has not kept up: another one is told all of it

    def _told(self, events: int) -> None:
        """Take in all packets; the end of them is that of the process."""
        found: set[tuple[str, str]] = set()
        while self._sock is not None:
            try:
                packet = self._sock.recv(PACKET_BYTES)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if packet:
                instance, stream = json.loads(packet)
                found.add((instance, stream))
            else:
                self._hang_up()
        for instance, stream in found:
            self._rotated(instance, stream)

    def _hang_up(self) -> None:
        if self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _ended(self, events: int) -> None:
        self._loop.unwatch(self._pidfd)
        os.close(self._pidfd)
        os.waitpid(self._pid, 0)
        self._pid = 0
        self._hang_up()
        self._loop.alarm("formats", time.monotonic() + _AGAIN_S, self._begin)


def _begin_at(stream: Stream) -> None:
    """Have the file of a stream in its format begin here, unless it has begun."""
    path = f"{stream.instance.folder}/{stream.name}.{DERIVED[stream.policy.format]}"
    try:
        if not os.path.exists(f"{path}.at"):
            save_place(path, stream.offset, 0)
    except OSError as error:
        log.say(f"cannot write {path}.at: {error.strerror}")

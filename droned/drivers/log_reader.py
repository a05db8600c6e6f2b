"""A reader process for one question about logs, and its answer as it comes.

The reader is a child with two descriptors of ours: a file that holds the
question, and the write end of a pipe. What the pipe holds is handed on as
fast as whoever asked takes it: while they do not, nothing is read, the pipe
fills, and the reader stands still. It is killed when nobody wants its answer
any more, and its end is seen by a pidfd: it never stays a zombie.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from droned.errors import CannotRun

READ_BYTES = 64 * 1024
_LOOK_S = 0.05
"""How often its end is looked for where there are no pidfds."""
_SIGNALS = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

Received = Callable[[bytes], None]
Ended = Callable[[int], None]


def reader_command(package: str = "") -> list[str]:
    """What is executed; `package` is the folder of droned's code."""
    package = package or os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-I", "-S", "-E", f"{package}/logs/reader/__main__.py"]


@implementer(IReadDescriptor)
class LogReader:
    """One reader, from its start to its end."""

    def __init__(self, *, reactor: Any, command: list[str], received: Received, ended: Ended) -> None:
        """`received` is given what the reader prints, piece by piece.

        `ended` is called once, with the raw wait status, when the process is
        gone and all that it printed has been handed over.
        """
        self._reactor = reactor
        self._command = command
        self._received = received
        self._ended = ended
        self._out = -1
        self._status: int | None = None
        self._is_paused = False
        self._has_all = self._is_told = False
        self._watch: _Watch | None = None
        self._look: Any = None
        self.pid = 0

    def begin(self, question: Mapping[str, object]) -> None:
        """Start the process. CannotRun when that cannot be."""
        with ExitStack() as stack:
            try:
                # A file, not a pipe: a long question never waits for its reader.
                asked = os.memfd_create("question", os.MFD_CLOEXEC)
                stack.callback(os.close, asked)
                self._out, theirs = os.pipe2(os.O_CLOEXEC)
                stack.callback(os.close, theirs)
                os.set_blocking(self._out, False)
                os.write(asked, json.dumps(question).encode("ascii"))
                os.lseek(asked, 0, os.SEEK_SET)
                self._spawn(asked, theirs)
            except OSError as error:
                self._close_pipe()
                raise CannotRun(f"cannot start a reader of logs: {error.strerror}") from error
        self._reactor.addReader(self)
        try:
            self._watch = _Watch(os.pidfd_open(self.pid), self._look_at_end)
            self._reactor.addReader(self._watch)
        except OSError:
            self._look = self._reactor.callLater(_LOOK_S, self._look_at_end)

    def _spawn(self, question: int, out: int) -> None:
        self.pid = os.posix_spawn(
            self._command[0],
            self._command,
            {},
            file_actions=[(os.POSIX_SPAWN_DUP2, question, 0), (os.POSIX_SPAWN_DUP2, out, 1)],
            setsigmask=[],
            setsigdef=_SIGNALS,
        )

    def pause(self) -> None:
        """Read nothing until `resume`: the reader waits as soon as its pipe is full."""
        if not self._is_paused:
            self._is_paused = True
            self._reactor.removeReader(self)

    def resume(self) -> None:
        """Read on."""
        if self._is_paused:
            self._is_paused = False
            if self._out >= 0:
                self._reactor.addReader(self)

    def kill(self) -> None:
        """Nobody wants the answer any more: nothing of it is handed over from here on."""
        self._close_pipe()
        if self._status is not None:
            self._tell_end()
        elif self.pid:
            os.kill(self.pid, signal.SIGKILL)  # it is our child and not reaped: nobody else has its pid

    def _close_pipe(self) -> None:
        if self._out >= 0:
            self._reactor.removeReader(self)
            os.close(self._out)
            self._out = -1
        self._has_all = True

    def _look_at_end(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody waits for every child
            pid, status = self.pid, 0
        if not pid:
            if self._watch is None:
                self._look = self._reactor.callLater(_LOOK_S, self._look_at_end)
            return
        self._status = status
        if self._watch is not None:
            self._reactor.removeReader(self._watch)
            self._watch.close()
            self._watch = None
        self._tell_end()

    def _tell_end(self) -> None:
        if self._status is not None and self._has_all and not self._is_told:
            self._is_told = True
            self._ended(self._status)

    # ---- what the reactor calls

    def fileno(self) -> int:  # Twisted's name
        """The number of our end of the pipe, -1 without one."""
        return self._out

    def logPrefix(self) -> str:  # Twisted's name
        """What the reactor's own log calls us."""
        return "log reader"

    def doRead(self) -> None:  # Twisted's name
        """The reader has printed something."""
        try:
            piece = os.read(self._out, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
        if piece:
            self._received(piece)
        else:
            self._close_pipe()
            self._tell_end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # Twisted's name
        """The reactor watches the pipe no more: it is at its end, or what was read could not be taken."""
        if self._out >= 0:
            self.doRead()
        if self._out >= 0:
            self.kill()


@implementer(IReadDescriptor)
class _Watch:
    """A pidfd in the reactor: readable when the process has ended."""

    def __init__(self, fd: int, ended: Callable[[], None]) -> None:
        self._fd = fd
        self._ended = ended

    def close(self) -> None:
        """Let go of the descriptor."""
        os.close(self._fd)
        self._fd = -1

    def fileno(self) -> int:  # Twisted's name
        """The pidfd."""
        return self._fd

    def logPrefix(self) -> str:  # Twisted's name
        """What the reactor's own log calls us."""
        return "log reader's end"

    def doRead(self) -> None:  # Twisted's name
        """The process has ended."""
        self._ended()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # Twisted's name
        """The same, told otherwise."""
        self._ended()

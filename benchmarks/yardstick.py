"""A bare Twisted yardstick: what keeping programs running costs on this reactor without any policy.

    python yardstick.py SOCKET COUNT PROGRAM NAME TAG [ARGUMENT…]

The same as `limit.c`, with every descriptor a reader of the Twisted reactor:
`os.posix_spawn`, a pidfd a program, started again at once, status as text over
a kept-alive Unix socket. TERM passes TERM on, waits for all and ends. It is no
part of droned and imports nothing of it.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from twisted.internet import protocol
from twisted.internet import reactor as installed
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

reactor: Any = installed
"""The reactor of this machine, which has more to it than Twisted's types say."""

ALL_SIGNALS = tuple(number for number in signal.Signals if number not in (signal.SIGKILL, signal.SIGSTOP))


@implementer(IReadDescriptor)
class Program:
    """One program and its pidfd, as a reader of the reactor."""

    def __init__(self, yardstick: Yardstick, command: list[str]) -> None:
        self.yardstick = yardstick
        self.command = command
        self.pid = 0
        self.pidfd = -1

    def start(self) -> None:
        """Spawn it and watch it."""
        self.pid = os.posix_spawn(
            self.command[0], self.command, os.environ, setsid=True, setsigmask=(), setsigdef=ALL_SIGNALS
        )
        self.pidfd = os.pidfd_open(self.pid)
        self.yardstick.living += 1
        reactor.addReader(self)

    def fileno(self) -> int:
        """For the reactor."""
        return self.pidfd

    def logPrefix(self) -> str:
        """For the reactor."""
        return self.command[1]

    def doRead(self) -> None:
        """It has ended: reap it and, as a rule, start it again."""
        if os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOHANG) is None:
            return
        reactor.removeReader(self)
        os.close(self.pidfd)
        self.pid, self.pidfd = 0, -1
        self.yardstick.living -= 1
        self.yardstick.ended(self)

    def connectionLost(self, reason: Failure) -> None:
        """For the reactor: a hang-up is an end as well."""
        if self.pidfd >= 0:
            self.doRead()


class Status(protocol.Protocol):
    """Answers every line with all instances."""

    def __init__(self, yardstick: Yardstick) -> None:
        self.yardstick = yardstick

    def dataReceived(self, data: bytes) -> None:
        """A question came."""
        assert self.transport is not None
        self.transport.write(self.yardstick.status())


class StatusFactory(protocol.Factory):
    """Makes one `Status` a connection."""

    def __init__(self, yardstick: Yardstick) -> None:
        self.yardstick = yardstick

    def buildProtocol(self, addr: object) -> Status:
        """For Twisted."""
        return Status(self.yardstick)


class Yardstick:
    """All programs."""

    def __init__(self, count: int, command: list[str], name: str, tag: str) -> None:
        self.living = 0
        self.is_stopping = False
        self.programs = [
            Program(self, [command[0], f"{name}/{label}@{tag}", *command[1:]]) for label in range(count)
        ]

    def start(self) -> None:
        """Start every program."""
        for program in self.programs:
            program.start()

    def ended(self, program: Program) -> None:
        """A program has ended."""
        if not self.is_stopping:
            program.start()
        elif not self.living:
            reactor.stop()

    def stop(self, *_: object) -> None:
        """Pass TERM on to every program."""
        self.is_stopping = True
        for program in self.programs:
            if program.pid:
                os.kill(program.pid, signal.SIGTERM)

    def status(self) -> bytes:
        """Name, state and pid of every program, a line each, then an empty line."""
        lines = [f"{program.command[1]} running {program.pid}\n" for program in self.programs]
        return ("".join(lines) + "\n").encode()


def main() -> None:
    """Run until TERM."""
    socket, count, program, name, tag, *arguments = sys.argv[1:]
    yardstick = Yardstick(int(count), [program, *arguments], name, tag)
    reactor.listenUNIX(socket, StatusFactory(yardstick))
    reactor.callWhenRunning(yardstick.start)
    reactor.callWhenRunning(
        lambda: signal.signal(signal.SIGTERM, lambda *_: reactor.callFromThread(yardstick.stop))
    )
    reactor.run()


if __name__ == "__main__":
    main()

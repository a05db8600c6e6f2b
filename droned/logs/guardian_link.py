"""The connection to the guardian: what it asks, what it is told, and how it goes on without one.

When it ends, everything goes on; a new guardian attaches by the control
socket. Without any, and with no pipe left, there is nothing to live for.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from droned.guardian.wire import Outbox, WireError, to_logs
from droned.guardian.wire.captures import CAPTURES_PROTOCOL
from droned.logs import log
from droned.logs.loop import READ, WRITE, Loop
from droned.logs.streams import Pipe

_ALONE_LOOK_S = 10.0
_ALONE_S = 60.0


class Captures(Protocol):
    """What the guardian's messages are done by."""

    def capture(self, message: Any, fd: int) -> None:
        """Capture from this pipe."""

    def run_ended(self, message: Any) -> None:
        """A run is over."""

    def forget(self, instance: str) -> None:
        """An instance left the configuration."""

    def go(self) -> None:
        """Take what is there, and exit."""

    def guardians_pipes(self) -> list[Pipe]:
        """What is captured for the guardian."""


class GuardianLink:
    """At most one connection. `has_place` says whether the folder is still ours."""

    __slots__ = ("_captures", "_has_place", "_loop", "_lost_at", "_outbox", "_reader", "_sock")

    def __init__(self, loop: Loop, captures: Captures, has_place: Callable[[], bool]) -> None:
        self._loop = loop
        self._captures = captures
        self._has_place = has_place
        self._reader = to_logs()
        self._outbox = Outbox()
        self._sock: socket.socket | None = None
        self._lost_at = 0.0

    def begin(self, sock: socket.socket) -> None:
        """Take this connection, in place of the one there was."""
        self._drop()
        sock.setblocking(False)
        self._sock = sock
        self._loop.silence("alone")
        self._loop.watch(sock.fileno(), READ, self._ready)
        self.tell({"type": "ready", "protocol": CAPTURES_PROTOCOL, "pid": os.getpid()})

    def attach(self, sock: socket.socket) -> None:
        """Take the connection of a guardian that has come after us, and tell it all that we capture."""
        self.begin(sock)
        for pipe in self._captures.guardians_pipes():
            self.tell(
                {
                    "type": "captured",
                    "name": pipe.name,
                    "instance": pipe.stream.instance.name,
                    "run": pipe.run,
                    "stream": pipe.stream.name,
                    "policy": pipe.stream.policy.text,
                    "at": pipe.at,
                    "fds": 1,
                },
                (pipe.fd,),
            )
        self.tell({"type": "captured_all"})

    def be_alone(self) -> None:
        """There is no guardian."""
        self._lost_at = time.monotonic()
        self._loop.alarm("alone", self._lost_at + _ALONE_LOOK_S, self._look_alone)

    def tell(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send a message, or have it sent when the guardian reads; dropped where there is none."""
        if self._sock is None:
            return
        try:
            self._outbox.add(message, fds)
        except (WireError, OSError) as error:
            log.say(f"cannot tell the guardian of {message.get('name', message['type'])}: {error}")
            return
        self._flush()

    def _flush(self) -> None:
        sock = self._sock
        if sock is None:
            return
        try:
            is_all = self._outbox.flush(sock)
        except OSError as error:
            log.say(f"lost the guardian: {error.strerror}")
            self._end()
            return
        self._loop.watch(sock.fileno(), READ if is_all else READ | WRITE, self._ready)

    def _ready(self, events: int) -> None:
        if events & WRITE:
            self._flush()
        for _ in range(16):  # a few packets, then the pipes
            sock = self._sock
            if sock is None:
                return
            try:
                deliveries = self._reader.receive(sock)
            except BlockingIOError:
                return
            except WireError as error:
                log.say(f"the guardian: {error}")
                continue
            except OSError as error:
                log.say(f"lost the guardian: {error.strerror}")
                deliveries = None
            if deliveries is None:
                self._end()
                return
            for message, fds in deliveries:
                self._take(message, fds)

    def _take(self, message: Any, fds: tuple[int, ...]) -> None:
        match message["type"]:
            case "capture" if len(fds) == 1:
                self._captures.capture(message, fds[0])
                return
            case "run_ended":
                self._captures.run_ended(message)
            case "forget":
                self._captures.forget(message["instance"])
            case "ping":
                self.tell({"type": "pong", "n": message["n"]})
            case "go":
                self._captures.go()
            case kind:
                log.say(f"the guardian: cannot take {kind} with {len(fds)} descriptors")
        for fd in fds:
            os.close(fd)

    def _end(self) -> None:
        self._drop()
        self.be_alone()

    def _drop(self) -> None:
        if self._sock is not None:
            self._loop.unwatch(self._sock.fileno())
            self._sock.close()
            self._sock = None
            self._outbox.drop()

    def _look_alone(self) -> None:
        if self._sock is not None:
            return
        now = time.monotonic()
        is_idle = not self._captures.guardians_pipes() and now - self._lost_at >= _ALONE_S
        if is_idle or not self._has_place():
            self._captures.go()
            return
        self._loop.alarm("alone", now + _ALONE_LOOK_S, self._look_alone)

"""Descriptors that guardians keep for the daemon over all its lives, and the copies that make that last.

A guardian that is lost takes what it kept with it; the daemon has a copy of
each, which its successor gets.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from droned.guardian import wire


class ParkedCopies:
    """What is parked, by name, as long as this daemon lives."""

    def __init__(self, send: Callable[[Mapping[str, Any], tuple[int, ...]], None]) -> None:
        """`send` queues a message with descriptors, which stay the caller's."""
        self._send = send
        self._copies: dict[str, int] = {}
        self._fetches: dict[str, list[Deferred[int | None]]] = {}

    def park(self, name: str, fd: int) -> None:
        """Have guardians keep a copy of `fd` under `name`; `fd` stays the caller's."""
        self.unpark(name)
        self._copies[name] = os.dup(fd)
        self._send_copy(name)

    def unpark(self, name: str) -> None:
        """Have what is parked under `name` closed."""
        fd = self._copies.pop(name, -1)
        if fd >= 0:
            os.close(fd)
        self._send(wire.Unpark(type="unpark", name=name), ())

    def fetch(self, name: str) -> Deferred[int | None]:
        """A copy of what is parked under `name`, the caller's to close; None when nothing is."""
        waiting: Deferred[int | None] = Deferred()
        self._fetches.setdefault(name, []).append(waiting)
        self._send(wire.Fetch(type="fetch", name=name), ())
        return waiting

    def fetched(self, name: str, fds: Sequence[int]) -> None:
        """The guardian's answer to `fetch`; `fds` are ours to close."""
        for waiting in self._fetches.pop(name, []):
            waiting.callback(os.dup(fds[0]) if fds else None)
        for fd in fds:
            os.close(fd)

    def send_all(self) -> None:
        """Hand a copy of everything to the next guardian."""
        for name in self._copies:
            self._send_copy(name)

    def close(self) -> None:
        """Give all descriptors back."""
        for fd in self._copies.values():
            os.close(fd)
        self._copies.clear()

    def _send_copy(self, name: str) -> None:
        self._send(wire.Park(type="park", name=name, fds=1), (self._copies[name],))

"""What follows the loss of a guardian: another in its place, unless it lives and has only cut us off."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger

from droned.drivers.successor import GuardianIdentity, is_alive

_DYING_S = 1.0
_LOOK_S = 0.02
_WAITS_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_FORGIVES_S = 2.0
"""So long a connection makes up for one loss: who is lost now and then is replaced at once."""
CUT_OFF_STATUS = 75


def cut_off() -> None:
    """End this process now: another daemon is in control, nothing may be written any more."""
    os._exit(CUT_OFF_STATUS)


class Succession:
    """Knows who the present guardian is, and starts the next one."""

    log = Logger()

    def __init__(
        self,
        identity: GuardianIdentity,
        *,
        reactor: Any,
        environ: Mapping[str, str],
        started: Callable[[socket.socket], None],
        cut_off: Callable[[], None],
    ) -> None:
        """`environ` is what a successor gets.

        `started` is called with the connection to a successor, `cut_off` when
        the guardian lives and has another daemon.
        """
        self._identity = identity
        self._reactor = reactor
        self._environ = dict(environ)
        self._started = started
        self._cut_off = cut_off
        self._successor = 0
        self._losses = 0.0
        self._connected_at = reactor.seconds()
        self._is_over = False
        self.pid = identity.pid
        self.start_time = identity.start_time

    def connected(self) -> None:
        """There is a connection to the present guardian."""
        self._connected_at = self._reactor.seconds()

    def welcomed(self, pid: int, start_time: int) -> None:
        """The present guardian has said who it is."""
        self.pid, self.start_time = pid, start_time

    def close(self) -> None:
        """Start no more of them."""
        self._is_over = True

    def lost(self) -> None:
        """The connection is gone: find out why, and what is to be done."""
        self._when_dead(self._reactor.seconds() + _DYING_S)

    def _when_dead(self, until: float) -> None:
        if self._is_over:
            return
        if is_alive(self.pid, self.start_time):
            if self._reactor.seconds() < until:
                self._reactor.callLater(_LOOK_S, self._when_dead, until)
            else:
                self.log.critical("the guardian has another daemon: this one ends")
                self._cut_off()
            return
        lasted_s = self._reactor.seconds() - self._connected_at
        self._losses = max(0.0, self._losses - lasted_s / _FORGIVES_S)
        wait_s = _WAITS_S[min(int(self._losses), len(_WAITS_S) - 1)]
        self._losses += 1.0
        self._reactor.callLater(wait_s, self._start)

    def _start(self) -> None:
        if self._is_over:
            return
        self._reap()
        self.log.error("the guardian (pid {pid}) is lost: starting another", pid=self.pid)
        try:
            pid, sock = self._identity.start_another(self._environ)
        except OSError as error:
            self.log.error("cannot start a guardian: {error}", error=error.strerror)
            self._reactor.callLater(_WAITS_S[-1], self._start)
            return
        self._successor = self.pid = pid
        self.start_time = -1  # until it has welcomed us; a dead pid is dead without it
        self._started(sock)

    def _reap(self) -> None:
        """A successor is our child."""
        if self._successor:
            try:
                os.waitpid(self._successor, os.WNOHANG)
            except ChildProcessError:
                pass
            self._successor = 0

"""What every verb is given: the global options, the console and the way to the daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from droned.ctl.api import Api
from droned.ctl.connection import Connection
from droned.ctl.console import Console

ANSWER_S = 30.0
"""Seconds that a question waits for its answer when `--timeout` says nothing."""
REPLACED_S = 2.0
"""Seconds for which a socket without a listener is asked again: a killed daemon is replaced by then."""


class Session:
    """One run of dronectl; a context that closes its connections and has everything written."""

    def __init__(
        self,
        *,
        host: str | None = None,
        output: str = "table",
        quiet: bool = False,
        colour: bool = True,
        headers: bool = True,
        timeout_s: float | None = None,
        debug: bool = False,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """`timeout_s` is counted from now and ends every wait of the command."""
        self.environ = os.environ if environ is None else environ
        self.host = host
        self.output = output
        self.headers = headers
        self.timeout_s = timeout_s
        self.debug = debug
        self.deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self.console = Console(self.environ, colour=colour, quiet=quiet)
        self._connections: list[Connection] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: object) -> None:
        for connection in self._connections:
            connection.close()
        if kind is None:
            self.console.flush()

    def sockets(self) -> tuple[str, ...]:
        """The sockets to try, the likeliest first; BadRequest for a host that is none."""
        from droned.models.places import socket_of_url, sockets_to_try

        if self.host:
            return (socket_of_url(self.host, "--host"),)
        return sockets_to_try(os.geteuid(), self.environ)

    def connection(self, paths: Sequence[str] | None = None) -> Connection:
        """A connection to the daemon (or to one of `paths`) that is closed with the session at the latest."""
        made = Connection(self.sockets() if paths is None else paths, self.debug)
        self._connections.append(made)
        return made

    def asking(self, patience_s: float = REPLACED_S) -> Api:
        """The API for a question; `patience_s` is for a daemon that is being replaced."""
        deadline = self.deadline if self.deadline is not None else time.monotonic() + ANSWER_S
        return Api(self.connection(), self.console.notice, deadline, patience_s)

    def waiting(self) -> Api:
        """The API for work that takes its time: only `--timeout` ends the wait."""
        return Api(self.connection(), self.console.notice, self.deadline)

"""The options of `droned run`, and the same handed on to the daemon.

Options win over the environment (`DRONED_CONFIG`, `DRONED_STATE`,
`DRONED_HOST`), the environment over the built-in places. Standard library
only: the guardian must be up before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from droned.errors import BadRequest
from droned.models.places import places_beside, places_of

REACTORS = ("epoll", "poll", "select", "asyncio")
EXIT_WHEN = re.compile(r"all-stopped|failed:[a-z0-9][a-z0-9._-]{0,63}")


class RunOptions(NamedTuple):
    """What `droned run` was asked for; every path is absolute."""

    config: str
    state_dir: str
    socket: str
    socket_is_given: bool
    """Whether `--socket` or the environment names it: then it wins over the configuration."""
    reactor: str = "epoll"
    sets: tuple[str, ...] = ()
    exit_when: str | None = None
    daemonize: bool = False
    pidfile: str | None = None

    def for_daemon(self) -> list[str]:
        """The arguments that make the daemon's `run_options` give the same."""
        arguments = ["-c", self.config, "--state", self.state_dir, "--socket", self.socket]
        arguments += ["--reactor", self.reactor]
        if not self.socket_is_given:
            arguments.append("--socket-by-default")
        for each in self.sets:
            arguments += ["--set", each]
        if self.exit_when:
            arguments += ["--exit-when", self.exit_when]
        return arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]  # ours raises instead of exiting
        raise BadRequest(f"cannot take these options: {message} (droned run --help tells them)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="droned run",
        description="Keep the configured programs running; in the foreground unless --daemonize.",
        allow_abbrev=False,
    )
    parser.add_argument("-c", "--config", metavar="FILE_OR_DIR", help="configuration file, or folder of them")
    parser.add_argument("--state", metavar="DIR", help="folder for the journal and all that must be kept")
    parser.add_argument("--socket", metavar="PATH", help="Unix socket for dronectl")
    parser.add_argument("--socket-by-default", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--set", metavar="K=V", action="append", default=[], help="override one value")
    parser.add_argument("--reactor", choices=REACTORS, default="epoll", help="event loop (default: epoll)")
    parser.add_argument("--daemonize", action="store_true", help="go to the background")
    parser.add_argument("--pidfile", metavar="FILE", help="where the guardian's pid is written")
    parser.add_argument(
        "--exit-when",
        metavar="CONDITION",
        help="end droned, and with which code: all-stopped, or failed:APP",
    )
    return parser


def run_options(argv: Sequence[str], uid: int, environ: Mapping[str, str]) -> RunOptions:
    """The options in `argv`, with what the environment and the user's places add.

    Raises BadRequest for what cannot be taken; SystemExit after `--help`.
    """
    given = _parser().parse_args(list(argv))
    if given.exit_when is not None and not EXIT_WHEN.fullmatch(given.exit_when):
        raise BadRequest(f'cannot take --exit-when "{given.exit_when}": say all-stopped or failed:APP')
    if given.pidfile and not given.daemonize:
        raise BadRequest("cannot take --pidfile without --daemonize")
    for each in given.set:
        if "=" not in each:
            raise BadRequest(f'cannot take --set "{each}": say KEY=VALUE')
    places = places_of(uid, environ)
    if given.state:
        places = places_beside(os.path.abspath(given.state), places)
    has_socket = bool(given.socket and not given.socket_by_default) or "DRONED_HOST" in environ
    return RunOptions(
        config=os.path.abspath(given.config) if given.config else places.config,
        state_dir=places.state_dir,
        socket=os.path.abspath(given.socket) if given.socket else places.socket,
        socket_is_given=has_socket,
        reactor=given.reactor,
        sets=tuple(given.set),
        exit_when=given.exit_when,
        daemonize=given.daemonize,
        pidfile=os.path.abspath(given.pidfile) if given.pidfile else None,
    )

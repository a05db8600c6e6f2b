"""A daemon that kills itself once: a stop is on disk, and the guardian has not been told of it.

Usage: dying_daemon.py ROOT DIED DAEMON_ARGV…: it dies if the file DIED is not there yet, and makes it.
"""

import os
import signal
import sys

sys.path.insert(0, sys.argv[1])

from typing import Any

from twisted.application.service import Service

from droned.daemon.main import install_reactor
from droned.daemon.options import run_options
from droned.models.records import InstanceRecord, State
from droned.models.registry import Commit
from droned.models.version import VERSION
from droned.services.plugins import Plugin

DIED = sys.argv[2]


def die(*_: object) -> None:
    """Be gone at once, as by kill -9."""
    with open(DIED, "x"):
        os.kill(os.getpid(), signal.SIGKILL)


def make(context: Any) -> Service:
    """A service that waits for the journal from within the commit, and so is answered first."""

    def committed(commit: Commit) -> None:
        records = [change.after for change in commit.changes]
        if any(isinstance(each, InstanceRecord) and each.state is State.STOPPING for each in records):
            context.journal.when_durable(commit.version).addCallback(die)

    if not os.path.exists(DIED):
        context.registry.subscribe(committed)
    return Service()


def main(arguments: list[str]) -> int:
    """Be the daemon; its exit status."""
    options = run_options(arguments, os.getuid(), os.environ)
    install_reactor(options.reactor)
    from twisted.internet import reactor

    from droned.daemon.run import run_daemon

    return run_daemon(options, VERSION, reactor, [Plugin("dying", make)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[3:]))

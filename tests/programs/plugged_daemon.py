"""A daemon with service plugins that fail: one in each phase, one that needs such a one, and a sound one.

Usage: plugged_daemon.py ROOT MENDED DAEMON_ARGV…: the plugin `mendable` fails until the file MENDED is there.
"""

import os
import sys

sys.path.insert(0, sys.argv[1])

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail

from droned.daemon.main import install_reactor
from droned.daemon.options import run_options
from droned.errors import CannotRun
from droned.models.version import VERSION
from droned.services.plugins import Plugin

MENDED = sys.argv[2]
PHASES = ("check", "settings", "make", "start", "start-later", "stop", "mendable", "sound")


class Faulty(Service):
    """A service that fails in the phase it is told."""

    def __init__(self, phase: str) -> None:
        self._phase = phase

    def startService(self) -> Deferred[None] | None:
        if self._phase == "start":
            raise RuntimeError("broken in start")
        if self._phase == "start-later":
            return fail(RuntimeError("broken in start, later"))
        if self._phase == "mendable" and not os.path.exists(MENDED):
            raise CannotRun(f"cannot run without {MENDED}")
        super().startService()
        return None

    def stopService(self) -> None:
        if self._phase == "stop":
            raise RuntimeError("broken in stop")
        super().stopService()


def faulty(phase: str, *needs: str) -> Plugin:
    """The plugin of that name, which fails in the phase of that name."""

    def check(settings: object) -> list[str]:
        if phase == "check":
            raise RuntimeError("broken in check")
        return ["its settings are wrong"] if phase == "settings" else []

    def make(context: object) -> Faulty:
        if phase == "make":
            raise RuntimeError("broken in make")
        return Faulty(phase)

    return Plugin(phase, make, check=check, needs=needs)


def main(arguments: list[str]) -> int:
    """Be the daemon; its exit status."""
    options = run_options(arguments, os.getuid(), os.environ)
    install_reactor(options.reactor)
    from twisted.internet import reactor

    from droned.daemon.run import run_daemon

    needing = (faulty("needs-start", "start"), faulty("needs-sound", "sound"))
    return run_daemon(options, VERSION, reactor, [*map(faulty, PHASES), *needing])


if __name__ == "__main__":
    sys.exit(main(sys.argv[3:]))

"""A daemon on the real link: as `stub_daemon.py`, but with Twisted and `GuardianLink`, and so able to replace
a guardian that is lost.

argv: the test's Unix socket, then optionally the name of a reactor.
"""

import json
import os
import sys
from importlib import import_module
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

REACTOR = sys.argv[2] if len(sys.argv) > 2 else "epoll"
import_module(f"twisted.internet.{REACTOR}reactor").install()

from twisted.internet import reactor  # noqa: E402  # only now is it the one that was asked for
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol  # noqa: E402
from twisted.protocols.basic import LineOnlyReceiver  # noqa: E402

from droned.drivers.guardian import GuardianLink  # noqa: E402
from droned.drivers.successor import HeldRuns  # noqa: E402


class Test(LineOnlyReceiver):
    """The line to the test."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 24

    def __init__(self, link: GuardianLink) -> None:
        self.link = link

    def connectionMade(self) -> None:
        """Say who this is, then hello to the guardian."""
        self.tell({"pid": os.getpid(), "env": dict(os.environ)})
        self.link.begin(self.heard)
        self.link.table().addCallback(self.has_table)

    def tell(self, message: Any) -> None:
        """One line for the test."""
        self.sendLine(json.dumps(message).encode())

    def has_table(self, rows: Any) -> None:
        """The daemon is in control."""
        self.heard({"type": "welcome"})
        self.tell({"type": "table", "rows": rows, "last": True})
        self.link.send({"type": "ready"})

    def heard(self, message: Any) -> None:
        """What the link hands over, with what it knows of the guardian."""
        link = self.link
        known = {"pid": link.guardian_pid, "state_id": link.state_id, "lacking": link.lacking}
        self.tell({**known, **message} if message["type"] in ("welcome", "guardian_replaced") else message)

    def lineReceived(self, line: bytes) -> None:
        """An order of the test."""
        order = json.loads(line)
        if "send" in order:
            self.link.send(order["send"])
        elif "park" in order:
            fd = os.open(order["fd"], os.O_RDONLY)
            self.link.park(order["park"], fd)
            os.close(fd)
        elif "fetch" in order:
            self.link.fetch(order["fetch"]).addCallback(self.fetched)
        elif order["do"] == "ask":
            self.tell({"type": "asked", "is_unresponsive": self.link.is_unresponsive})
        else:
            self.link.close()
            os._exit(order["code"])

    def fetched(self, fd: int | None) -> None:
        """What is parked, as text."""
        content = os.pread(fd, 100, 0).decode() if fd is not None else None
        self.tell({"type": "fetched", "content": content})

    def connectionLost(self, reason: Any = None) -> None:
        """The test is over."""
        os._exit(0)


link = GuardianLink.from_environment(os.environ, reactor=reactor, release="0", runs=HeldRuns(None))
connectProtocol(UNIXClientEndpoint(reactor, sys.argv[1]), Test(link)).addErrback(lambda _: os._exit(0))
reactor.run()

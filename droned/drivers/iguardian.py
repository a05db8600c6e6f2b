"""What a daemon has of its guardian: the port of `GuardianLink`, and of a guardian in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import Attribute, Interface

Received = Callable[[Mapping[str, Any]], None]


class IGuardianLink(Interface):
    """The way to the guardian, whoever that is just now. Messages are those of `droned.guardian.wire`."""

    guardian_pid = Attribute("pid of the present guardian")
    guardian_id = Attribute("what names it on this boot, `pid.start time`")
    boot_id = Attribute("this boot of the kernel, known with the table")
    state_id = Attribute("the state folder's id, as the tokens and cgroups of apps carry it")
    head = Attribute("newest journal head that was acknowledged: (version, digest), or None")
    lacking = Attribute('what this host lacks, of "cgroup", "pidfd", "posix_spawn", "subreaper"')
    logs_pid = Attribute("pid of the present droned-logs, None without one")
    is_connected = Attribute("whether there is a guardian to talk to")
    is_unresponsive = Attribute("whether it was silent for five seconds")

    def begin(received: Received, turn_ended: Callable[[], None] | None = None) -> None:
        """Say hello. `received` gets each message, `turn_ended` a call after the last of a packet.

        Messages after the table are held back until `ready` has been sent.
        Besides the wire's own there is `{"type": "guardian_replaced"}`.
        """

    def table() -> Any:
        """A Deferred of the guardian's table as it was at hello: a list of rows."""

    def send(message: Mapping[str, Any]) -> None:
        """Queue a message; all of one reactor turn leave together, in order."""

    def progress(text: str) -> None:
        """The start-up goes on; may be called from any thread."""

    def park(name: str, fd: int) -> None:
        """Have guardians keep a copy of `fd` under `name` over all our lives; `fd` stays the caller's."""

    def unpark(name: str) -> None:
        """Have what is parked under `name` closed."""

    def fetch(name: str) -> Any:
        """A Deferred of a copy of what is parked under `name`, the caller's to close, or of None."""

    def close() -> None:
        """Send what waits and let go; a guardian that is lost after this is not replaced."""

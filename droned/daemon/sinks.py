"""How a sink is put together: what is spoken with it, over which connection, read by whom.

Imported when there is a sink.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING

from droned.drivers.sink_positions import SinkPositions
from droned.models.ports import ISinkLink
from droned.models.records import IssueKind
from droned.models.sinks import Sink, SinkKind
from droned.protocols import syslog
from droned.protocols.captured import CapturedLine
from droned.services.forwarding import Forwarding

if TYPE_CHECKING:
    from droned.daemon.build import Parts

REMEDY = "see to the sink, or take it out of droned.forward; lines stay in their files until it takes them"


def import_for(sink: Sink) -> None:
    """Import what this sink takes; for a thread."""
    if sink.kind is SinkKind.LOKI:
        from droned.drivers.sink_loki import import_client

        import_client(is_secure=sink.address.scheme == "https")
    elif sink.address.scheme == "tcp":
        import_module("droned.drivers.sink_stream")
        import_module("droned.drivers.sink_endpoints").import_endpoints()
    else:
        import_module("droned.drivers.sink_datagram")


def make_forwarding(parts: Parts, sink: Sink, since: float) -> Forwarding:
    """Forwarding to one sink, of what was captured from `since` on if it is a new one."""

    def overdue(why: str) -> None:
        text = f"nothing is forwarded to {sink.name} ({sink.address}): {why}"
        parts.issues.open(IssueKind.FORWARDING, sink.name, text, REMEDY)

    return Forwarding(
        sink,
        link=_link(parts, sink),
        new_reader=parts.new_reader,
        folder=parts.output.folder,
        since=since,
        positions=SinkPositions(parts.output.folder),
        pool=parts.pool,
        timers=parts.timers,
        clock=parts.clock,
        run=parts.run,
        overdue=overdue,
        recovered=lambda: close_issue(parts, sink.name, "it takes lines"),
    )


def close_issue(parts: Parts, name: str, why: str) -> None:
    """Close the issue of a sink, if there is one."""
    if f"{IssueKind.FORWARDING}:{name}" in parts.registry.records("issue"):
        parts.issues.close(IssueKind.FORWARDING, name, why)


def _link(parts: Parts, sink: Sink) -> ISinkLink:
    reactor, names, address = parts.reactor, parts.names_pool, sink.address
    if sink.kind is SinkKind.LOKI:
        from droned.drivers.sink_loki import LokiLink

        return LokiLink(sink, parts.server_name, reactor=reactor, pool=names, clock=parts.clock)
    if address.scheme == "tcp":
        from droned.drivers.sink_endpoints import NamedEndpoint
        from droned.drivers.sink_stream import StreamLink

        def frame(line: CapturedLine) -> bytes:
            return syslog.framed(syslog.message(line, sink.facility, parts.server_name))

        endpoint = NamedEndpoint(address.host, address.port, reactor=reactor, pool=names)
        return StreamLink(address, frame, endpoint=endpoint, reactor=reactor)
    from droned.drivers.sink_datagram import DatagramLink

    most_bytes = syslog.MOST_UNIX_BYTES if address.scheme == "unix" else syslog.MOST_UDP_BYTES
    message = partial(syslog.message, facility=sink.facility, host=parts.server_name, most_bytes=most_bytes)
    return DatagramLink(address, message, reactor=reactor, pool=names)

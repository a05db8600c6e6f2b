"""How a stream of events is written: as server-sent events or as JSON lines.

Server-sent events (the HTML standard, "text/event-stream"): an event of ours
is a `message` with its id and its JSON, `sync` and `gap` are events of that
name, a heartbeat is a comment. JSON lines: one object a line; `sync`, `gap`
and `heartbeat` are objects with nothing but that `type` and their facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from droned.web.documents import encode


class Framing(Protocol):
    """One way to write a stream."""

    content_type: bytes
    opening: bytes
    """What the stream begins with."""
    heartbeat: bytes
    """What is written now and then so that both ends see that the other is there."""

    def event(self, event_id: str, body: bytes) -> bytes:
        """An event with its place in the stream and its JSON."""
        ...

    def notice(self, name: str, facts: Mapping[str, object], event_id: str | None) -> bytes:
        """A `sync` or a `gap`; with `event_id`, a client resumes from there."""
        ...


class ServerSentEvents:
    """For browsers and whoever speaks their protocol."""

    content_type = b"text/event-stream"
    opening = b"retry: 1000\n\n"
    heartbeat = b": heartbeat\n\n"

    def event(self, event_id: str, body: bytes) -> bytes:
        """A message; JSON has no line break, so its data is one line."""
        return b"id: %s\ndata: %s\n\n" % (event_id.encode("ascii"), body)

    def notice(self, name: str, facts: Mapping[str, object], event_id: str | None) -> bytes:
        """An event of that name."""
        place = b"" if event_id is None else b"id: %s\n" % event_id.encode("ascii")
        return b"%sevent: %s\ndata: %s\n\n" % (place, name.encode("ascii"), encode({"type": name, **facts}))


class JsonLines:
    """For the command line and scripts."""

    content_type = b"application/x-ndjson"
    opening = b""
    heartbeat = b'{"type":"heartbeat"}\n'

    def event(self, event_id: str, body: bytes) -> bytes:
        """A line; the id is in the object already."""
        return body + b"\n"

    def notice(self, name: str, facts: Mapping[str, object], event_id: str | None) -> bytes:
        """A line with that type."""
        place = {} if event_id is None else {"id": event_id}
        return encode({"type": name, **place, **facts}) + b"\n"

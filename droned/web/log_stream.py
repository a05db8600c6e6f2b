"""One client's answer about logs: what its reader prints, handed on as the client takes it.

Rules of this module:

* Nothing is queued but what the client's socket takes: while that is full,
  the reader's pipe is not read, and the reader waits.
* The answer begins with the reader's first words: a question that cannot be
  answered is a problem document, not a stream that has begun.
* A reader that fails later ends the connection unfinished, so that the client
  knows, and goes on from the last position that it saw.
* What the reader cannot know is told before all else, without a position.
* JSON lines are handed on unread. Of server-sent events the position becomes
  the id; the first `caught_up` is an event, later ones are heartbeats.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from droned.errors import BadRequest, DronedError
from droned.web.documents import encode
from droned.web.resource import Reading

ANSWERED = 0
REFUSED = 2 << 8
"""Wait status of a reader that cannot answer its question."""
DIRECT = "direct"
"""The event of an instance whose output is not captured: `instance`, and its `files` by stream."""
LONGEST_ERROR = 64 * 1024
LONGEST_LINE = 1024 * 1024
"""Of a reader's line, in bytes: 64 KiB that are no UTF-8 are six times as much as JSON."""


class LogFraming(Protocol):
    """One way to write an answer."""

    content_type: bytes
    opening: bytes
    heartbeat: bytes
    """What is written now and then; empty where the reader says enough."""

    def framed(self, piece: bytes) -> bytes:
        """What is written for the next piece of what the reader prints."""
        ...

    def told(self, event: str, document: bytes) -> bytes:
        """What is written for an event that is not the reader's."""
        ...


class LogLines:
    """JSON lines, as the reader prints them."""

    content_type = b"application/x-ndjson"
    opening = b""
    heartbeat = b""

    def framed(self, piece: bytes) -> bytes:
        """The piece itself."""
        return piece

    def told(self, event: str, document: bytes) -> bytes:
        """The document, which names its event, on a line."""
        return document + b"\n"


class _Head(Struct):
    """What is looked at in a line."""

    position: int | None = None
    event: str | None = None


_HEAD = msgspec.json.Decoder(_Head)


class LogMessages:
    """Server-sent events: one a line, whose id is its position."""

    content_type = b"text/event-stream"
    opening = b"retry: 1000\n\n"
    heartbeat = b": heartbeat\n\n"

    def __init__(self) -> None:
        self._rest = b""
        self._has_caught_up = False

    def framed(self, piece: bytes) -> bytes:
        """The events of the lines that are whole by now."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise ValueError("a reader's line without an end")
        return b"".join(map(self._message, lines))

    def told(self, event: str, document: bytes) -> bytes:
        """An event of that name, without an id."""
        return b"event: %s\ndata: %s\n\n" % (event.encode("ascii"), document)

    def _message(self, line: bytes) -> bytes:
        position, event = _head(line)
        if position is None:
            return b"event: error\ndata: %s\n\n" % line
        if event is None:
            return b"id: %d\ndata: %s\n\n" % (position, line)
        if event == "caught_up":
            if self._has_caught_up:
                return self.heartbeat
            self._has_caught_up = True
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (position, event.encode("ascii", "replace"), line)


def _head(line: bytes) -> tuple[int | None, str | None]:
    try:
        head = _HEAD.decode(line)
    except ValueError:  # a line of a program with bytes that are no UTF-8: only the other codec reads those
        told: dict[str, Any] = json.loads(line)
        return told.get("position"), told.get("event")
    return head.position, head.event


@implementer(IPushProducer)
class LogStream:
    """Feeds one request with what a reader prints."""

    def __init__(
        self,
        request: Request,
        framing: LogFraming,
        left: Callable[[LogStream], None],
        direct: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """`left` is called once when the stream is over; `direct` are the events that it begins with."""
        self._request = request
        self._framing = framing
        self._direct = direct
        self._left = left
        self._reading: Reading | None = None
        self._first = b""
        self._has_begun = self._is_over = False
        self._begun: Deferred[None] = Deferred()

    async def run(self, read: Callable[[Callable[[bytes], None], Callable[[int], None]], Reading]) -> None:
        """Start the reader by `read`, and come back once the answer has begun; it goes on by itself.

        Raises BadRequest for what the reader refuses, and what `read` raises.
        """
        self._request.notifyFinish().addBoth(lambda _: self._end())
        if self._is_over:
            return
        self._reading = read(self._received, self._ended)
        await self._begun

    def heartbeat(self) -> None:
        """Tell the client that we are there, where the reader does not."""
        if self._framing.heartbeat and self._has_begun and not self._is_over:
            self._request.write(self._framing.heartbeat)

    def finish(self) -> None:
        """End the answer in order."""
        if self._is_over:
            return
        if not self._has_begun:
            self._begin()
        self._request.unregisterProducer()
        self._request.finish()
        self._end()

    def pauseProducing(self) -> None:
        """The client's socket is full."""
        if self._reading is not None:
            self._reading.pause()

    def resumeProducing(self) -> None:
        """The client's socket takes more."""
        if self._reading is not None:
            self._reading.resume()

    def stopProducing(self) -> None:
        """The client is gone."""
        self._end()

    def _received(self, piece: bytes) -> None:
        if self._is_over:
            return
        if not self._has_begun:
            self._first += piece
            if b"\n" not in self._first and len(self._first) < LONGEST_ERROR:
                return
            piece, self._first = self._first, b""
            if _error_in(piece) is not None:
                self._first = piece  # its end is near, and tells it
                return
            self._begin()
        framed = self._framing.framed(piece)
        if framed:
            self._request.write(framed)

    def _begin(self) -> None:
        self._has_begun = True
        self._request.setHeader(b"Content-Type", self._framing.content_type)
        self._request.setHeader(b"Cache-Control", b"no-store")
        self._request.registerProducer(self, True)
        told = [self._framing.told(DIRECT, encode(each)) for each in self._direct]
        self._request.write(b"".join([self._framing.opening, *told]))
        self._tell_begun(None)

    def _ended(self, status: int) -> None:
        self._reading = None
        if self._is_over:
            return
        if status == ANSWERED:
            self.finish()
        elif self._has_begun:
            self._request.channel.abort()  # type: ignore[attr-defined]  # an ApiChannel
        else:
            said = _error_in(self._first) or "the reader failed; droned's log says why"
            text = said if said.startswith("cannot ") else f"cannot read logs: {said}"
            self._tell_begun(BadRequest(text) if status == REFUSED else DronedError(text))

    def _tell_begun(self, error: DronedError | None) -> None:
        if not self._begun.called:
            if error is None:
                self._begun.callback(None)
            else:
                self._is_over = True
                self._left(self)
                self._begun.errback(error)

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.kill()
        self._left(self)
        self._tell_begun(None)


def _error_in(piece: bytes) -> str | None:
    """The text of the first line when it is an error."""
    try:
        told = json.loads(piece.partition(b"\n")[0])
    except ValueError:
        return None
    said = told.get("error") if isinstance(told, dict) else None
    return said if isinstance(said, str) else None

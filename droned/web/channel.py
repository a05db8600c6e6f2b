"""One connection: HTTP/1.1 with limits that hold whatever comes in.

Twisted's own limits are not meant against hostile input (its time-out starts
anew with every byte, a body may be of any length, headers may be folded and
`Host` may be missing or doubled), so this module adds:

* a deadline for the whole header and one for the whole body, counted from
  their first byte; one for a connection that idles, one for a client that
  does not read its answer;
* at most 16 KiB of header, at most 1 MiB of body, exactly one `Host`, no
  folded header;
* an answer in our own words (a problem document) to whatever is refused
  before there is a request to answer.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import RESPONSES, HTTPChannel

from droned.errors import BadRequest, DronedError, TooLarge
from droned.web.problems import PROBLEM, problem

if TYPE_CHECKING:
    from droned.web.site import ApiSite, Visitor

MOST_HEADER = 16 * 1024
"""Bytes of a request line and all headers."""
MOST_BODY = 1024 * 1024
HEADER_TOO_LARGE = 431


class Limits(Struct, frozen=True, kw_only=True):
    """How long a client may take, in seconds, and how many there may be."""

    header_s: float = 10.0
    """From the first byte of a request (on a new connection: from its beginning) to the end of its header."""
    body_s: float = 60.0
    """From there to the end of its body."""
    idle_s: float = 300.0
    """Between two requests."""
    stall_s: float = 60.0
    """With an answer that the client does not read."""
    connections: int = 1_000


class Phase(enum.Enum):
    """Where a connection is."""

    IDLE = enum.auto()
    HEADER = enum.auto()
    BODY = enum.auto()
    ANSWERING = enum.auto()
    CLOSING = enum.auto()


class ApiChannel(HTTPChannel):
    """The server's side of one connection."""

    totalHeadersSize = MOST_HEADER
    MAX_LENGTH = MOST_HEADER
    maxHeaders = 100
    site: ApiSite
    visitor: Visitor
    """Who is at the other end."""

    def __init__(self) -> None:
        super().__init__()
        self._phase = Phase.HEADER
        self._deadline: float | None = None
        self._stall_deadline: float | None = None
        self._header_bytes = 0
        self._has_begun = False

    def connectionMade(self) -> None:
        """Greet the client and start the clock."""
        super().connectionMade()
        self.visitor = self.site.arrived(self)
        self._enter(Phase.HEADER, self.site.limits.header_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone, or we hung up."""
        self._phase = Phase.CLOSING
        self.site.gone(self)
        super().connectionLost(reason)

    def is_overdue(self, now: float) -> bool:
        """Whether the client has taken longer than it may."""
        return any(due is not None and due <= now for due in (self._deadline, self._stall_deadline))

    def abort(self) -> None:
        """End the connection at once; a client that was slow with its request is told why."""
        late = {Phase.HEADER: "header", Phase.BODY: "body"}.get(self._phase)
        if late is not None and self._has_begun:
            self.refuse(BadRequest(f"cannot wait any longer for the {late} of the request"), 408)
        else:
            self.hang_up()

    def hang_up(self) -> None:
        """End the connection at once, without a word."""
        transport: Any = self.transport  # an ITCPTransport or a Unix one, which has this as well
        transport.abortConnection()

    def leave(self) -> None:
        """End the connection as soon as no answer is under way."""
        self.persistent = 0
        if self._phase is not Phase.ANSWERING:
            self.loseConnection()

    def refuse(self, error: DronedError, status: int | None = None) -> None:
        """Answer what never became a request, and hang up."""
        if self._phase is Phase.CLOSING:
            return
        self._enter(Phase.CLOSING, self.site.limits.header_s)
        number, body = problem(error, status)
        head = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (
            number,
            RESPONSES.get(number, b"Error"),
            PROBLEM,
            len(body),
        )
        assert self.transport is not None
        self.transport.write(head + body)
        self.loseConnection()

    # What Twisted calls.

    def dataReceived(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._phase is Phase.CLOSING:
            return
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEADER, self.site.limits.header_s)
        self._has_begun = True
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """A line of the header."""
        self._header_bytes += len(line) + 2
        if self._header_bytes > MOST_HEADER:
            self.refuse(TooLarge(f"cannot take a header of more than {MOST_HEADER} bytes"), HEADER_TOO_LARGE)
        elif line[:1] in (b" ", b"\t"):
            self.refuse(BadRequest("cannot read the request: a line of its header begins with a space"))
        else:
            super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line that does not end in time."""
        self.refuse(TooLarge(f"cannot take a header of more than {MOST_HEADER} bytes"), HEADER_TOO_LARGE)

    def allHeadersReceived(self) -> None:
        """The header is whole: judge it before a byte of the body is taken."""
        request = self.requests[-1]
        hosts = request.requestHeaders.getRawHeaders(b"Host", [])
        if self._phase is Phase.CLOSING:
            return
        if len(hosts) != 1:
            self.refuse(BadRequest(f"cannot take a request with {len(hosts)} Host headers: exactly one"))
        elif self.length is not None and self.length > MOST_BODY:
            self.refuse(too_large_a_body())
        else:
            self._enter(Phase.BODY, self.site.limits.body_s)
            super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The request is whole."""
        if self._phase is not Phase.CLOSING:
            self._header_bytes = 0
            self._enter(Phase.ANSWERING, None)
            super().allContentReceived()

    def requestDone(self, request: object) -> None:
        """The answer is given; the next request may be waiting already."""
        self._has_begun = False
        self._enter(Phase.IDLE, self.site.limits.idle_s)
        super().requestDone(request)

    def pauseProducing(self) -> None:
        """The client does not read."""
        if self._stall_deadline is None:
            self._stall_deadline = self.site.now() + self.site.limits.stall_s
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._stall_deadline = None
        super().resumeProducing()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(BadRequest("cannot read the request: it is not HTTP/1.1"))

    def _enter(self, phase: Phase, allowed_s: float | None) -> None:
        self._phase = phase
        self._deadline = None if allowed_s is None else self.site.now() + allowed_s


def too_large_a_body() -> TooLarge:
    """The error for a body over the limit."""
    return TooLarge(f"cannot take a body of more than {MOST_BODY} bytes")

"""A sink that takes pushes over HTTP: Loki.

Twisted's own client. It is imported when the first push is made, and OpenSSL
only for https: without both the daemon is several megabytes smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from droned.drivers.plain_imports import import_plain
from droned.drivers.sink_endpoints import NamedEndpoint
from droned.models.ports import IClock, IPool, ISinkLink
from droned.models.sinks import Sink, SinkFailed
from droned.models.version import VERSION
from droned.protocols.captured import CapturedLine
from droned.protocols.loki import Verdict, push, reason, retry_after_s, verdict

ANSWER_S = 30.0
"""A push that has no answer after this is made again."""
IDLE_S = 30.0
"""So long a connection is kept that nothing is sent over."""
MOST_ANSWER_BYTES = 4096


class Refused(SinkFailed):
    """A push will never be taken."""


@implementer(ISinkLink)
class LokiLink:
    """Pushes lines."""

    linger_s = 1.0
    most_lines = 2000

    def __init__(self, sink: Sink, server: str, *, reactor: Any, pool: IPool, clock: IClock) -> None:
        self._sink = sink
        self._server = server
        self._reactor = reactor
        self._pool = pool
        self._clock = clock
        self._agent: Any = None
        self._connections: Any = None
        self._request: Deferred[Any] | None = None
        self.refusal = ""
        """Why lines were given up last."""

    async def send(self, lines: Sequence[CapturedLine]) -> int:
        """See `ISinkLink`."""
        if self._agent is None:
            self._make_agent()
        body = push(lines, self._server, self._sink.labels)
        self._request = Deferred.fromCoroutine(self._push(body))
        late = self._reactor.callLater(ANSWER_S, self._request.cancel)
        try:
            await self._request
        except Refused as refused:
            self.refusal = str(refused)
            return len(lines)
        except SinkFailed:
            raise
        except Exception as error:  # a named border: whatever a connection can fail with
            why = _words(error) if late.active() else f"no answer in {ANSWER_S:g} s"
            raise SinkFailed(f"cannot push to {self._sink.address}: {why}") from error
        finally:
            self._request = None
            if late.active():
                late.cancel()
        return 0

    def close(self) -> None:
        """See `ISinkLink`."""
        if self._request is not None:
            self._request.cancel()
        if self._connections is not None:
            self._connections.closeCachedConnections()

    async def _push(self, body: bytes) -> None:
        from twisted.web.http_headers import Headers

        headers = Headers(
            {b"Content-Type": [b"application/json"], b"User-Agent": [f"droned/{VERSION}".encode()]}
        )
        response = await self._agent.request(
            b"POST", str(self._sink.address).encode("ascii"), headers, _body_of(body)
        )
        answer = _Answer()
        response.deliverBody(answer)
        said = reason(response.code, await answer.whole)
        match verdict(response.code):
            case Verdict.REFUSED:
                raise Refused(said)
            case Verdict.AGAIN:
                wait = response.headers.getRawHeaders(b"retry-after", [None])[0]
                raise SinkFailed(
                    f"cannot push to {self._sink.address}: it answers {said}",
                    retry_after_s(wait, self._clock.wall()),
                )
            case Verdict.TAKEN:
                pass

    def _make_agent(self) -> None:
        client = import_client(is_secure=self._sink.address.scheme == "https")
        self._connections = client.HTTPConnectionPool(self._reactor, persistent=True)
        self._connections.cachedConnectionTimeout = IDLE_S
        endpoints = _endpoints(self._reactor, self._pool)
        self._agent = client.Agent.usingEndpointFactory(self._reactor, endpoints, self._connections)


def import_client(*, is_secure: bool) -> Any:
    """Twisted's HTTP client, which imports OpenSSL, used or not, where it can; better called in a thread."""
    if is_secure:
        import_module("droned.drivers.sink_tls")
        import_module("twisted.internet.ssl")
    return import_plain("twisted.web.client")


def _endpoints(reactor: Any, pool: IPool) -> Any:
    """What the client asks for connections; with TLS for https."""
    from twisted.web.iweb import IAgentEndpointFactory

    @implementer(IAgentEndpointFactory)
    class Endpoints:
        def endpointForURI(self, uri: Any) -> Any:  # Twisted's name
            host = uri.host.decode("ascii").strip("[]")
            plain = NamedEndpoint(host, uri.port, reactor=reactor, pool=pool)
            if uri.scheme != b"https":
                return plain
            from twisted.internet.ssl import optionsForClientTLS

            from droned.drivers.sink_tls import SecureEndpoint

            return SecureEndpoint(plain, optionsForClientTLS(host), reactor=reactor)

    return Endpoints()


def _body_of(content: bytes) -> Any:
    """A request's body that is there already."""
    from twisted.web.iweb import IBodyProducer

    @implementer(IBodyProducer)
    class Body:
        length = len(content)

        def startProducing(self, consumer: IConsumer) -> Deferred[None]:  # Twisted's name
            consumer.write(content)
            return succeed(None)

        def pauseProducing(self) -> None:  # Twisted's name
            pass

        def resumeProducing(self) -> None:  # Twisted's name
            pass

        def stopProducing(self) -> None:  # Twisted's name
            pass

    return Body()


class _Answer(Protocol):
    """The beginning of an answer's body; the rest is let go by."""

    transport: Any

    def __init__(self) -> None:
        self._content = b""
        self.whole: Deferred[bytes] = Deferred(lambda _: self.transport.abortConnection())

    def dataReceived(self, data: bytes) -> None:  # Twisted's name
        """A piece has come."""
        self._content = (self._content + data)[:MOST_ANSWER_BYTES]

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # Twisted's name
        """It is over; half a body tells as much as a whole one."""
        if not self.whole.called:
            self.whole.callback(self._content)


def _words(error: Exception) -> str:
    """What went wrong with a request, of which the client tells the reasons in a list."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        return _words(reasons[-1].value)
    return str(error).rstrip(".") or type(error).__name__

"""One request and its answer."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from droned.errors import BadRequest, Busy, DronedError
from droned.web.channel import MOST_BODY, too_large_a_body
from droned.web.documents import JSON, encode
from droned.web.problems import PROBLEM, internal_problem, problem

if TYPE_CHECKING:
    from droned.web.channel import ApiChannel
    from droned.web.site import Visitor

_log = Logger()


class Answer(Struct, frozen=True, kw_only=True):
    """What a resource answers."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def answer(document: object) -> Answer:
    """The document as JSON."""
    return Answer(body=encode(document))


class ApiRequest(Request):
    """A request to the API; its body is kept in memory and never over its limit."""

    channel: ApiChannel

    def __init__(self, channel: ApiChannel, *args: Any, **kw: Any) -> None:
        super().__init__(channel, *args, **kw)
        self.visitor: Visitor = channel.visitor

    @property
    def is_gone(self) -> bool:
        """Whether there is nobody to answer any more."""
        return bool(self._disconnected or self.finished)

    def gotLength(self, length: int | None) -> None:
        """The header is there; Twisted would keep a large body in a file."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body, whose length the header need not have told."""
        assert isinstance(self.content, BytesIO)
        if self.content.tell() + len(data) > MOST_BODY:
            self.channel.refuse(too_large_a_body())
        else:
            self.content.write(data)

    def process(self) -> None:
        """Find the resource and have it answer."""
        self.site = self.channel.site
        self.prepath = []
        self.postpath = [unquote_to_bytes(part) for part in self.path[1:].split(b"/")]
        try:
            self.render(self.site.getResourceFor(self))
        except Exception:  # noqa: BLE001  # a named border: one request never harms another
            self.fail(Failure())

    def body(self) -> bytes:
        """The whole body."""
        assert isinstance(self.content, BytesIO)
        return self.content.getvalue()

    def query(self) -> Mapping[str, list[str]]:
        """The query's parameters as texts; BadRequest when they are not UTF-8."""
        try:
            return {
                name.decode("utf-8"): [value.decode("utf-8") for value in values]
                for name, values in self.args.items()
            }
        except UnicodeDecodeError:
            raise BadRequest("cannot read the query: it is not UTF-8") from None

    def header(self, name: bytes) -> str | None:
        """The one value of a header, None when it is not there; BadRequest when it is there twice."""
        values = self.requestHeaders.getRawHeaders(name) or []
        if len(values) > 1:
            raise BadRequest(f"cannot take {len(values)} {name.decode('ascii')} headers")
        return values[0].decode("latin-1") if values else None

    def reply(self, given: Answer) -> None:
        """Send the answer, if there is still somebody to take it."""
        if self.is_gone:
            return
        self.setResponseCode(given.status)
        headers = self.responseHeaders
        for name, value in given.headers:
            headers.setRawHeaders(name, [value])
        if given.status != 304:
            headers.setRawHeaders(b"Content-Type", [given.content_type])
            headers.setRawHeaders(b"Content-Length", [b"%d" % len(given.body)])
        self.write(given.body)
        self.finish()

    @property
    def takes_whole_answers(self) -> bool:
        """Whether the client can be given an HTTP/1.1 answer that was made before it asked."""
        return self.method == b"GET" and self.clientproto == b"HTTP/1.1"

    def send(self, whole: bytes) -> None:
        """Send an answer with its head and all, in one piece that is never copied."""
        self.startedWriting = 1
        self.channel.write(whole)
        self.finish()

    def fail(self, failure: Failure) -> None:
        """Answer with the problem; what nobody foresaw goes to the log under an id that the client gets."""
        error = failure.value
        headers: tuple[tuple[bytes, bytes], ...] = ()
        if isinstance(error, DronedError):
            status, body = problem(error)
            allowed = error.facts.get("allowed")
            if isinstance(allowed, list):
                headers = ((b"Allow", ", ".join(allowed).encode("ascii")),)
            elif isinstance(error, Busy):
                headers = ((b"Retry-After", b"%d" % error.retry_after_s),)
        else:
            failure_id = secrets.token_hex(6)
            _log.failure(
                "cannot answer {method} {path}, told as {failure_id}",
                failure=failure,
                method=self.method.decode("latin-1"),
                path=self.path.decode("latin-1"),
                failure_id=failure_id,
            )
            status, body = internal_problem(failure_id)
        if self.startedWriting and not self.is_gone:
            self.channel.abort()
        else:
            self.reply(Answer(body=body, status=status, content_type=PROBLEM, headers=headers))

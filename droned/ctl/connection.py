"""A small HTTP/1.1 client over a Unix socket: keep-alive, chunked bodies, answers read line by line.

Rules of this module: it knows HTTP and nothing of droned's routes. One
request is under way at a time. Every wait ends at the request's deadline
(`TimedOut`). What went wrong before an answer began is `Unreachable` or, once
a connection stood, `ConnectionLost`, so that the caller can tell whether the
daemon may have taken the request.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Generator, Iterator, Mapping, Sequence

from droned.ctl.failures import ConnectionLost, Incomprehensible, TimedOut, Unreachable

MOST_HEAD = 64 * 1024
"""Bytes that an answer's head or the line of a chunk may have."""
READ_SIZE = 256 * 1024
BUSY_PAUSE_S = 0.01
"""Pause before the next try where the daemon's queue of connections is full."""


class Answer:
    """One whole answer: HTTP status, header fields by lower-case name, body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def document(self) -> dict[str, object]:
        """The JSON object in the body; raises Incomprehensible for anything else."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise Incomprehensible(
                f"cannot understand the answer ({self.status}): it is not a JSON object; is this a droned?"
            )
        return document


class Connection:
    """A connection to the first of some sockets that somebody listens on, made when it is needed."""

    def __init__(self, paths: Sequence[str], debug: bool = False) -> None:
        """`paths` are tried in turn; with `debug`, requests and answers are told on standard error."""
        self.paths = tuple(paths)
        self.path: str | None = None
        """The socket that answered, kept over reconnections: never another daemon in mid-command."""
        self._debug = debug
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._deadline: float | None = None

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        deadline: float | None = None,
    ) -> Answer:
        """One exchange, the answer read whole. `deadline` is by `time.monotonic()`; None waits for ever."""
        status, fields = self._exchange(method, target, body, headers or {}, deadline)
        try:
            answer = Answer(status, fields, b"".join(self._body(method, status, fields)))
        except BaseException:
            self.close()  # half an answer is left in it
            raise
        self._end_exchange(fields)
        return answer

    def lines(
        self,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        quiet_s: float,
        tick_s: float | None = None,
        deadline: float | None = None,
    ) -> tuple[Answer, Generator[bytes, None, None]]:
        """As `batches`, line by line; an empty line is given for a tick."""
        answer, batches = self.batches(
            target, headers=headers, quiet_s=quiet_s, tick_s=tick_s, deadline=deadline
        )
        return answer, _one_by_one(batches)

    def batches(
        self,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        quiet_s: float,
        tick_s: float | None = None,
        deadline: float | None = None,
    ) -> tuple[Answer, Generator[list[bytes], None, None]]:
        """GET an answer that comes line by line: its head (with the body, unless it is 200) and its lines.

        They are given as they arrive, as many at once as there are. Whoever stops reading before their end
        closes the generator, before another request. With `tick_s`, no lines are given whenever nothing came
        for so long. ConnectionLost when nothing came for `quiet_s` seconds, or when the answer ended without
        its last chunk. The connection is used up by it.
        """
        status, fields = self._exchange("GET", target, None, headers or {}, deadline)
        if status != 200:
            answer = Answer(status, fields, b"".join(self._body("GET", status, fields)))
            self._end_exchange(fields)
            return answer, _no_lines()
        return Answer(status, fields, b""), self._split(fields, quiet_s, tick_s)

    def pieces(
        self, method: str, target: str, body: bytes | None, deadline: float | None = None
    ) -> tuple[Answer, Iterator[bytes]]:
        """One exchange whose answer is given as it comes, unchanged: its head and the pieces of its body."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        status, fields = self._exchange(method, target, body, headers, deadline)
        return Answer(status, fields, b""), self._body(method, status, fields)

    def _split(
        self, fields: Mapping[str, str], quiet_s: float, tick_s: float | None
    ) -> Generator[list[bytes], None, None]:
        rest = b""
        pieces = self._body("GET", 200, fields)
        heard = time.monotonic()
        overall = self._deadline
        try:
            while True:
                while not self._is_readable(quiet_s if tick_s is None else tick_s):
                    if time.monotonic() - heard >= quiet_s:
                        raise ConnectionLost(f"cannot follow {self.path}: nothing came for {quiet_s:g} s")
                    self._left()  # that time may be over as well
                    yield []
                # Something came; the rest of its chunk has to follow soon.
                until = time.monotonic() + quiet_s
                self._deadline = until if overall is None else min(until, overall)
                try:
                    piece = next(pieces, None)
                except TimedOut:
                    if self._deadline == overall:
                        raise
                    raise ConnectionLost(f"cannot follow {self.path}: half a line came") from None
                self._deadline = overall
                if piece is None:
                    return
                heard = time.monotonic()
                *whole, rest = (rest + piece).split(b"\n")
                if lines := list(filter(None, whole)):
                    yield lines
        finally:
            self.close()

    def _is_readable(self, seconds: float) -> bool:
        """Whether there is something to read within `seconds`, and within the deadline."""
        assert self._socket is not None
        left = self._left()
        return bool(self._buffer) or bool(
            select.select([self._socket], [], [], seconds if left is None else min(seconds, left))[0]
        )

    def _exchange(
        self, method: str, target: str, body: bytes | None, headers: Mapping[str, str], deadline: float | None
    ) -> tuple[int, dict[str, str]]:
        """Send the request, read the head of its answer.

        A kept connection may have been closed by the daemon meanwhile; one that
        breaks before a byte of the answer came is replaced once for a GET.
        """
        self._deadline = deadline
        packet = _packet(method, target, body, headers)
        kept = self._socket is not None
        if self._debug:
            _tell(f"> {method} {target}{' ' + body.decode('utf-8', 'replace') if body else ''}")
        try:
            status, fields = self._attempt(packet)
        except ConnectionLost:
            self.close()
            if not (kept and method == "GET"):
                raise
            status, fields = self._second_attempt(packet)
        except BaseException:
            self.close()
            raise
        if self._debug:
            _tell(f"< {status} {fields.get('content-type', '')}")
        return status, fields

    def _attempt(self, packet: bytes) -> tuple[int, dict[str, str]]:
        if self._socket is None:
            self._connect()
        assert self._socket is not None
        try:
            self._socket.settimeout(self._left())
            self._socket.sendall(packet)
        except TimeoutError:
            raise self._timed_out() from None
        except OSError as broken:
            raise self._lost(broken) from broken
        return self._head()

    def _second_attempt(self, packet: bytes) -> tuple[int, dict[str, str]]:
        try:
            return self._attempt(packet)
        except ConnectionLost:
            raise
        except Unreachable as gone:
            # It was there a moment ago, so it went away in the middle of what was asked.
            raise ConnectionLost(str(gone), **gone.facts) from gone

    def _end_exchange(self, fields: Mapping[str, str]) -> None:
        if fields.get("connection", "").lower() == "close" or not (
            "content-length" in fields or "chunked" in fields.get("transfer-encoding", "")
        ):
            self.close()

    def _connect(self) -> None:
        faults: list[tuple[str, OSError]] = []
        for path in self.paths if self.path is None else (self.path,):
            try:
                self._socket = self._connected_to(path)
            except OSError as fault:
                faults.append((path, fault))
            else:
                self.path = path
                self._buffer.clear()
                return
        # Only now: a verb that is answered does not pay for it.
        from droned.ctl.unreachable import unreachable

        raise unreachable(faults)

    def _connected_to(self, path: str) -> socket.socket:
        while True:
            end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                end.settimeout(self._left())
                end.connect(path)
            except BlockingIOError:
                # The queue of connections is full: with a timeout, Linux says so at once instead of waiting.
                end.close()
                time.sleep(BUSY_PAUSE_S)
            except TimeoutError:
                end.close()
                raise self._timed_out() from None
            except BaseException:
                end.close()
                raise
            else:
                return end

    def _head(self) -> tuple[int, dict[str, str]]:
        while True:
            first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            version, _, rest = first.partition(" ")
            code = rest[:3]
            if not version.startswith("HTTP/1.") or not (
                code.isascii() and code.isdigit() and len(code) == 3
            ):
                raise Incomprehensible(f"cannot understand what answers on {self.path}: it is not HTTP")
            fields = {}
            for line in lines:
                name, _, value = line.partition(":")
                fields[name.strip().lower()] = value.strip()
            if not code.startswith("1"):  # 100 Continue and the like come before the answer
                return int(code), fields

    def _body(self, method: str, status: int, fields: Mapping[str, str]) -> Iterator[bytes]:
        if method == "HEAD" or status in (204, 304):
            return
        if "chunked" in fields.get("transfer-encoding", "").lower():
            while size := self._chunk_size():
                *pieces, last = self._exactly(size)
                yield from pieces
                # Its line end is taken first: what is given then leaves nothing behind that is not new.
                self._until(b"\r\n")
                yield last
            while self._until(b"\r\n"):  # trailers
                pass
        elif "content-length" in fields:
            length = fields["content-length"]
            if not (length.isascii() and length.isdigit()):
                raise Incomprehensible(f'cannot understand the answer: its length is "{length[:40]}"')
            yield from self._exactly(int(length))
        else:
            while self._buffer or self._fill():
                piece = bytes(self._buffer)
                self._buffer.clear()
                yield piece

    def _chunk_size(self) -> int:
        line = self._until(b"\r\n").partition(b";")[0].strip()
        try:
            return int(line, 16)
        except ValueError:
            raise Incomprehensible(f"cannot understand the answer: a chunk of size {line[:40]!r}") from None

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._buffer and not self._fill():
                raise self._lost(None)
            piece = bytes(self._buffer[:size])
            del self._buffer[:size]
            size -= len(piece)
            yield piece

    def _until(self, mark: bytes) -> bytes:
        seen = 0
        while (end := self._buffer.find(mark, max(0, seen - len(mark)))) < 0:
            seen = len(self._buffer)
            if seen > MOST_HEAD:
                raise Incomprehensible(f"cannot understand what answers on {self.path}: a line without end")
            if not self._fill():
                raise self._lost(None)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return line

    def _fill(self) -> bool:
        """Wait for more bytes; False at the end of the connection."""
        assert self._socket is not None
        try:
            self._socket.settimeout(self._left())
            piece = self._socket.recv(READ_SIZE)
        except TimeoutError:
            raise self._timed_out() from None
        except OSError as broken:
            raise self._lost(broken) from broken
        self._buffer += piece
        return bool(piece)

    def _left(self) -> float | None:
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise self._timed_out()
        return left

    def _timed_out(self) -> TimedOut:
        return TimedOut(f"cannot wait any longer for {self.path or self.paths[0]}: the time is over")

    def _lost(self, broken: OSError | None) -> ConnectionLost:
        how = f" ({broken.strerror})" if broken is not None and broken.strerror else ""
        return ConnectionLost(f"cannot go on with {self.path}: the daemon closed the connection{how}")


def _no_lines() -> Generator[list[bytes], None, None]:
    yield from ()


def _one_by_one(batches: Generator[list[bytes], None, None]) -> Generator[bytes, None, None]:
    try:
        for batch in batches:
            yield from batch or (b"",)
    finally:
        batches.close()


def _packet(method: str, target: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: droned", "User-Agent: dronectl"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def _tell(line: str) -> None:
    import sys

    print(line, file=sys.stderr, flush=True)

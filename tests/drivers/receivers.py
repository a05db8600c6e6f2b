"""Real receivers of what is forwarded: sockets of syslog daemons, and an HTTP server like Loki's."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from droned.protocols.captured import CapturedLine

BOUND_S = 20.0


def line(number: int, text: str = "") -> CapturedLine:
    """One of many lines, each with a text of its own."""
    return CapturedLine(number, "2026-11-27T04:31:02.123456Z", "web/0", 1, "stdout", text or f"line {number}")


class Datagrams:
    """Takes datagrams at a UDP port or a Unix socket, when it is asked."""

    def __init__(self, at: str | Path = "127.0.0.1", port: int = 0) -> None:
        is_unix = isinstance(at, Path)
        self._socket = socket.socket(socket.AF_UNIX if is_unix else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(str(at) if is_unix else (at, port))
        self._socket.setblocking(False)
        self.port = 0 if is_unix else int(self._socket.getsockname()[1])

    def taken(self) -> list[bytes]:
        """What has come since."""
        found: list[bytes] = []
        while True:
            try:
                found.append(self._socket.recv(1 << 18))
            except BlockingIOError:
                return found

    def close(self) -> None:
        """Be gone."""
        self._socket.close()


class Stream:
    """Takes connections and bytes at a TCP port, when it is asked."""

    def __init__(self, port: int = 0) -> None:
        self._listening = socket.socket()
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listening.bind(("127.0.0.1", port))
        self._listening.listen()
        self._listening.setblocking(False)
        self.port = int(self._listening.getsockname()[1])
        self.connections: list[socket.socket] = []
        self.received: list[bytearray] = []
        """Of each connection, in their order."""
        self.ended = 0

    def accept(self) -> bool:
        """Take the connections that were made; whether there has been one."""
        while True:
            try:
                made, _ = self._listening.accept()
            except BlockingIOError:
                return bool(self.connections)
            made.setblocking(False)
            self.connections.append(made)
            self.received.append(bytearray())

    def read(self) -> bool:
        """Take what was sent; always true."""
        self.accept()
        for made, received in zip(self.connections, self.received, strict=True):
            try:
                while made.fileno() >= 0 and (piece := made.recv(1 << 16)):
                    received.extend(piece)
            except BlockingIOError:
                continue
            except ConnectionError:
                pass
            if made.fileno() >= 0:
                self.ended += 1
                made.close()
        return True

    def break_off(self) -> None:
        """Break every connection, unread bytes and all."""
        for made in self.connections:
            if made.fileno() >= 0:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                made.close()

    def close(self) -> None:
        """Be gone."""
        self.break_off()
        self._listening.close()


Answer = tuple[int, Mapping[str, str], bytes]


class Loki:
    """An HTTP server that answers as it is told, by number of the push: 0, 1, 2 …"""

    def __init__(self, answer: Callable[[int], Answer | None], tls: ssl.SSLContext | None = None) -> None:
        """None is no answer at all."""
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.paths: list[str] = []
        self.connections: set[Any] = set()
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """One push."""
                number = len(receiver.bodies)
                receiver.connections.add(self.client_address)
                receiver.paths.append(self.path)
                receiver.headers.append(dict(self.headers))
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                told = answer(number)
                if told is None:
                    receiver._released.wait(BOUND_S)
                    self.close_connection = True
                    return
                status, headers, body = told
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # clients that go are none of its
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Be gone."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def loki(answer: Callable[[int], Answer | None] = lambda number: (204, {}, b"")) -> Iterator[Loki]:
    """A Loki, gone in the end."""
    made = Loki(answer)
    try:
        yield made
    finally:
        made.close()


def until(reactor: Any, condition: Callable[[], object]) -> None:
    """Let the reactor run until the condition holds."""
    deadline = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline
        reactor.iterate(0.01)

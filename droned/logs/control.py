"""The control socket: for the daemon, for readers, for a guardian that comes later.

A client costs what its questions cost and no more: what it does not read is
bounded, of positions only the newest waits, and who sends what cannot be read
is answered and dropped.
"""

import json
import os
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from droned.logs import log
from droned.logs.format import PACKET_BYTES, SOCKET
from droned.logs.loop import READ, WRITE, Loop

_BACKLOG = 512
_MOST_CLIENTS = 200
_MOST_WAITING = 256
_PACKETS_A_TURN = 8
_ANCILLARY_BYTES = socket.CMSG_SPACE(16)
_AGAIN_S = 1.0

Answer = list[dict[str, Any]] | None


class RequestError(Exception):
    """A request that cannot be done."""


class Client:
    """One connection. `is_behind`: a newer position than it was told of is there."""

    __slots__ = ("is_behind", "is_watching", "sock", "waiting")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.is_watching = False
        self.is_behind = False
        self.waiting: deque[bytes] = deque()


class Control:
    """The socket and its clients.

    `do` makes the answers to a request with its descriptors, which are its own to close; `attach` is given
    the connection of a guardian.
    """

    __slots__ = ("_attach", "_clients", "_do", "_listener", "_loop", "_position")

    def __init__(
        self,
        folder: str,
        loop: Loop,
        do: Callable[[dict[str, Any], list[int]], Answer],
        attach: Callable[[socket.socket], None],
    ) -> None:
        self._loop = loop
        self._do = do
        self._attach = attach
        self._clients: dict[int, Client] = {}
        self._position = 0
        self._listener = _listening(folder)
        loop.watch(self._listener.fileno(), READ, self._accept)

    def moved(self, position: int) -> None:
        """Tell all that watch how far it has come."""
        self._position = position
        for client in list(self._clients.values()):
            if client.is_watching:
                client.is_behind = True
                if not client.waiting:
                    self._flush(client)

    def close(self) -> None:
        """End all connections."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._loop.unwatch(self._listener.fileno())
        self._listener.close()

    def _accept(self, events: int) -> None:
        for _ in range(_PACKETS_A_TURN):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                log.say(f"cannot accept a connection: {error.strerror}")
                self._loop.watch(self._listener.fileno(), 0, self._accept)  # else it would be told at once
                self._loop.alarm("accept", time.monotonic() + _AGAIN_S, self._listen_again)
                return
            if len(self._clients) >= _MOST_CLIENTS:
                sock.close()
                continue
            sock.setblocking(False)
            client = Client(sock)
            self._clients[sock.fileno()] = client
            self._watch(client)

    def _listen_again(self) -> None:
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _watch(self, client: Client) -> None:
        waits = client.waiting or client.is_behind
        events = WRITE if len(client.waiting) > _MOST_WAITING // 2 else READ | (WRITE if waits else 0)
        self._loop.watch(client.sock.fileno(), events, lambda happened: self._ready(client, happened))

    def _ready(self, client: Client, events: int) -> None:
        if events & WRITE:
            self._flush(client)
        if not events & ~WRITE:
            return
        for _ in range(_PACKETS_A_TURN):
            if client.sock.fileno() < 0 or len(client.waiting) > _MOST_WAITING // 2:
                return
            try:
                packet, ancillary, flags, _ = client.sock.recvmsg(
                    PACKET_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
                )
            except BlockingIOError:
                return
            except OSError:
                self._drop(client)
                return
            fds = _descriptors_in(ancillary)
            if not packet:
                _close(fds)
                self._drop(client)
                return
            if not self._take(client, packet, fds, flags):
                return

    def _take(self, client: Client, packet: bytes, fds: list[int], flags: int) -> bool:
        """Do what one packet asks; False when the connection is a client's no more."""
        number: object = None
        try:
            try:
                request = json.loads(packet)
            except (ValueError, RecursionError) as error:
                raise _Hopeless(f"cannot read a packet of {len(packet)} bytes: {error}") from error
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC) or type(request) is not dict:
                raise _Hopeless("cannot read a packet that is no whole object")
            number = request.get("id")
            if number is not None and type(number) not in (int, str):
                raise _Hopeless("cannot answer an id that is neither number nor text")
            if request.get("do") == "attach" and not fds:
                self._loop.unwatch(client.sock.fileno())
                del self._clients[client.sock.fileno()]
                self._attach(client.sock)
                return False
            if request.get("do") == "watch":
                client.is_watching = client.is_behind = True
                _close(fds)
                self._flush(client)
                return True
            answers = self._do(request, fds) or []
        except _Hopeless as error:
            _close(fds)
            self._send(client, {"id": number, "error": str(error)})
            self._drop(client)
            return False
        except RequestError as error:
            answers = [{"error": str(error)}]
        for answer in answers:
            self._send(client, {"id": number, **answer})
        return True

    def _send(self, client: Client, answer: dict[str, Any]) -> None:
        client.waiting.append(json.dumps(answer, separators=(",", ":")).encode("ascii"))
        self._flush(client)

    def _flush(self, client: Client) -> None:
        if client.sock.fileno() < 0:
            return
        try:
            while client.waiting:
                client.sock.send(client.waiting[0])
                client.waiting.popleft()
            if client.is_behind:
                client.sock.send(b'{"position":%d}' % self._position)
                client.is_behind = False
        except BlockingIOError:
            if len(client.waiting) > _MOST_WAITING:
                self._drop(client)
                return
        except OSError:
            self._drop(client)
            return
        self._watch(client)

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.sock.fileno(), None) is not None:
            self._loop.unwatch(client.sock.fileno())
            client.sock.close()


class _Hopeless(Exception):
    """A packet after which the rest is not worth reading."""


def _listening(folder: str) -> socket.socket:
    """The socket, in place of a stale one. It is bound by a short name: the folder's may be too long."""
    path = f"{folder}/{SOCKET}"
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    umask = os.umask(0o177)
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.bind(f"/proc/self/fd/{place}/{SOCKET}")
    finally:
        os.umask(umask)
        os.close(place)
    sock.listen(_BACKLOG)
    return sock


def _descriptors_in(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    return [
        fd
        for level, kind, content in ancillary
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS
        for (fd,) in struct.iter_unpack("i", content[: len(content) - len(content) % 4])
    ]


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
    fds.clear()

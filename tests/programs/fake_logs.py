"""A `droned-logs` of the tests: moves bytes from pipes to files as the real one does, and writes no index.

It is put in the place of the real program in a copy of the installed guardian.
What it was told stands in STATE/logs/told, a JSON line each; while there is a
file STATE/logs/mute it answers no ping.
"""

import fcntl
import json
import os
import select
import socket
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from droned.guardian import wire

_MOST = 1 << 16


class FakeLogs:
    """One life of it."""

    def __init__(self, folder: str, fd: int) -> None:
        os.makedirs(folder, exist_ok=True)
        self._folder = folder
        self._lock = os.open(os.path.join(folder, ".lock"), os.O_RDWR | os.O_CREAT)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._told = open(os.path.join(folder, "told"), "a", buffering=1)  # noqa: SIM115
        self._guardian: socket.socket | None = socket.socket(fileno=fd)
        self._guardian.setblocking(False)
        self._reader, self._outbox = wire.to_logs(), wire.Outbox()
        self._streams: dict[str, tuple[int, int, dict[str, Any]]] = {}
        self._goes = False
        path = os.path.join(folder, ".socket")
        if os.path.exists(path):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen()
        self._say({"type": "ready", "protocol": 1, "pid": os.getpid()})

    def _say(self, message: dict[str, Any], fds: tuple[int, ...] = ()) -> None:
        if self._guardian is not None:
            self._outbox.add(message, fds)
            self._outbox.flush(self._guardian)

    def run(self) -> None:
        while not self._goes:
            self._drain()
            fds = [self._listener.fileno()]
            if self._guardian is not None:
                fds.append(self._guardian.fileno())
            ready, _, _ = select.select(fds, [], [], 0.02)
            if self._listener.fileno() in ready:
                self._attached()
            elif ready:
                self._hear()
        self._drain()

    def _attached(self) -> None:
        sock, _ = self._listener.accept()
        if json.loads(sock.recv(_MOST)) != {"do": "attach"}:
            return
        sock.setblocking(False)
        self._guardian, self._outbox = sock, wire.Outbox()
        for name, (fd, _, message) in self._streams.items():
            self._say({**message, "type": "captured", "name": name}, (fd,))
        self._say({"type": "captured_all"})

    def _hear(self) -> None:
        assert self._guardian is not None
        try:
            deliveries = self._reader.receive(self._guardian)
        except OSError:
            deliveries = None
        if deliveries is None:
            self._guardian = None
        for message, fds in deliveries or ():
            match message["type"]:
                case "capture":
                    self._capture(message, fds[0])
                case "ping":
                    if not os.path.exists(os.path.join(self._folder, "mute")):
                        self._say({"type": "pong", "n": message["n"]})
                case "go":
                    self._goes = True
            print(json.dumps({**message, "by": os.getpid()}), file=self._told)

    def _capture(self, message: dict[str, Any], fd: int) -> None:
        if message["name"] in self._streams:
            os.close(fd)
            return
        folder = os.path.join(self._folder, message["instance"])
        os.makedirs(folder, exist_ok=True)
        out = os.open(os.path.join(folder, message["stream"]), os.O_WRONLY | os.O_CREAT, 0o600)
        self._streams[message["name"]] = (fd, out, message)

    def _drain(self) -> None:
        ended = [name for name, (fd, out, _) in self._streams.items() if _has_ended(fd, out)]
        for name in ended:
            fd, out, _ = self._streams.pop(name)
            os.close(fd)
            os.close(out)
        if ended:
            self._say({"type": "drained", "names": ended})


def _has_ended(fd: int, out: int) -> bool:
    os.lseek(out, 0, os.SEEK_END)  # another run of the instance may have it open too
    try:
        while moved := os.splice(fd, out, _MOST):
            if moved < _MOST:
                break
    except BlockingIOError:
        return False
    return moved == 0


if __name__ == "__main__":
    FakeLogs(os.path.join(sys.argv[2], "logs"), int(sys.argv[4])).run()

"""A server of `tests.live.api_server` in a process of its own, and a plain client for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 30.0


class ServerProcess:
    """One server; `tell` gives it a line and waits for its answer."""

    def __init__(self, path: Path, folder: Path, *options: str, umask: int = -1) -> None:
        self.path = str(path)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.live.api_server", self.path, str(folder), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            umask=umask,
        )
        self.first_line = self._line()

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, line: str) -> int:
        """Have a line done; the version after it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return int(self._line().split()[1])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(PATIENCE_S)

    def wait(self) -> int:
        return self._process.wait(PATIENCE_S)

    def close(self) -> None:
        """End it, however it is."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(PATIENCE_S)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextmanager
def serving(path: Path, folder: Path, *options: str, umask: int = -1) -> Iterator[ServerProcess]:
    """A server that is ready; ended in any case."""
    server = ServerProcess(path, folder, *options, umask=umask)
    try:
        yield server
    finally:
        server.close()


class Wire:
    """One connection."""

    def __init__(self, path: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(path)
        self.reader = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *unused: object) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> None:
        lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: droned"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def head(self) -> tuple[int, dict[str, str]]:
        status = int(self.reader.readline().split()[1])
        headers = {}
        while line := self.reader.readline().strip():
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return status, headers

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = self.head()
        return status, headers, self.reader.read(int(headers.get("content-length", "0")))

    def get(self, path: str, **headers: str) -> Any:
        self.ask(path, "GET", b"", **headers)
        status, _, body = self.answer()
        assert status == 200, body
        return json.loads(body)

    def post(self, document: object) -> tuple[int, Any]:
        self.ask("/actions", "POST", json.dumps(document).encode())
        status, _, body = self.answer()
        return status, json.loads(body)

    def lines(self) -> Iterator[Any]:
        """What a stream of JSON lines says until it ends; ConnectionError when it is cut off."""
        status, headers = self.head()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        rest = b""
        while True:
            size = self.reader.readline()
            if not size:
                raise ConnectionResetError("the stream was cut off")
            chunk = self.reader.read(int(size, 16) + 2)[:-2]
            if not chunk:
                return
            *whole, rest = (rest + chunk).split(b"\n")
            yield from map(json.loads, whole)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))

"""A reader as a process, and a stand-in for the socket of `droned-logs`."""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from droned.logs.format import PACKET_BYTES, SOCKET

PROGRAM = Path(__file__).resolve().parents[3] / "droned/logs/reader/__main__.py"
COMMAND = [sys.executable, "-I", "-S", "-E", str(PROGRAM)]
LONGEST_S = 20.0


def answered(folder: Path, **question: Any) -> list[dict[str, Any]]:
    """All objects that a reader prints which does not follow."""
    text = json.dumps({"folder": str(folder)} | question)
    done = subprocess.run(COMMAND, input=text.encode(), capture_output=True, check=True, timeout=LONGEST_S)
    assert done.stderr == b""
    return [json.loads(line) for line in done.stdout.splitlines()]


class Reader:
    """A reader that follows."""

    def __init__(self, folder: Path, **question: Any) -> None:
        self.process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._out = self.process.stdout
        self.stdin = self.process.stdin
        self.stdin.write(json.dumps({"folder": str(folder), "follow": True} | question).encode() + b"\n")
        self._text = b""
        self.objects: list[dict[str, Any]] = []

    def __enter__(self) -> "Reader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stdin.close()
        try:
            self.process.wait(LONGEST_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._out.close()
            assert self.process.stderr is not None
            problems = self.process.stderr.read()
            self.process.stderr.close()
        assert problems == b""

    def until(self, is_there: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
        """All objects so far, once this is true of them."""
        stop = time.monotonic() + LONGEST_S
        while not is_there(self.objects):
            assert time.monotonic() < stop, self.objects[-20:]
            if select.select([self._out], [], [], 0.5)[0]:
                data = os.read(self._out.fileno(), 65_536)
                assert data, self.objects[-20:]
                *whole, self._text = (self._text + data).split(b"\n")
                self.objects += [json.loads(line) for line in whole]
        return self.objects

    def until_shown(self, number: int) -> list[dict[str, Any]]:
        """So many objects but for those that say it has caught up."""
        return shown(self.until(lambda objects: len(shown(objects)) >= number))

    def until_caught_up(self) -> list[dict[str, Any]]:
        """All objects once history is over."""
        return self.until(lambda objects: any(one.get("event") == "caught_up" for one in objects))


def shown(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All but those that say a reader has caught up."""
    return [one for one in objects if one.get("event") != "caught_up"]


class Socket:
    """What `droned-logs` listens on; `tell` wakes those who watch."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SOCKET
        self._watching: list[socket.socket] = []
        self.open()

    def open(self) -> None:
        """Listen."""
        self._listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listening.settimeout(LONGEST_S)
        place = os.open(self._path.parent, os.O_PATH)
        self._listening.bind(f"/proc/self/fd/{place}/{self._path.name}")
        os.close(place)
        self._listening.listen()

    def accept(self) -> None:
        """Take one who asks to watch."""
        taken, _address = self._listening.accept()
        taken.settimeout(LONGEST_S)
        assert json.loads(taken.recv(PACKET_BYTES)) == {"do": "watch"}
        self._watching.append(taken)

    def tell(self, position: int) -> None:
        """Something was captured."""
        for watching in self._watching:
            watching.send(json.dumps({"position": position}).encode())

    def close(self) -> None:
        """Die."""
        for one in (*self._watching, self._listening):
            one.close()
        self._watching.clear()
        self._path.unlink()

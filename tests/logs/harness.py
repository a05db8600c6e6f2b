"""A guardian and clients for a real `droned-logs`: holds pipes, starts it, kills it, reads its files."""

import gzip
import itertools
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from droned.guardian.wire import Outbox, from_logs, pair_socket
from droned.logs import format as logs_format

PROGRAM = Path(__file__).resolve().parents[2] / "droned" / "logs" / "__main__.py"
PATIENCE_S = 30.0


def wait_for(condition: Callable[[], Any], what: str = "") -> Any:
    """The first true value of `condition`."""
    until = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited in vain for {what or condition}")
        time.sleep(0.005)


class Client:
    """One connection to the control socket."""

    def __init__(self, folder: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(PATIENCE_S)
        self.sock.connect(str(folder / ".socket"))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, request: object, fds: tuple[int, ...] = ()) -> None:
        content = request if isinstance(request, bytes) else json.dumps(request).encode()
        if fds:
            socket.send_fds(self.sock, [content], list(fds))
        else:
            self.sock.send(content)

    def receive(self) -> dict[str, Any]:
        packet = self.sock.recv(logs_format.PACKET_BYTES)
        if not packet:
            raise EOFError
        answer: dict[str, Any] = json.loads(packet)
        return answer

    def ask(self, request: dict[str, Any], fds: tuple[int, ...] = ()) -> dict[str, Any]:
        self.send({"id": 1, **request}, fds)
        return self.receive()


class Keeper:
    """What a guardian does for `droned-logs`: keeps read ends, and starts it as often as it is lost."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / "logs"
        self.pipes: dict[str, tuple[dict[str, Any], int]] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self.sock: socket.socket | None = None
        self.messages: list[Any] = []
        self._reader = from_logs()

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Start it, wait until it is ready, and give it all pipes."""
        ours, its = pair_socket()
        its.setblocking(True)
        command = [sys.executable, "-I", "-S", "-E", *self.command()]
        self.process = subprocess.Popen(
            [*command, "--guardian-fd", str(its.fileno())],
            pass_fds=[its.fileno()],
            env={**os.environ, **(environment or {})},
        )
        its.close()
        self.sock = ours
        self.messages = []
        self.wait_message("ready")
        for message, fd in self.pipes.values():
            self.send(message, fd)

    def command(self) -> list[str]:
        """The program, and where it captures."""
        return [str(PROGRAM), "--state", str(self.state)]

    def send(self, message: dict[str, Any], *fds: int) -> None:
        assert self.sock is not None
        outbox = Outbox()
        outbox.add(message, fds)
        while not outbox.flush(self.sock):
            select.select([], [self.sock], [], PATIENCE_S)

    def pump(self) -> None:
        """Take in what it has told."""
        assert self.sock is not None
        while True:
            try:
                deliveries = self._reader.receive(self.sock)
            except (BlockingIOError, ConnectionResetError):
                return
            if deliveries is None:
                return
            for message, fds in deliveries:
                self.messages.append(message)
                for fd in fds:
                    os.close(fd)

    def wait_message(self, kind: str, **fields: object) -> Any:
        def found() -> Any:
            self.pump()
            for message in self.messages:
                if message["type"] == kind and all(message[key] == value for key, value in fields.items()):
                    return message
            return None

        return wait_for(found, f"{kind} {fields}")

    def capture(
        self, instance: str, run: int = 1, stream: str = "output", at: float = 0.0, **policy: object
    ) -> int:
        """A new pipe of this stream; its write end, which is the caller's."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        name = f"{instance}:{run}:{stream}"
        message = {
            "type": "capture",
            "name": name,
            "instance": instance,
            "run": run,
            "stream": stream,
            "policy": json.dumps({"compress": False, **policy}),
            "at": at or time.time(),
            "fds": 1,
        }
        self.pipes[name] = (message, read_end)
        if self.process is not None:
            self.send(message, read_end)
        return write_end

    def end_run(self, instance: str, run: int = 1, status: int | None = 0, at: float = 0.0) -> None:
        self.send(
            {"type": "run_ended", "instance": instance, "run": run, "status": status, "at": at or time.time()}
        )

    def wait_drained(self, name: str) -> None:
        """Until all of a pipe is in the files; its copy is closed."""
        wait_for(lambda: self._is_drained(name), f"the end of {name}")
        _, fd = self.pipes.pop(name)
        os.close(fd)

    def _is_drained(self, name: str) -> bool:
        self.pump()
        return any(name in message["names"] for message in self.messages if message["type"] == "drained")

    def kill(self) -> None:
        assert self.process is not None
        assert self.sock is not None
        self.process.kill()
        self.process.wait()
        self.sock.close()
        self.process = None

    def go(self) -> int:
        """Have it exit as for an upgrade; its exit code."""
        assert self.process is not None
        assert self.sock is not None
        self.send({"type": "go"})
        code = self.process.wait(PATIENCE_S)
        self.sock.close()
        self.process = None
        return code

    def close(self) -> None:
        if self.process is not None:
            self.kill()
        for _, fd in self.pipes.values():
            os.close(fd)

    # ---- what is there

    def segments(self, instance: str, stream: str = "output") -> list[tuple[int, bytes]]:
        """Start and content of each segment, ascending."""
        found = []
        for path in (self.folder / instance).glob(f"{stream}-*"):
            name = logs_format.segment_named(path.name)
            assert name is not None, path
            content = gzip.decompress(path.read_bytes()) if name.is_compressed else path.read_bytes()
            found.append((name.start, content))
        return sorted(found)

    def content(self, instance: str, stream: str = "output") -> bytes:
        """All that is kept of a stream; segments must follow one another without a gap."""
        segments = self.segments(instance, stream)
        for (start, content), (after, _) in itertools.pairwise(segments):
            assert start + len(content) == after
        return b"".join(content for _, content in segments)

    def blocks(self) -> Iterator[logs_format.Block]:
        """All blocks of the index; every file is whole, and positions follow one another."""
        position = None
        for path in sorted((self.folder / ".index").iterdir()):
            content = path.read_bytes()
            end = 0
            for block in logs_format.blocks(content):
                end = block.end
                assert position is None or block.position == position
                position = block.position
                if block.kind == logs_format.TICK:
                    position += sum(count for _, count in block.pairs())
                yield block
            assert end == len(content)

    def facts(self, kind: str) -> list[dict[str, Any]]:
        return [
            fact
            for block in self.blocks()
            if block.kind == logs_format.FACT and (fact := block.fact())["fact"] == kind
        ]

    def indexed(self) -> dict[tuple[str, str], int]:
        """How far the index says that each stream has come, counted from its first file."""
        names: dict[int, tuple[str, str]] = {}
        ends: dict[tuple[str, str], int] = {}
        for block in self.blocks():
            if block.kind == logs_format.TICK:
                for number, count in block.pairs():
                    ends[names[number]] += count
            elif (fact := block.fact())["fact"] == "streams":
                for number, instance, stream, offset in fact["streams"]:
                    names[number] = (instance, stream)
                    assert ends.setdefault((instance, stream), offset) == offset
        return ends


@contextmanager
def keeper_in(state: Path) -> Iterator[Keeper]:
    """A keeper, with `droned-logs` started."""
    keeper = Keeper(state)
    try:
        keeper.start()
        yield keeper
    finally:
        keeper.close()

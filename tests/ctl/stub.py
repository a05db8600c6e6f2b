"""A stand-in for the daemon: HTTP/1.1 over a Unix socket in a thread, speaking the control contract.

It keeps rows, events and actions that a test can set, remembers what it was
asked, and can be told to answer anything else, in chunks, late or broken off.
"""

from __future__ import annotations

import json
import os
import socketserver
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

AT = "2026-11-22T12:04:31.118204Z"


class Asked:
    """One request as it came."""

    def __init__(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        self.method = method
        self.path = urlsplit(target).path
        self.query = parse_qs(urlsplit(target).query)
        self.headers = headers
        self.body = body

    @property
    def document(self) -> dict[str, Any]:
        """The JSON of its body."""
        document: dict[str, Any] = json.loads(self.body)
        return document


class Reply:
    """What is answered: a document, bytes, or pieces that make chunks."""

    def __init__(
        self,
        status: int = 200,
        document: object = None,
        *,
        body: bytes | None = None,
        pieces: Iterable[bytes] | None = None,
        content_type: str = "application/json",
        cut: bool = False,
    ) -> None:
        """With `cut` the connection is broken off before the answer is whole."""
        self.status = status
        self.body = body if body is not None else json.dumps(document).encode()
        self.pieces = pieces
        self.content_type = content_type
        self.cut = cut


RESET = Reply(0)
"""The connection is closed without a byte."""


def row(instance: str, state: str = "running", **more: Any) -> dict[str, Any]:
    """An instance's row, the members that a test does not name as they mostly are."""
    app, _, label = instance.partition("/")
    is_up = state in ("running", "starting", "stopping")
    made = {
        "instance": instance,
        "app": app,
        "label": label,
        "server": "web1",
        "wanted": "down" if state == "stopped" else "up",
        "enabled": True,
        "state": state,
        "ready": state == "running",
        "pid": 48213 if is_up else None,
        "run": 3,
        "started_at": "2026-11-22T12:00:00.000000Z" if is_up else None,
        "restarts": 0,
        "exit": None,
        "next_start_at": None,
        "release": None,
        "revision": 41,
        "cpu_percent": None,
        "rss_bytes": None,
        "note": "",
        "cause": 88190,
    }
    return {**made, **more}


def event(version: int, type_: str, subject: str, text: str, **more: Any) -> dict[str, Any]:
    """An event as the stream has it."""
    made = {
        "id": f"{version}.0",
        "version": version,
        "at": AT,
        "type": type_,
        "subject": subject,
        "actor": "droned",
        "cause": 0,
        "text": text,
        "data": {},
    }
    return {**made, **more}


def problem(status: int, code: str, detail: str, **facts: Any) -> Reply:
    """A problem document."""
    document = {"type": f"urn:droned:problem:{code}", "title": code, "status": status, "detail": detail}
    return Reply(status, {**document, "code": code, **facts}, content_type="application/problem+json")


class StubDaemon:
    """The server; `routes` win over what it answers by itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.version = 88214
        self.pid = 4711
        self.issues: list[dict[str, Any]] = []
        self.captured: list[dict[str, Any]] = []
        """What `GET /logs` answers, before its end."""
        self.asked: list[Asked] = []
        self.routes: dict[tuple[str, str], Callable[[Asked], Reply]] = {}
        self.actions: dict[str, list[dict[str, Any]]] = {}
        """The answers of `GET /actions/ID`, one by one; the last stays."""
        self._server: socketserver.BaseServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen; a socket left behind is replaced."""
        self.path.unlink(missing_ok=True)
        self._server = _Server(str(self.path), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close everything and leave the socket behind, as a killed daemon does."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = self._thread = None

    @property
    def host(self) -> str:
        """What `-H` takes."""
        return f"unix://{self.path}"

    def asked_for(self, method: str, path: str) -> list[Asked]:
        """The requests for one route, in order."""
        return [each for each in self.asked if (each.method, each.path) == (method, f"/api/v1{path}")]

    def will(self, method: str, path: str, *replies: Reply | Callable[[Asked], Reply]) -> None:
        """Answer a route with these in turn; the last one stays."""
        waiting = list(replies)

        def answer(asked: Asked) -> Reply:
            reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            return reply if isinstance(reply, Reply) else reply(asked)

        self.routes[method, f"/api/v1{path}"] = answer

    def status(self, targets: list[str]) -> Reply:
        """The status shape, of the rows that the targets name."""
        chosen = [
            each for each in self.rows if not targets or each["instance"] in targets or each["app"] in targets
        ]
        if targets and not chosen:
            return problem(
                404, "no-such-target", f'cannot find instance or app "{targets[0]}"; did you mean "web"?'
            )
        shape = {"server": "web1", "version": self.version, "usage_version": 0, "at": AT}
        return Reply(200, {**shape, "instances": chosen})

    def daemon(self) -> dict[str, Any]:
        """The daemon's own status."""
        return {
            "pid": self.pid,
            "guardian_pid": 4700,
            "logs_pid": 4705,
            "version": "0.1.0",
            "started_at": AT,
            "socket": str(self.path),
            "state_dir": "/var/lib/droned",
            "config": "/etc/droned/droned.yaml",
            "services": [{"name": "journal", "state": "running", "note": ""}],
            "reactor_lag_s": 0.0004,
            "degraded": [],
            "server": "web1",
            "boot_id": "b",
            "issues": len(self.issues),
            "registry_version": self.version,
        }

    def answer(self, asked: Asked) -> Reply:
        """What a request gets."""
        route = self.routes.get((asked.method, asked.path))
        if route is not None:
            return route(asked)
        parts = asked.path.removeprefix("/api/v1").strip("/").split("/")
        if asked.method == "GET":
            match parts:
                case ["instances"]:
                    return self.status(asked.query.get("target", []))
                case ["daemon"]:
                    return Reply(200, self.daemon())
                case ["issues"]:
                    return Reply(200, {"version": self.version, "issues": self.issues})
                case ["actions", key] if key in self.actions:
                    replies = self.actions[key]
                    return Reply(200, replies.pop(0) if len(replies) > 1 else replies[0])
                case ["events"]:
                    return self._events(asked)
                case ["logs"]:
                    lines = [*self.captured, {"event": "end", "position": 999}]
                    body = "".join(json.dumps(each) + "\n" for each in lines)
                    return Reply(200, body=body.encode(), content_type="application/x-ndjson")
        return problem(404, "no-such-target", f"cannot find {asked.path}")

    def _events(self, asked: Asked) -> Reply:
        since = asked.query.get("since", ["0"])[0]
        behind = (int(since.partition(".")[0]), int(since.partition(".")[2] or 2**40))
        if asked.query.get("follow"):
            is_new = "since" not in asked.query
            lines = [{"type": "sync", "version": self.version}]
            found = [] if is_new else [each for each in self.events if _place(each) > behind]
            return Reply(
                200,
                pieces=[json.dumps(each).encode() + b"\n" for each in [*lines, *found]],
                content_type="application/x-ndjson",
            )
        limit = int(asked.query.get("limit", ["1000"])[0])
        found = [each for each in self.events if _place(each) > behind][:limit]
        next_ = found[-1]["id"] if found else since
        return Reply(200, {"events": found, "version": self.version, "next": next_})

    def action(
        self,
        command: str,
        *states: Iterable[dict[str, Any]],
        ends: str = "succeeded",
        text: str = "",
        **more: Any,
    ) -> None:
        """Accept `command`; its action then goes through `states` (rows of its items) and ends.

        What it began are the runs from 3 on; `text` says of each item what came of it.
        """
        steps = [list(rows) for rows in states]
        keys = [each["instance"] for each in steps[-1]]

        def shape(number: int) -> dict[str, Any]:
            state = ends if number == len(steps) - 1 else "running"
            items = [
                {"instance": key, "goal": "running", "after_run": 2, "state": state, "text": text}
                for key in keys
            ]
            action: dict[str, Any] = {
                "id": "A1",
                "command": command,
                "targets": keys,
                "actor": "root",
                "reason": "",
            }
            action |= {"state": state, "began_at": AT, "ended_at": None, "durable": True, "items": items}
            return {**action, **(more if number == len(steps) - 1 else {})}

        self.actions["A1"] = [
            {"version": 100 + number, "at": AT, "action": shape(number), "instances": rows}
            for number, rows in enumerate(steps)
        ]
        receipt = {"version": 100, "durable": True, "action": shape(-2), "result": {}}
        self.will("POST", "/actions", Reply(202, receipt))


def _place(each: dict[str, Any]) -> tuple[int, int]:
    version, _, index = each["id"].partition(".")
    return int(version), int(index)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, path: str, handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[Any] = set()
        super().__init__(path, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def server_close(self) -> None:
        """Also break the connections that stand, as the end of a process does."""
        super().server_close()
        for each in self._open:
            try:
                each.shutdown(2)
            except OSError:
                pass

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of the test's concerns."""


def _handler(stub: StubDaemon) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  the base's name
            pass

        def address_string(self) -> str:
            return "unix"

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(self.command, self.path, headers, body)
            stub.asked.append(asked)
            reply = stub.answer(asked)
            if reply is RESET:
                self.close_connection = True
                return
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            if reply.pieces is None:
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
            else:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                for piece in reply.pieces:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    self.wfile.flush()
                if not reply.cut:
                    self.wfile.write(b"0\r\n\r\n")
            self.close_connection = reply.cut or self.close_connection

        do_GET = do_POST = do_PUT = do_DELETE = _do

    return Handler


def serve(path: str, instances: int) -> None:
    """Run as a program of its own for measurements: `python -m tests.ctl.stub PATH INSTANCES`."""
    stub = StubDaemon(Path(path))
    stub.rows = [row(f"web/{number}", pid=1000 + number) for number in range(instances)]
    whole = stub.status([])
    stub.routes["GET", "/api/v1/instances"] = lambda asked: whole
    stub.start()
    print(os.getpid(), flush=True)
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    import sys

    serve(sys.argv[1], int(sys.argv[2]))

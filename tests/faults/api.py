"""A client of droned's HTTP API over its Unix socket, for harness and benchmarks only.

Independent of dronectl on purpose, so that both are not wrong together. Every
failure to get a whole answer is `Unanswered`: the harness has to know that it
does not know.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlencode

PREFIX = "/api/v1"


class Unanswered(Exception):
    """No whole answer came: whether the request was carried out is unknown."""


class Refused(Exception):
    """droned answered with a problem: its `status` and its `problem` document."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status = status
        self.problem = problem


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("droned", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(cast(float, self.timeout))
        try:
            self.sock.connect(self._path)
        except OSError:
            self.sock.close()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """droned behind one Unix socket; every call is a connection of its own."""

    socket: str

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> Any:
        """The decoded answer; raises Unanswered or Refused."""
        connection = _UnixConnection(self.socket, timeout_s)
        sent = dict(headers or {})
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            connection.request(
                method, PREFIX + path, None if body is None else json.dumps(body).encode(), sent
            )
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        try:
            value = json.loads(content) if content else {}
        except ValueError:
            value = {"code": "not-json", "detail": content[:200].decode(errors="replace")}
        if answer.status >= 400:
            raise Refused(answer.status, value)
        return value

    def stream(self, path: str, timeout_s: float = 60.0) -> Iterator[bytes]:
        """What a GET answers, as it comes; closing the iterator ends it.

        Raises Unanswered when it breaks off or nothing comes for `timeout_s`, or Refused.
        """
        connection = _UnixConnection(self.socket, timeout_s)
        try:
            connection.request("GET", PREFIX + path)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise Refused(answer.status, json.loads(answer.read()))
            while content := answer.read1(1 << 20):
                yield content
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unanswered(f"GET {path}: {error!r}") from error
        finally:
            connection.close()

    def get(self, path: str, **query: str | int | float) -> Any:
        """The answer to a GET."""
        return self.ask("GET", path + ("?" + urlencode(query) if query else ""))

    def daemon(self, timeout_s: float = 2.0) -> dict[str, Any]:
        """`GET /daemon`: an answer means that the daemon is in control."""
        return cast(dict[str, Any], self.ask("GET", "/daemon", timeout_s=timeout_s))

    def instances(self) -> dict[str, dict[str, Any]]:
        """The row of every instance by its key."""
        return {row["instance"]: row for row in self.get("/instances")["instances"]}

    def instance(self, key: str) -> dict[str, Any]:
        """The description of one instance."""
        return cast(dict[str, Any], self.get("/instances/" + quote(key)))

    def events(self, since: str = "0", **query: str | int) -> list[dict[str, Any]]:
        """Every event after a position, oldest first, page by page."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.get("/events", since=since, limit=5000, **query)
            found += page["events"]
            if not page["events"] or page["next"] == since:
                return found
            since = page["next"]

    def order(
        self,
        command: str,
        targets: tuple[str, ...],
        *,
        key: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        every: bool = False,
        timeout_s: float = 10.0,
    ) -> dict[str, Any]:
        """The receipt of a changing command; `key` makes a repetition harmless."""
        body = {
            "command": command,
            "targets": list(targets),
            "all": every,
            "arguments": dict(arguments or {}),
            "reason": "",
        }
        headers = {"Idempotency-Key": key} if key else {}
        answer = self.ask("POST", "/actions", body=body, headers=headers, timeout_s=timeout_s)
        return cast(dict[str, Any], answer)

    def ended(self, action: str, within_s: float = 30.0) -> dict[str, Any]:
        """An action once it has ended, or as it is when the time is over."""
        deadline = time.monotonic() + within_s
        found = self.get(f"/actions/{action}")
        while found["action"]["state"] == "running" and (left := deadline - time.monotonic()) > 0:
            step = round(min(10.0, left), 3)
            query = urlencode({"wait": step, "since": found["version"]})
            found = self.ask("GET", f"/actions/{action}?{query}", timeout_s=step + 5.0)
        return cast(dict[str, Any], found["action"])

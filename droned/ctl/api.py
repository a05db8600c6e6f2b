"""The daemon's API as verbs use it: questions, changing requests that survive its restart, waiting.

A changing request carries a random idempotency key and is asked again with
that same key while the daemon is being replaced, so that a `kill -9` of the
daemon in the middle of a `dronectl restart` is seen as a notice and a second's
pause. The journal knows the key: nothing is done twice.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from droned.ctl.connection import Answer, Connection
from droned.ctl.failures import ConnectionLost, Unreachable, from_problem
from droned.errors import DronedError, ShuttingDown

BASE = "/api/v1"
RETRY_S = 10.0
"""Seconds for which a daemon that went away is asked again."""
RETRY_PAUSE_S = 0.05
LONGEST_WAIT_S = 20.0
"""Seconds of one long poll; a daemon that hangs is replaced meanwhile, which breaks the connection."""

_Result = TypeVar("_Result")


def quoted(text: str) -> str:
    """`text` percent-encoded for a part of a path or a query (RFC 3986)."""
    if text.isascii() and text.isalnum():
        return text
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    encoded = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in encoded)


def query_of(pairs: Iterable[tuple[str, object]]) -> str:
    """`?name=value&…` of the pairs whose value is not None; nothing when there are none."""
    text = "&".join(f"{name}={quoted(str(value))}" for name, value in pairs if value is not None)
    return f"?{text}" if text else ""


class Api:
    """One command's conversation with the daemon."""

    def __init__(
        self,
        connection: Connection,
        notice: Callable[[str], None],
        deadline: float | None = None,
        patience_s: float = 0.0,
    ) -> None:
        """`deadline` (by `time.monotonic()`) ends every wait; None waits for ever.

        A question is asked again for `patience_s` seconds, and nothing is said of it, where a
        socket is and nobody listens.
        """
        self.connection = connection
        self.deadline = deadline
        self.patience_s = patience_s
        self._notice = notice

    def get(self, path: str, query: Iterable[tuple[str, object]] = ()) -> Answer:
        """The answer to GET `path` below the API's base; raises what the daemon's problem document says."""
        target = BASE + path + query_of(query)

        def ask() -> Answer:
            answer = self.connection.request("GET", target, deadline=self.deadline)
            if answer.status >= 400:
                raise problem_of(answer)
            return answer

        return self.persistently(ask, from_the_start=False)

    def change(
        self,
        command: str,
        targets: Iterable[str] = (),
        *,
        all_targets: bool = False,
        arguments: Mapping[str, object] | None = None,
        reason: str = "",
    ) -> Answer:
        """Ask for a changing command; its receipt (`version`, `durable`, `action`, `result`)."""
        body = json.dumps(
            {
                "command": command,
                "targets": list(targets),
                "all": all_targets,
                "arguments": dict(arguments or {}),
                "reason": reason,
            }
        ).encode("ascii")
        return self._post("/actions", body)

    def order(self, path: str, targets: Iterable[str], *, all_targets: bool, reason: str) -> Answer:
        """The answer to POST `path`, which does something to `targets` that is harmless to do twice."""
        body = {"targets": list(targets), "all": all_targets, "reason": reason}
        return self._post(path, json.dumps(body).encode("ascii"))

    def _post(self, path: str, body: bytes) -> Answer:
        headers = {"Content-Type": "application/json", "Idempotency-Key": os.urandom(16).hex()}

        def ask() -> Answer:
            answer = self.connection.request(
                "POST", BASE + path, body=body, headers=headers, deadline=self.deadline
            )
            if answer.status >= 400:
                raise problem_of(answer)
            return answer

        return self.persistently(ask)

    def action(self, key: str, since: int | None = None, wait_s: float = 0.0) -> Answer:
        """How far the action is: now, or once it changed after version `since`, at most `wait_s` later."""
        wait = None if since is None else round(min(wait_s, LONGEST_WAIT_S), 3)
        path = f"/actions/{quoted(key)}"
        return self.persistently(lambda: self.get(path, (("wait", wait), ("since", since))))

    def persistently(self, ask: Callable[[], _Result], *, from_the_start: bool = True) -> _Result:
        """What `ask` gives, asked again for `RETRY_S` while the daemon is being replaced.

        A daemon that was never there is not waited for, unless its socket is left
        behind: then it ended without a word and its guardian starts it again. With
        `from_the_start` False only one that went away in the middle of its answer is
        waited for as long: a question that can be answered "unreachable" is, after
        `patience_s` at the latest.
        """
        until: float | None = None
        is_told = False
        while True:
            try:
                result = ask()
            except (Unreachable, ShuttingDown) as away:
                now = time.monotonic()
                if not is_told and (self._may_come_back(away) if from_the_start else _was_there(away)):
                    until, is_told = now + RETRY_S, True
                    self._notice("the daemon is away; asking again for up to 10 s")
                elif until is None:
                    if not (self.patience_s and away.facts.get("refused")):
                        raise
                    until = now + self.patience_s
                elif now >= until:
                    if not is_told:
                        raise
                    raise _gave_up(away) from away
                self.connection.close()
                if self.deadline is not None and now + RETRY_PAUSE_S > self.deadline:
                    raise
                time.sleep(RETRY_PAUSE_S)
            else:
                if is_told:
                    self._notice("the daemon answers again")
                return result

    def _may_come_back(self, away: DronedError) -> bool:
        if _was_there(away) or isinstance(away, ShuttingDown):
            return True
        return self.connection.path is not None or bool(away.facts.get("refused"))


def problem_of(answer: Answer) -> DronedError:
    """The error that an answer of 400 and above tells, whatever its body is."""
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = {}
    return from_problem(answer.status, problem if isinstance(problem, dict) else {})


def _was_there(away: DronedError) -> bool:
    return isinstance(away, ConnectionLost)


def _gave_up(away: DronedError) -> DronedError:
    if isinstance(away, ShuttingDown):
        return away
    return Unreachable(f"{away}; it stayed away for {RETRY_S:g} s, and what was asked may have begun")

"""A guardian in memory: programs start at once, run until a signal or the test ends them, and are told of."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from droned.drivers.iguardian import IGuardianLink, Received
from droned.guardian.runs import Run, Table

Message = Mapping[str, Any]


@implementer(IGuardianLink)
class FakeGuardian:
    """Both ends of the wire. `turn` delivers; nothing happens between turns.

    `fail_with` makes the next starts fail with a stage and errno; `sent` has
    all that the daemon said.
    """

    def __init__(self) -> None:
        self.runs = Table()
        self.sent: list[Message] = []
        self.fail_with: tuple[str, int] | None = None
        self.guardian_pid = 1000
        self.boot_id = "boot-1"
        self.state_id = "state-1"
        self.head: tuple[int, str] | None = None
        self.lacking: tuple[str, ...] = ()
        self.logs_pid: int | None = None
        self.is_connected = False
        self.is_unresponsive = False
        self._received: Received | None = None
        self._turn_ended: Callable[[], None] | None = None
        self._table: Deferred[list[Any]] = Deferred()
        self._is_ready = False
        self._orders: deque[Message] = deque()
        self._told: deque[Message] = deque()
        self._parked: dict[str, int] = {}
        self._next_pid = 5000
        self._now = 1_000_000.0

    # ---- the daemon's side

    @property
    def guardian_id(self) -> str:
        """The pid says it here."""
        return f"{self.guardian_pid}.1"

    def begin(self, received: Received, turn_ended: Callable[[], None] | None = None) -> None:
        """Take the daemon's callbacks; the table is there with the next turn."""
        self._received, self._turn_ended = received, turn_ended
        self.is_connected = True

    def table(self) -> Deferred[list[Any]]:
        """The table as it was at hello."""
        return self._table

    def send(self, message: Message) -> None:
        """Queue an order."""
        self.sent.append(message)
        self._orders.append(message)

    def progress(self, text: str) -> None:
        """Note it."""
        self.sent.append({"type": "progress", "text": text})

    def park(self, name: str, fd: int) -> None:
        """Keep a copy."""
        self.unpark(name)
        self._parked[name] = os.dup(fd)

    def unpark(self, name: str) -> None:
        """Close the copy."""
        fd = self._parked.pop(name, -1)
        if fd >= 0:
            os.close(fd)

    def fetch(self, name: str) -> Deferred[int | None]:
        """A copy of the copy."""
        fd = self._parked.get(name)
        return succeed(os.dup(fd) if fd is not None else None)

    def close(self) -> None:
        """Forget what is parked."""
        self.is_connected = False
        for name in list(self._parked):
            self.unpark(name)

    # ---- the test's side

    def turn(self) -> None:
        """Carry out what was ordered, then tell what happened."""
        if self.is_connected and not self._table.called:
            self._table.callback(self.runs.rows())
        while self._orders:
            self._carry_out(self._orders.popleft())
        if self._is_ready and self._told:
            while self._told:
                assert self._received is not None
                self._received(self._told.popleft())
            if self._turn_ended is not None:
                self._turn_ended()

    def tell(self, message: Message) -> None:
        """Have the daemon told this with the next turn."""
        self._told.append(message)

    def end(self, instance: str, status: int | None, leftovers: int = 0) -> None:
        """The main process of an instance ends with a raw wait status, or unseen (None)."""
        run = self.runs.live(instance)
        assert run is not None, f"{instance} does not run"
        run.leftovers = leftovers
        self._now += 1.0
        self.runs.end(run, self._now, status=status)
        self.runs.reaped(run)
        self.tell(
            {
                "type": "ended",
                "instance": instance,
                "run": run.run,
                "status": status,
                "at": self._now,
                "cpu_s": 0.0,
                "max_rss_bytes": 0,
                "leftovers": leftovers,
            }
        )

    def tree_gone(self, instance: str, run: int) -> None:
        """Nothing is left of the tree of a run."""
        self.runs.tree_gone(self.runs.runs[instance, run])
        self.tell({"type": "tree_gone", "instance": instance, "run": run})

    def _carry_out(self, message: Message) -> None:
        match message["type"]:
            case "spawn":
                self._spawn(message["instance"], message["run"])
            case "signal":
                self._signal(message)
            case "ack":
                self._acknowledge(message["ended"], message["head"])
            case "forget":
                self.runs.forget(message["instance"])
            case "ready":
                self._is_ready = True

    def _spawn(self, instance: str, number: int) -> None:
        refusal = self.runs.refusal(instance, number)
        if refusal is not None:
            self.tell(refusal)
            return
        self._now += 1.0
        self._next_pid += 1
        run = Run(instance, number, self._next_pid, self._now, start_time=self._next_pid * 10)
        who = {"instance": instance, "run": number}
        if self.fail_with is not None:
            stage, errno = self.fail_with
            run.pid, run.is_reaped = 0, True
            self.runs.end(run, self._now, failure={"stage": stage, "errno": errno})
            self.runs.add(run)
            self.tell({"type": "spawn_failed", **who, "stage": stage, "errno": errno, "at": self._now})
            return
        run.state = "running"
        self.runs.add(run)
        started = {"pid": run.pid, "start_time": run.start_time, "at": run.at}
        self.tell({"type": "spawned", **who, **started})

    def _signal(self, message: Message) -> None:
        run = self.runs.runs.get((message["instance"], message["run"]))
        lives = run is not None and run.lives
        self.tell({**message, "type": "signalled", "delivered": int(lives)})
        if lives and message["signal"] in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP):
            self.end(message["instance"], message["signal"])

    def _acknowledge(self, ended: Iterable[list[Any]], head: Mapping[str, Any] | None) -> None:
        self.runs.acknowledge(ended)
        if head is not None:
            self.head = (head["version"], head["digest"])

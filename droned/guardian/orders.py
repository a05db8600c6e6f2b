"""The daemon's orders, one method each, and what a daemon is told when it says hello."""

import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from droned.guardian import log, processes
from droned.guardian.wire import PROTOCOL, ROWS_IN_MESSAGE, Delivery, Message, WireError, launch_of

if TYPE_CHECKING:
    from droned.guardian.guardian import Guardian
    from droned.guardian.loop import Timer

RELEASE = "0.1.0"
_HANDING_S = 5.0
_EXITS_WITHIN_S = 10.0
_LEAVES_WITHIN_S = 30.0
_SETTLED_WITHIN_S = 1.0
_LOOK_S = 0.005
_LOGS_WITHIN_S = 1.0


class Orders:
    """Carries out what the daemon says, on the parts of one guardian."""

    def __init__(self, guardian: "Guardian") -> None:
        self._guardian = guardian
        self._companion = guardian.companion
        self._table = guardian.table
        self._handing: Timer | None = None
        self._told_trouble: Message = {}
        self._orders: dict[str, Callable[[Any], None]] = {
            "hello": self._hello,
            "progress": lambda _: self._companion.progressed(),
            "ready": self._ready,
            "pong": lambda _: self._companion.answered(),
            "status": lambda message: guardian.notify.status(message["text"]),
            "signal": self._signal,
            "ack": self._acknowledge,
            "forget": self._forget,
            "watchdog": lambda message: self._companion.pause_watchdog(message["pause_s"]),
            "leave": self._leave,
            "restart": self._restart,
            "exit": self._exit,
            "unpark": self._unpark,
            "fetch": self._fetch,
            "reexec": lambda _: guardian.reexec.begin(),
            "handed": lambda _: self.handed(),
        }
        self._orders_with_descriptors: dict[str, Callable[[Any, tuple[int, ...]], None]] = {
            "spawn": self._spawn,
            "park": self._park,
            "pidfds": self._take_pidfds,
        }

    def carry_out(self, delivery: Delivery) -> None:
        """Do what a message says; an order that fails is told in the log and harms nothing else."""
        message, fds = delivery
        kind = message["type"]
        with_descriptors = self._orders_with_descriptors.get(kind)
        try:
            if with_descriptors is not None:
                with_descriptors(message, fds)
                return
            for fd in fds:
                os.close(fd)
            self._orders[kind](message)
        except Exception as error:  # noqa: BLE001  # the border of an order: apps must not depend on it
            log.say(f"cannot carry out {kind}: {type(error).__name__}: {error}")

    def await_copies(self) -> None:
        """The daemon is about to send copies of what was lost; welcome it after that."""
        if self._handing is None:
            self._guardian.world.descriptors.raise_limit()
            self._handing = self._guardian.loop.later(_HANDING_S, self.handed)

    def _hello(self, message: Any) -> None:
        if message["protocol"] < PROTOCOL - 1:
            log.say(f"cannot serve a daemon that speaks protocol {message['protocol']}, ours is {PROTOCOL}")
            self._companion.kill()
            return
        self._companion.progressed()
        if message.get("handing"):
            self.await_copies()
        elif self._handing is not None:
            self.handed()
        else:
            self._welcome(self._guardian.loop.now() + _SETTLED_WITHIN_S, self._companion.pid)

    def handed(self) -> None:
        """The daemon has sent all copies that it had, or never will."""
        if self._handing is None:
            return
        self._handing.cancel()
        self._handing = None
        self._guardian.world.descriptors.lower_limit()
        self._guardian.adoptions.settle()
        if self._companion.pid:
            self._welcome(self._guardian.loop.now() + _SETTLED_WITHIN_S, self._companion.pid)

    def _welcome(self, until: float, pid: int) -> None:
        """Answer the hello of the daemon `pid`; launches with a thread are waited for, but not for long."""
        if self._companion.pid != pid or self._companion.is_listening:
            return
        guardian = self._guardian
        # An order that still waits for its turn was given before this hello: it belongs in the table.
        guardian.children.start_all()
        if not guardian.children.are_settled and self._guardian.loop.now() < until:
            guardian.loop.later(_LOOK_S, lambda: self._welcome(until, pid))
            return
        self._companion.is_listening = True
        own = os.getpid()
        self._companion.tell(
            {
                "type": "welcome",
                "protocol": PROTOCOL,
                "release": RELEASE,
                "pid": own,
                "start_time": processes.start_time(own) or 0,
                "boot_id": guardian.boot_id,
                "state_id": guardian.place.state_id,
                "head": guardian.head,
                "shutdown": guardian.shutdown_reason is not None,
                "parked": list(guardian.parked),
                "lacking": guardian.lacking(),
                "logs_pid": guardian.logs.pid or None,
            }
        )
        rows = self._table.rows()
        for start in range(0, max(len(rows), 1), ROWS_IN_MESSAGE):
            part = rows[start : start + ROWS_IN_MESSAGE]
            self._companion.tell(
                {"type": "table", "rows": part, "last": start + ROWS_IN_MESSAGE >= len(rows)}
            )
        self._told_trouble = {}
        self.tell_trouble()
        # Even when there are none: a guardian before us may have told of some.
        strangers = guardian.trees.orphans.strangers()
        self._companion.tell({"type": "strangers", "processes": strangers})

    def tell_trouble(self) -> None:
        """Tell the counters that should be 0, when they changed."""
        trouble = {
            "type": "trouble",
            "ledger_errors": self._guardian.ledger.errors,
            "dropped_records": self._table.dropped,
            "ignored_messages": self._companion.ignored,
        }
        if self._companion.is_listening and trouble != self._told_trouble:
            self._told_trouble = trouble
            self._companion.tell(trouble)

    def _ready(self, _message: Any) -> None:
        self._companion.became_ready()
        self._guardian.notify.ready()
        # With the first that is to be captured, if not now: the daemon has a log of its own as well.
        self._guardian.loop.later(_LOGS_WITHIN_S, self._guardian.logs.begin)

    def _leave(self, _message: Any) -> None:
        # Said before it heard of an ordered stop: another is needed for that.
        self._companion.is_left = self._guardian.shutdown_reason is None
        self._companion.end_within(_LEAVES_WITHIN_S)

    def _restart(self, _message: Any) -> None:
        self._companion.restarts_on_purpose = True
        self._companion.end_within(_EXITS_WITHIN_S)

    def _exit(self, message: Any) -> None:
        self._guardian.exit_code = message["code"]
        self._companion.end_within(_EXITS_WITHIN_S)

    # ---- apps

    def _spawn(self, message: Any, fds: tuple[int, ...]) -> None:
        try:
            launch = launch_of(message, fds)
        except WireError as error:
            log.say(str(error))
            self._companion.tell(
                {
                    "type": "spawn_failed",
                    "instance": message["instance"],
                    "run": message["run"],
                    "stage": "exec",
                    "errno": errno.E2BIG,
                    "at": time.time(),
                }
            )
            return
        finally:
            for fd in fds:
                os.close(fd)
        self._guardian.children.order(message["instance"], message["run"], launch)

    def _signal(self, message: Any) -> None:
        instance, number, to = message["instance"], message["run"], message["to"]
        if self._guardian.children.after_launch(instance, lambda: self._signal(message)):
            return
        run = self._table.runs.get((instance, number))
        delivered = 0
        if run is not None:
            try:
                delivered = self._guardian.trees.signal(run, message["signal"], to)
            except OSError as error:  # no such signal, or a program that took another user's rights
                log.say(f"cannot send signal {message['signal']} to {instance}: {error.strerror}")
        self._companion.tell({**message, "type": "signalled", "delivered": delivered})

    def _acknowledge(self, message: Any) -> None:
        keys = self._table.acknowledge(message["ended"])
        self._guardian.head = message["head"] or self._guardian.head
        self._guardian.ledger.acknowledged(keys, self._guardian.head)

    def _forget(self, message: Any) -> None:
        self._table.forget(message["instance"])
        self._guardian.trees.forget(message["instance"])
        self._guardian.ledger.forgotten(message["instance"])
        self._guardian.captures.forget(message["instance"])

    # ---- descriptors

    def _park(self, message: Any, fds: tuple[int, ...]) -> None:
        self._unpark(message)
        for fd in fds[1:]:
            os.close(fd)
        if fds:
            self._guardian.parked[message["name"]] = self._guardian.world.descriptors.put_up(fds[0])

    def _unpark(self, message: Any) -> None:
        fd = self._guardian.parked.pop(message["name"], -1)
        if fd >= 0:
            os.close(fd)

    def _fetch(self, message: Any) -> None:
        fd = self._guardian.parked.get(message["name"], -1)
        fds = (fd,) if fd >= 0 else ()
        self._companion.tell({"type": "parked", "name": message["name"], "fds": len(fds)}, fds)

    def _take_pidfds(self, message: Any, fds: tuple[int, ...]) -> None:
        held = message["runs"]
        for run, fd in zip(held, fds, strict=False):
            self._guardian.adoptions.offer(run, fd)
        for fd in fds[len(held) :]:
            os.close(fd)

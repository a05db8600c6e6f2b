"""The daemon's end of the wire to its guardian. It carries messages; it decides nothing about apps.

What it takes off the daemon's hands: pings are answered, orders batched into
one packet per reactor turn, messages held back until the daemon has taken over
the table, and a guardian that is lost is replaced (`succession`): the next one
gets copies of every pidfd and parked descriptor, what was ordered and not
answered is ordered again, and what happened meanwhile is told as if it had
just been said. A guardian that only cut us off (another daemon has our place)
is not replaced: this process ends at once and writes nothing more.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from droned.drivers.iguardian import IGuardianLink, Received
from droned.drivers.parked import ParkedCopies
from droned.drivers.replies import Awaited
from droned.drivers.succession import Succession, cut_off
from droned.drivers.successor import GuardianIdentity, HeldRuns
from droned.guardian import wire

UNRESPONSIVE_S = 5.0
_PACKETS_A_TURN = 8
_SAID_AGAIN = frozenset({"spawn", "signal", "ack", "park", "unpark", "pong", "progress", "ready"})
"""What needs no queue while there is no guardian: the next one hears it anyway, or need not."""


@implementer(IGuardianLink, IReadDescriptor, IWriteDescriptor)
class GuardianLink:
    """The connection of one daemon to its guardian, and to the successors of that."""

    log = Logger()

    def __init__(
        self,
        sock: socket.socket,
        identity: GuardianIdentity,
        *,
        reactor: Any,
        release: str,
        environ: Mapping[str, str],
        runs: HeldRuns,
        ended: Callable[[], None] = cut_off,
    ) -> None:
        """`environ` and `runs` are for a successor; `ended` is called when another daemon has our place."""
        sock.setblocking(False)
        self._sock: socket.socket | None = sock
        self._reactor = reactor
        self._release = release
        self._succession = Succession(
            identity, reactor=reactor, environ=environ, started=self._begin_again, cut_off=ended
        )
        self._reader = wire.to_daemon()
        self._outbox = wire.Outbox()
        self._received: Received | None = None
        self._turn_ended: Callable[[], None] | None = None
        self._rows: list[wire.Row] = []
        self._table: Deferred[list[wire.Row]] = Deferred()
        self._has_table = False
        self._is_ready = self._delivers = False
        self._held_back: deque[Mapping[str, Any]] = deque()
        self._flush_is_due = False
        self._is_writable = True
        self._silence: Any = None
        self._heard_at = 0.0
        self._is_closed = False
        self._pinged: Callable[[float], None] | None = None
        self._runs = runs
        self._awaited = Awaited()
        self._parked = ParkedCopies(self._queue)
        self._unsent: list[Mapping[str, Any]] = []
        self.boot_id = ""
        self.state_id = ""
        self.head: tuple[int, str] | None = None
        self.lacking: tuple[str, ...] = ()
        self.logs_pid: int | None = None
        self.shuts_down = False
        """Whether an ordered stop was going on when we came."""
        self.is_connected = False
        self.is_unresponsive = False

    @classmethod
    def from_environment(
        cls, environ: MutableMapping[str, str], *, reactor: Any, release: str, runs: HeldRuns
    ) -> GuardianLink:
        """The link that the guardian has put into `environ`, where it is removed. KeyError without one."""
        identity = GuardianIdentity.taken_from(environ)
        os.set_inheritable(identity.lock_fd, False)
        sock = socket.socket(fileno=int(environ.pop("DRONED_GUARDIAN_FD")))
        sock.set_inheritable(False)
        return cls(sock, identity, reactor=reactor, release=release, environ=environ, runs=runs)

    # ---- what the daemon calls

    def begin(self, received: Received, turn_ended: Callable[[], None] | None = None) -> None:
        """Say hello. `received` gets each message, `turn_ended` a call after the last of a packet.

        Messages after the table are held back until `deliver`, or until `ready` has been sent.
        Besides the wire's own there is `{"type": "guardian_replaced"}`.
        """
        self._received = received
        self._turn_ended = turn_ended
        self._connect()

    def on_ping(self, pinged: Callable[[float], None]) -> None:
        """Have `pinged` called with the moment of each ping, in seconds of the monotonic clock."""
        self._pinged = pinged

    def table(self) -> Deferred[list[wire.Row]]:
        """The guardian's table as it was at hello, whole."""
        return self._table

    def send(self, message: Mapping[str, Any]) -> None:
        """Queue a message; all of one reactor turn leave together, in order.

        Raises WireError for one that no packet can hold.
        """
        self._awaited.sent(message)
        try:
            self._queue(message)
        except wire.WireError:
            if message["type"] != "spawn":
                raise
            fd = wire.launch_in_memfd(message["launch"])  # beside the message when it is too large for it
            self._queue({**message, "launch": None, "fds": 1}, (fd,))
            os.close(fd)
        if message["type"] == "ready":
            self._is_ready = True
            self.deliver()

    @property
    def guardian_pid(self) -> int:
        """The pid of the present guardian."""
        return self._succession.pid

    @property
    def guardian_id(self) -> str:
        """What names the present guardian on this boot: `pid.start time`."""
        return f"{self._succession.pid}.{self._succession.start_time}"

    def flush(self) -> None:
        """Send what waits now, as far as the socket takes it."""
        if self._outbox:
            self._flush()

    def deliver(self) -> None:
        """The table has been taken over: hand over what was held back, and from now on all at once."""
        if not self._delivers:
            self._delivers = True
            self._reactor.callLater(0, self._deliver_held_back)

    def progress(self, text: str) -> None:
        """The start-up goes on; may be called from any thread."""
        self._reactor.callFromThread(self.send, wire.Progress(type="progress", text=text))

    def park(self, name: str, fd: int) -> None:
        """Have guardians keep a copy of `fd` under `name` over all our lives; `fd` stays the caller's."""
        self._parked.park(name, fd)

    def unpark(self, name: str) -> None:
        """Have what is parked under `name` closed."""
        self._parked.unpark(name)

    def fetch(self, name: str) -> Deferred[int | None]:
        """A copy of what is parked under `name`, the caller's to close; None when nothing is."""
        return self._parked.fetch(name)

    def close(self) -> None:
        """Send what waits and let go; a guardian that is lost after this is not replaced."""
        self._is_closed = True
        self._succession.close()
        if self._sock is not None:
            try:
                self._outbox.flush(self._sock)
            except OSError:
                pass
        self._disconnect()
        self._runs.close()
        self._parked.close()

    # ---- the connection

    def _connect(self, *, handing: bool = False) -> None:
        self.is_connected = True
        self._succession.connected()
        self._rows = []
        self._reactor.addReader(self)
        self._heard()
        head = None
        if self.head is not None:
            head = wire.Head(version=self.head[0], digest=self.head[1])
        self._queue(
            wire.Hello(
                type="hello",
                protocol=wire.PROTOCOL,
                release=self._release,
                pid=os.getpid(),
                head=head,
                handing=handing,
            )
        )
        if handing:
            for runs, pidfds in self._runs.batches():
                self._queue(wire.Pidfds(type="pidfds", runs=runs, fds=len(pidfds)), tuple(pidfds))
            self._parked.send_all()
            self._queue(wire.Handed(type="handed"))

    def _disconnect(self) -> None:
        self.is_connected = False
        if self._silence is not None:
            self._silence.cancel()
        self._silence = None
        self._outbox.drop()
        self._is_writable = True
        if self._sock is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._sock.close()
            self._sock = None

    def _queue(self, message: Mapping[str, Any], fds: tuple[int, ...] = ()) -> None:
        if not self.is_connected:
            if message["type"] not in _SAID_AGAIN:
                self._unsent.append(message)
            return
        self._outbox.add(message, fds)
        if self._outbox.has_packet and self._is_writable:
            self._flush()  # the guardian has work while we prepare the next
        elif not self._flush_is_due:
            self._flush_is_due = True
            self._reactor.callLater(0, self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._sock is None:
            return
        try:
            self._is_writable = self._outbox.flush(self._sock)
            if self._is_writable:
                self._reactor.removeWriter(self)
            else:
                self._reactor.addWriter(self)
        except OSError:
            self._lost()

    def fileno(self) -> int:  # Twisted's name
        """The socket's number, -1 without one."""
        return self._sock.fileno() if self._sock is not None else -1

    def logPrefix(self) -> str:  # Twisted's name
        """What the reactor's own log calls us."""
        return "guardian"

    def doWrite(self) -> None:  # Twisted's name
        """The socket takes more."""
        self._flush()

    def doRead(self) -> None:  # Twisted's name
        """The guardian has said something."""
        for _ in range(_PACKETS_A_TURN):
            if self._sock is None:
                return
            try:
                deliveries = self._reader.receive(self._sock)
            except BlockingIOError:
                if self._outbox:
                    self._flush()  # the answer to an end is an order: it need not wait for the next turn
                return
            except (OSError, wire.WireError) as error:
                self.log.error("cannot understand the guardian: {error}", error=error)
                deliveries = None
            if deliveries is None:
                self._lost()
                return
            for message, fds in deliveries:
                self._take(message, fds)
            if self._turn_ended is not None and self._delivers:
                self._turn_ended()

    def connectionLost(self, reason: Failure) -> None:  # Twisted's name
        """The reactor saw the end before we did."""
        self._lost()

    # ---- messages

    def _heard(self) -> None:
        self._heard_at = self._reactor.seconds()
        self.is_unresponsive = False
        if self._silence is None and not self._is_closed:
            self._silence = self._reactor.callLater(UNRESPONSIVE_S, self._look_at_silence)

    def _look_at_silence(self) -> None:
        """One look in five seconds: a call moved by every ping would wake the reactor for nothing."""
        self._silence = None
        left_s = self._heard_at + UNRESPONSIVE_S - self._reactor.seconds()
        if left_s > 0.0:
            self._silence = self._reactor.callLater(left_s, self._look_at_silence)
            return
        self.is_unresponsive = True
        self.log.error("the guardian (pid {pid}) does not answer", pid=self.guardian_pid)

    def _take(self, message: Any, fds: tuple[int, ...]) -> None:
        self._heard()
        match message["type"]:
            case "ping":
                self._queue(wire.Pong(type="pong", n=message["n"]))
                if self._pinged is not None and "at" in message:
                    self._pinged(message["at"])
            case "welcome":
                self._welcomed(message)
            case "table":
                self._rows += message["rows"]
                if message["last"]:
                    self._table_is_whole()
            case "parked":
                self._parked.fetched(message["name"], fds)
            case "logs":
                self.logs_pid = message["pid"]
            case _:
                self._note(message)
                self._deliver(message)

    def _note(self, message: Any) -> None:
        self._awaited.answered(message)
        if message["type"] == "spawned":
            self._runs.hold(message, message["at"])
        elif message["type"] == "ended":
            self._runs.let_go((message["instance"], message["run"]))

    def _welcomed(self, welcome: wire.Welcome) -> None:
        self._succession.welcomed(welcome["pid"], welcome["start_time"])
        self.boot_id = welcome["boot_id"]
        self.state_id = welcome["state_id"]
        self.lacking = tuple(welcome["lacking"])
        self.logs_pid = welcome.get("logs_pid")
        head = welcome["head"]
        if head is not None:
            self.head = (head["version"], head["digest"])
        self.shuts_down = welcome["shutdown"]
        if self.shuts_down:
            self._deliver(wire.Shutdown(type="shutdown", reason="a stop that was already going on"))

    def _table_is_whole(self) -> None:
        rows, self._rows = self._rows, []
        if self._has_table:
            self._replaced(rows)
            return
        self._has_table = True
        for row in rows:
            if row["state"] == "running":
                self._runs.hold(row, row["spawned_at"])
        self._table.callback(rows)

    def _deliver(self, message: Mapping[str, Any]) -> None:
        if self._delivers and not self._held_back:
            self._hand_over(message)
        else:
            self._held_back.append(message)

    def _deliver_held_back(self) -> None:
        while self._held_back:
            self._hand_over(self._held_back.popleft())
        if self._turn_ended is not None:
            self._turn_ended()

    def _hand_over(self, message: Mapping[str, Any]) -> None:
        if self._received is None:
            return
        try:
            self._received(message)
        except Exception:  # noqa: BLE001  # a named border: one message must not cost the connection
            self.log.failure("cannot take {kind} of the guardian", kind=message["type"])

    # ---- the loss of a guardian

    def _lost(self) -> None:
        if self._sock is None:
            return
        self._disconnect()
        if not self._is_closed:
            self._succession.lost()

    def _begin_again(self, sock: socket.socket) -> None:
        """There is another guardian, which gets copies of all that was lost."""
        self._sock = sock
        self._reader = wire.to_daemon()
        self._connect(handing=True)

    def _replaced(self, rows: list[wire.Row]) -> None:
        """A new guardian has told its table: say again what was not answered, tell what was missed."""
        self._deliver({"type": "guardian_replaced"})
        for message in self._awaited.missed(rows, self._runs):
            self._note(message)
            self._deliver(message)
        unsent, self._unsent = self._unsent, []
        ready = [wire.Ready(type="ready")] if self._is_ready else []
        for order in (*self._awaited.unanswered(rows), *unsent, *ready):
            self.send(order)

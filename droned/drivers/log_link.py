"""The daemon's end of the socket of `droned-logs`: settings go out, questions are asked and answered.

`droned-logs` can be replaced at any moment, so nothing is lost with a
connection: the next one is made quietly, gets all settings anew, and is asked
again whatever has not been answered (each question can be asked twice).
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from droned.errors import NotNow, ShuttingDown
from droned.logs.format import PACKET_BYTES, SOCKET

ANSWER_S = 15.0
"""Longer than this nobody waits for an answer, the time in which there is no `droned-logs` included."""
_WORDS = {"usage": "tell the usage of logs", "rotate": "rotate logs", "clear": "clear logs"}
"""What a question asks for, as an error says it."""
_WAITS_S = (0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.5, 0.5, 1.0, 2.0)
_NAMES_BYTES = PACKET_BYTES - 1024
"""What of a packet names and policies may take."""
_PACKETS_A_TURN = 16
OWN_ID = 0
"""The id of the question that brings the daemon's own pipe; others begin at 1."""
_CREDENTIALS = struct.Struct("3i")

Answer = Mapping[str, Any]


class Own:
    """The read end of a pipe of the daemon's own, and who is told whether `droned-logs` has it."""

    def __init__(self, packet: bytes, fd: int, taken: Callable[[bool], None]) -> None:
        self.packet = packet
        self.fd = fd
        self.taken = taken


class Question:
    """One question: what is left to be answered of it."""

    def __init__(self, do: str, packets: Mapping[int, bytes]) -> None:
        self.do = do
        self.is_in_parts = do == "usage"
        """Whether an answer says that it is the last one; all others are alone."""
        self.packets = dict(packets)
        """By the id of each: what is still to be answered."""
        self.answers: list[Answer] = []
        self.parts: dict[int, list[Answer]] = {}
        """Of answers that come in several packets, those that are there."""
        self.done: Deferred[list[Answer]] = Deferred()
        self.deadline: Any = None


@implementer(IReadDescriptor, IWriteDescriptor)
class LogLink:
    """The connection to whichever `droned-logs` there is."""

    log = Logger()

    def __init__(self, folder: str, *, reactor: Any) -> None:
        """`folder` is that of the logs."""
        self._folder = folder
        self._reactor = reactor
        self.changed: Callable[[], None] = lambda: None
        """Called when the connection is made or lost."""
        self._sock: socket.socket | None = None
        self._out: deque[tuple[bytes, int | None]] = deque()
        """Packets, each with the descriptor beside it."""
        self._own: Own | None = None
        self._retry: Any = None
        self._tries = 0
        self._is_closed = True
        self._total_bytes: int | None = None
        self._policies: dict[str, str] = {}
        self._unsent: dict[str, None] = {}
        self._is_total_unsent = False
        self._sending: Any = None
        self._questions: dict[int, Question] = {}
        self._next_id = 1
        self.pid: int | None = None
        """Of the `droned-logs` at the other end; None without one."""

    # ---- what the service calls

    def begin(self) -> None:
        """Connect, and stay connected until `close`."""
        self._is_closed = False
        self._connect()

    def close(self) -> None:
        """Let go; whoever waits for an answer is told that there will be none."""
        self._is_closed = True
        self._disconnect()
        for call in (self._retry, self._sending):
            if call is not None:
                call.cancel()
        self._retry = self._sending = None
        for question in set(self._questions.values()):
            self._finish(question, ShuttingDown("cannot wait for droned-logs: droned is stopping"))

    @property
    def is_connected(self) -> bool:
        """Whether there is a `droned-logs` at the other end."""
        return self._sock is not None

    def set_total(self, total_bytes: int | None) -> None:
        """Have all segments together take so many bytes at most; None is no limit."""
        if total_bytes != self._total_bytes:
            self._total_bytes, self._is_total_unsent = total_bytes, True
            self._send_soon()

    def set_policies(self, policies: Mapping[str, str]) -> None:
        """Have these instances treated by these policies (JSON texts), from now on and by every successor."""
        for instance, policy in policies.items():
            if self._policies.get(instance) != policy:
                self._policies[instance] = policy
                self._unsent[instance] = None
        if self._unsent:
            self._send_soon()

    def forget(self, instance: str) -> None:
        """The instance is gone: its last policy holds for what is left of it."""
        self._policies.pop(instance, None)
        self._unsent.pop(instance, None)

    def set_own(self, instance: str, policy: str, fd: int | None, taken: Callable[[bool], None]) -> None:
        """Have what is written to a pipe of the daemon's own captured as `output` of this instance.

        `fd` is its read end, which stays the caller's; None has none captured any more. `taken` is told
        whether `droned-logs` has it, whenever that changes.
        """
        if fd is None:
            self._own = None  # the end of the pipe is seen by whoever reads it
            return
        own = {"do": "own", "id": OWN_ID, "instance": instance, "policy": json.loads(policy)}
        self._own = Own(_packet(own), fd, taken)
        if self._sock is not None:
            self._send_own()

    def ask(self, do: str, instances: Iterable[str] | None = None) -> Deferred[list[Answer]]:
        """The answers to `do`, one for each packet that the names of `instances` take.

        Fails with NotNow for what cannot be done, with ShuttingDown when nobody answers in time.
        """
        packets: dict[int, bytes] = {}
        for names in [None] if instances is None else _portions(instances):
            number, self._next_id = self._next_id, self._next_id + 1
            more = {} if names is None else {"instances": names}
            packets[number] = _packet({"do": do, "id": number, **more})
        question = Question(do, packets)
        if not packets:
            question.done.callback([])
            return question.done
        question.deadline = self._reactor.callLater(
            ANSWER_S,
            self._finish,
            question,
            ShuttingDown(f"cannot {_WORDS[do]}: droned-logs does not answer; see the issues"),
        )
        self._questions.update(dict.fromkeys(packets, question))
        if self._sock is not None:
            self._send(packets.values())
        return question.done

    # ---- the connection

    def _connect(self) -> None:
        self._retry = None
        try:
            sock = socket.socket(
                socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            )
        except OSError:  # no descriptor to be had
            self._connect_later()
            return
        try:
            _connect(sock, self._folder)
            credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        except OSError:  # nobody there yet, or no more than can be taken at once
            sock.close()
            self._connect_later()
            return
        self._sock = sock
        self.pid, self._tries = _CREDENTIALS.unpack(credentials)[0], 0
        self._reactor.addReader(self)
        self._unsent = dict.fromkeys(self._policies)
        self._is_total_unsent = True
        self._send_settings()
        self._send_own()
        for question in dict.fromkeys(self._questions.values()):
            question.parts.clear()
            self._send(question.packets.values())
        self.changed()

    def _connect_later(self) -> None:
        if not self._is_closed:
            wait_s = _WAITS_S[min(self._tries, len(_WAITS_S) - 1)]
            self._tries += 1
            self._retry = self._reactor.callLater(wait_s, self._connect)

    def _disconnect(self) -> None:
        if self._sock is not None:
            self._reactor.removeReader(self)
            self._reactor.removeWriter(self)
            self._sock.close()
            self._sock = self.pid = None
            self._out.clear()

    def _lost(self) -> None:
        if self._sock is not None:
            self._disconnect()
            self._connect_later()
            if self._own is not None:
                self._own.taken(False)
            self.changed()

    def _send_soon(self) -> None:
        """All settings of one turn leave together."""
        if self._sending is None and self._sock is not None:
            self._sending = self._reactor.callLater(0, self._send_settings)

    def _send_settings(self) -> None:
        self._sending = None
        if self._sock is None:
            return
        portions = list(_portions(self._unsent, lambda name: len(self._policies[name])))
        if self._is_total_unsent and not portions:
            portions.append([])
        self._is_total_unsent, self._unsent = False, {}
        for names in portions:
            policies = {name: json.loads(self._policies[name]) for name in names}
            settings = {"do": "settings", "total_bytes": self._total_bytes, "policies": policies}
            self._out.append((_packet(settings), None))
        self._flush()

    def _send_own(self) -> None:
        if self._own is not None:
            self._out.append((self._own.packet, self._own.fd))
            self._flush()

    def _send(self, packets: Iterable[bytes]) -> None:
        self._out.extend((packet, None) for packet in packets)
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out and self._sock is not None:
                packet, fd = self._out[0]
                socket.send_fds(self._sock, [packet], [] if fd is None else [fd], socket.MSG_NOSIGNAL)
                self._out.popleft()
        except BlockingIOError:
            self._reactor.addWriter(self)
        except OSError:
            self._lost()
        else:
            self._reactor.removeWriter(self)

    # ---- answers

    def _take(self, packet: bytes) -> None:
        try:
            answer = json.loads(packet)
            number = answer["id"]
        except (ValueError, KeyError, TypeError):
            return  # nothing that was asked for
        if number == OWN_ID and self._own is not None:
            self._own.taken("error" not in answer)
            return
        question = self._questions.get(number) if isinstance(number, int) else None
        if question is None:
            return
        if "error" in answer:
            self._finish(question, NotNow(f"cannot {_WORDS[question.do]}: {answer['error']}"))
            return
        parts = question.parts.setdefault(number, [])
        parts.append(answer)
        if answer.get("last") or not question.is_in_parts:
            question.answers += parts
            del question.packets[number], self._questions[number]
            if not question.packets:
                self._finish(question, None)

    def _finish(self, question: Question, error: Exception | None) -> None:
        for number in question.packets:
            self._questions.pop(number, None)
        question.packets.clear()
        if question.deadline is not None and question.deadline.active():
            question.deadline.cancel()
        if question.done.called:
            return
        if error is None:
            question.done.callback(question.answers)
        else:
            question.done.errback(Failure(error))

    # ---- what the reactor calls

    def fileno(self) -> int:  # Twisted's name
        """The socket's number, -1 without one."""
        return self._sock.fileno() if self._sock is not None else -1

    def logPrefix(self) -> str:  # Twisted's name
        """What the reactor's own log calls us."""
        return "logs"

    def doRead(self) -> None:  # Twisted's name
        """`droned-logs` has answered."""
        for _ in range(_PACKETS_A_TURN):
            if self._sock is None:
                return
            try:
                packet = self._sock.recv(PACKET_BYTES)
            except BlockingIOError:
                return
            except OSError:
                packet = b""
            if not packet:
                self._lost()
                return
            self._take(packet)

    def doWrite(self) -> None:  # Twisted's name
        """The socket takes more."""
        self._flush()

    def connectionLost(self, reason: Failure) -> None:  # Twisted's name
        """The reactor saw the end before we did."""
        self._lost()


def _connect(sock: socket.socket, folder: str) -> None:
    """Connect by a short name: that of the folder may be longer than a socket's path can be."""
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock.connect(f"/proc/self/fd/{place}/{SOCKET}")
    finally:
        os.close(place)


def _packet(message: Mapping[str, object]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode("ascii")


def _portions(
    names: Iterable[str], extra_bytes: Callable[[str], int] = lambda name: 0
) -> Iterator[list[str]]:
    """The names in lists that fit a packet each, with what each brings along."""
    portion: list[str] = []
    size_bytes = 0
    for name in names:
        own_bytes = len(name) + extra_bytes(name) + 8
        if portion and size_bytes + own_bytes > _NAMES_BYTES:
            yield portion
            portion, size_bytes = [], 0
        portion.append(name)
        size_bytes += own_bytes
    if portion:
        yield portion

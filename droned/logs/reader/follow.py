"""What comes after history: woken by the process that captures, or by looking while that is away."""

import json
import os
import select
import socket
import time

from droned.logs.format import PACKET_BYTES, SOCKET
from droned.logs.reader.history import History, Range
from droned.logs.reader.output import Output

_LOOK_S = 0.2
_SILENCE_S = 15.0
_WINDOW_BYTES = 1024 * 1024


class Follow:
    """Goes on from the end of a range until nobody listens any more."""

    def __init__(self, history: History, newest: Range, output: Output, parent: int | None) -> None:
        self._folder = history.question.folder
        self._index = history.index
        self._range = newest
        self._output = output
        self._parent = parent
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        if parent is not None:
            self._poll.register(parent, select.POLLIN)
        self._poll.register(output.fd, 0)
        newest.reading.tells_gaps = True

    def run(self) -> None:
        """Returns when the parent has closed our input; raises BrokenPipeError when it reads no more."""
        self._tell_caught_up()
        said = time.monotonic()
        while True:
            if self._socket is None and self._connect():
                self._show_news()
            wait_s = said + _SILENCE_S - time.monotonic()
            if self._socket is None:
                wait_s = min(wait_s, _LOOK_S)
            ready = dict(self._poll.poll(max(0, wait_s * 1000)))
            if ready.get(self._output.fd, 0) & (select.POLLERR | select.POLLHUP):
                return
            if self._parent in ready and not os.read(self._parent, 4096):
                return
            if self._socket is not None and self._socket.fileno() in ready:
                self._receive()
            before = self._output.position
            self._show_news()
            if self._output.position != before:
                said = time.monotonic()
            elif time.monotonic() - said >= _SILENCE_S:
                self._tell_caught_up()
                said = time.monotonic()

    def _connect(self) -> bool:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            place = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # The path itself may be too long for a socket's.
                made.connect(f"/proc/self/fd/{place}/{SOCKET}")
            finally:
                os.close(place)
            made.send(json.dumps({"do": "watch"}).encode("ascii"))
        except OSError:
            made.close()
            return False
        made.setblocking(False)
        self._socket = made
        self._poll.register(made, select.POLLIN)
        return True

    def _receive(self) -> None:
        """Take all packets: each says the same, that there is something new."""
        assert self._socket is not None
        try:
            while self._socket.recv(PACKET_BYTES):
                pass
        except BlockingIOError:
            return
        except OSError:
            pass
        self._poll.unregister(self._socket)
        self._socket.close()
        self._socket = None

    def _show_news(self) -> None:
        reading = self._range.reading
        while (page := self._range.walk.more()) is not None:
            for window in reading.windows(page, None, None, _WINDOW_BYTES):
                reading.tells_gaps = True
                self._output.add(reading.items(window))
            self._output.flush()

    def _tell_caught_up(self) -> None:
        """What comes next has a higher position than this one, or is told with an event at it."""
        self._output.tell({"event": "caught_up", "position": max(0, self._range.walk.position)})

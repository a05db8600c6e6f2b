"""The guardian alone speaks to the service manager (sd_notify); without one all of this does nothing."""

import os
import socket
import time

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notify:
    """The NOTIFY_SOCKET of the environment, and the watchdog of our own life."""

    __slots__ = ("_address", "_reloading", "watchdog_s")

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        usec = os.environ.get("WATCHDOG_USEC", "")
        self.watchdog_s = int(usec) / 2e6 if usec.isdecimal() and self._address else 0.0
        """How often `alive` is due, 0 for never."""
        self._reloading = False

    @property
    def is_there(self) -> bool:
        """Whether a service manager wants to hear of us."""
        return bool(self._address)

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            try:
                sock.sendto("\n".join(lines).encode("utf-8", "surrogateescape"), self._address)
            except OSError:
                pass  # the service manager is away or full: the next word will do

    def ready(self) -> None:
        """The daemon is in control."""
        self._reloading = False
        self._send("READY=1", f"MAINPID={os.getpid()}")

    def status(self, text: str) -> None:
        """One line of status."""
        self._send("STATUS=" + text.replace("\n", " ")[:1000])

    def reloading(self) -> None:
        """A reload has begun; `ready` ends it."""
        self._reloading = True
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def still_reloading(self) -> None:
        """The daemon has not said that it is ready again: do not keep the service manager waiting."""
        if self._reloading:
            self.ready()

    def stopping(self) -> None:
        """The ordered stop has begun."""
        self._send("STOPPING=1")

    def is_main(self) -> None:
        """We have taken the place of the guardian that was started."""
        self._send(f"MAINPID={os.getpid()}")

    def alive(self) -> None:
        """We live."""
        self._send("WATCHDOG=1")

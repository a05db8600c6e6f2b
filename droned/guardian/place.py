"""The guardian's part of the state folder: who holds it, and where to find whom.

`lock` is held by flock through one open file that guardian, daemon and
successors share and apps never get: while one of them lives nobody else can
take the folder. `guardian/guardian.json` tells who the guardian is.

A folder that is held is given up at once, with two exceptions. Its guardian
was lost: then the daemon brings another in a moment, or it hangs and is ended.
And a service manager waits with us: it would only start us again, so we look
for a minute whether the folder becomes free.
"""

import fcntl
import json
import os
import signal
import time
from typing import Any

from droned.guardian import holders, processes
from droned.guardian.notify import Notify
from droned.guardian.wire import PROTOCOL

_DYING_S = 1.0
_HANGS_S = 10.0
_KILLED_S = 5.0
_MANAGED_S = 60.0
_LOOK_S = 0.02
_LOOK_LATER_S = 0.25
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW


class PlaceTaken(Exception):
    """The state folder is another droned's."""


class Place:
    """One state folder."""

    __slots__ = ("_pidfile", "folder", "lock_fd", "state_dir", "state_id")

    def __init__(self, state_dir: str, pidfile: str | None) -> None:
        """Makes the folders that are missing. Raises OSError."""
        self.state_dir = os.path.abspath(state_dir)
        self.folder = os.path.join(self.state_dir, "guardian")
        self._pidfile = os.path.abspath(pidfile) if pidfile else None
        os.makedirs(self.state_dir, 0o755, exist_ok=True)
        os.makedirs(self.folder, 0o700, exist_ok=True)
        found = os.stat(self.state_dir)
        # Names the folder for this boot and host; the apps' tokens and cgroups carry it.
        self.state_id = f"{found.st_ino:x}.{found.st_dev:x}"
        self.lock_fd = -1

    @property
    def ledger(self) -> str:
        """The path of the ledger."""
        return os.path.join(self.folder, "ledger")

    @property
    def lock(self) -> str:
        """The path of the lock."""
        return os.path.join(self.state_dir, "lock")

    def take(self) -> None:
        """Become the holder. Raises PlaceTaken, naming the other; OSError."""
        fd = os.open(
            self.lock,
            os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW,
            0o600,
        )
        self._get(fd)
        self.lock_fd = fd

    def _get(self, fd: int) -> None:
        """Wait for the lock as long as there is hope. Raises PlaceTaken."""
        began = time.monotonic()
        manager = Notify()
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                taken = PlaceTaken(f"cannot use {self.state_dir}: {self._holder()} holds it")
            waited_s = time.monotonic() - began
            if waited_s >= self._patience_s(waited_s, manager.is_there):
                raise taken
            manager.status(f"waits: {taken}")
            if _is_told_to_go(_LOOK_S if waited_s < _DYING_S else _LOOK_LATER_S):
                raise taken

    def _patience_s(self, waited_s: float, is_managed: bool) -> float:
        """How long to wait in all, for all that is known after `waited_s`; a daemon that hangs is ended."""
        patience_s = _MANAGED_S if is_managed else 0.0
        if self._holder_lives():
            return patience_s
        if waited_s < _DYING_S:
            return _DYING_S  # a holder that was just killed lets go in a moment
        path = self.lock
        holders.end_remnants(path, 0.0)
        found = holders.holders(path)
        if any(map(holders.is_guardian, found)):
            return patience_s  # one that could not say who it is, or is about to
        if waited_s >= _HANGS_S:
            holders.end(found, path, "a daemon without a guardian")
        return max(patience_s, _HANGS_S + _KILLED_S)

    def inherit(self, fd: int) -> None:
        """Take the open lock of a guardian that was lost. Raises PlaceTaken when it is not that."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            ours = os.path.samestat(os.fstat(fd), os.stat(self.lock))
        except OSError as error:
            raise PlaceTaken(f"cannot use {self.state_dir}: lock {fd}: {error.strerror}") from None
        if not ours:
            raise PlaceTaken(f"cannot use {self.state_dir}: descriptor {fd} is not its lock")
        self.lock_fd = fd

    def _card(self) -> dict[str, Any]:
        try:
            found = json.loads(processes.read_whole(os.path.join(self.folder, "guardian.json")) or b"{}")
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}

    def _holder_lives(self) -> bool:
        card = self._card()
        pid, started = card.get("pid"), card.get("start_time")
        return isinstance(pid, int) and isinstance(started, int) and processes.is_alive(pid, started)

    def _holder(self) -> str:
        pid = self._card().get("pid")
        return f"the droned with pid {pid}" if self._holder_lives() else "another droned"

    def sign(self, boot_id: str) -> None:
        """Say that this process is the guardian. Raises OSError."""
        own = os.getpid()
        card = {
            "pid": own,
            "start_time": processes.start_time(own),
            "boot_id": boot_id,
            "protocol": PROTOCOL,
        }
        _replace(os.path.join(self.folder, "guardian.json"), json.dumps(card) + "\n", 0o600)
        if self._pidfile is not None:
            _replace(self._pidfile, f"{own}\n", 0o644)

    def leave(self) -> None:
        """Say that there is no guardian any more."""
        for path in (os.path.join(self.folder, "guardian.json"), self._pidfile):
            try:
                if path is not None:
                    os.unlink(path)
            except OSError:
                pass

    def clear(self) -> None:
        """Remove what a start has made that came to nothing: the ledger, and folders with nothing in them."""
        try:
            os.unlink(self.ledger)
        except OSError:
            pass
        for name in os.listdir(self.state_dir):
            try:
                os.rmdir(os.path.join(self.state_dir, name))
            except OSError:
                pass  # somebody else's


def _replace(path: str, text: str, mode: int) -> None:
    new = f"{path}.new"
    try:
        os.unlink(new)
    except FileNotFoundError:
        pass
    fd = os.open(new, _NEW_FILE, mode)
    with open(fd, "w", encoding="ascii") as file:
        file.write(text)
    os.rename(new, path)


def _is_told_to_go(within_s: float) -> bool:
    """Wait so long for a signal that ends us: all are blocked, and read only once there is a guardian."""
    return signal.sigtimedwait({signal.SIGTERM, signal.SIGINT}, within_s) is not None

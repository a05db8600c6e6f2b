"""The local socket: made with the right mode, listened on, and asked who is at the other end.

Twisted's own way gives a new socket to everybody for a moment (it binds, then
changes the mode, 0666 unless told otherwise), so this module binds under the
umask 0177 and sets group and mode before it listens: until then nobody can
connect, and afterwards neither is ever changed.
"""

from __future__ import annotations

import errno
import grp
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from twisted.internet.interfaces import IProtocolFactory, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from droned.commands.callers import Peer
from droned.errors import CannotRun
from droned.models.places import LONGEST_SOCKET_PATH

GROUP = "droned"
"""Its members may use the socket, where there is such a group."""
SOCKET_MODE = 0o660
OWN_SOCKET_MODE = 0o600
"""Without privileges and without a group of its own: a user's primary group may be everybody's."""
FOLDER_MODE = 0o750
BACKLOG = 1024
ACCEPTED_AT_ONCE = 64
SEND_BUFFER = 512 * 1024
"""Bytes that the kernel takes for a client at once (Linux doubles it, and has its own limit).

The status of a thousand instances is 390 KiB: sent in one call instead of five, it costs half the CPU.
"""
PAUSE_S = 0.5
"""How long nothing is accepted when there are no descriptors left."""
_PEER_GROUPS = 59
"""Linux' SO_PEERGROUPS, which Python does not name."""

_log = Logger()


class LocalSocket(Struct, frozen=True, kw_only=True):
    """A socket that listens, and the file that stands for it."""

    socket: socket.socket
    path: str
    gid: int
    identity: tuple[int, int, int]
    """Device, inode and time of making: an inode's number is given anew soon."""


def socket_group() -> int:
    """The group that the socket is for: `droned` if it exists and we can give it away, else our own.

    Looks up a name, which can take long: not for the reactor's thread.
    """
    try:
        gid = grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return os.getegid()
    return gid if os.geteuid() == 0 or gid in (os.getegid(), *os.getgroups()) else os.getegid()


def listen(path: str, gid: int, backlog: int = BACKLOG) -> LocalSocket:
    """A socket that listens at `path`, mode 0660, for us and the group `gid`; 0600 if that is just our own.

    Its folder is made if need be, mode 0750. A socket of ours on which nobody
    answers is replaced. Raises CannotRun for anything else that is in the
    way, and changes nothing then.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise CannotRun(
            f"cannot listen on {path}: the path has {len(os.fsencode(path))} bytes, and a socket's can have "
            f"{LONGEST_SOCKET_PATH}; choose a shorter one with --socket"
        )
    try:
        _prepare_folder(os.path.dirname(path) or ".", gid)
        _remove_stale(path)
        return _bind(path, gid, backlog)
    except OSError as error:
        raise CannotRun(f"cannot listen on {path}: {os.strerror(error.errno or 0)}") from error


def try_to_listen(path: str) -> None:
    """Find out whether `listen` would do; raises CannotRun if not. For a thread: it looks up the group."""
    trial = listen(path, socket_group())
    remove(trial)
    trial.socket.close()


def remove(local: LocalSocket) -> None:
    """Take the socket's file away, if it is still ours; the socket itself is closed by who listens."""
    try:
        found = os.lstat(local.path)
        if stat.S_ISSOCK(found.st_mode) and _identity(found) == local.identity:
            os.unlink(local.path)
    except OSError:
        pass  # what is gone need not be removed


def peer_of(connection: socket.socket) -> Peer | None:
    """Who connected, by the kernel's word; None where it does not tell (it is Linux that does)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    _, uid, gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, 12))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _PEER_GROUPS, 1024)
    except OSError:  # a kernel before 4.13, or more than 256 groups
        return Peer(uid=uid, gid=gid, groups=None)
    return Peer(uid=uid, gid=gid, groups=frozenset(struct.unpack(f"{len(raw) // 4}I", raw)))


def _prepare_folder(folder: str, gid: int) -> None:
    try:
        os.mkdir(folder, FOLDER_MODE)
    except FileExistsError:
        pass
    except FileNotFoundError:
        _prepare_folder(os.path.dirname(folder) or ".", gid)
        os.mkdir(folder, FOLDER_MODE)
        _give(folder, gid, FOLDER_MODE)
    else:
        _give(folder, gid, FOLDER_MODE)
    found = os.stat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise CannotRun(f"cannot put the socket into {folder}: it is not a folder")
    if found.st_uid not in (0, os.geteuid()):
        raise CannotRun(f"cannot put the socket into {folder}: it belongs to uid {found.st_uid}")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise CannotRun(f"cannot put the socket into {folder}: everybody may write there; chmod o-w {folder}")


def _give(path: str, gid: int, mode: int) -> None:
    """Hand what we have just made to the group, and undo what the umask took away."""
    if gid != os.lstat(path).st_gid:
        os.chown(path, -1, gid, follow_symlinks=False)
    os.chmod(path, mode)


def _remove_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise CannotRun(f"cannot listen on {path}: something that is not a socket is there; move it away")
    if found.st_uid != os.geteuid():
        raise CannotRun(f"cannot listen on {path}: the socket there belongs to uid {found.st_uid}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(path)
    if answer != errno.ECONNREFUSED:
        raise CannotRun(f"cannot listen on {path}: another program answers there; is droned running already?")
    os.unlink(path)


def _bind(path: str, gid: int, backlog: int) -> LocalSocket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        # The umask is the whole process's: this one can only make another thread's new file narrower.
        umask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(umask)
        is_for_a_group = os.geteuid() == 0 or gid != os.getegid()
        _give(path, gid, SOCKET_MODE if is_for_a_group else OWN_SOCKET_MODE)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return LocalSocket(socket=listener, path=path, gid=gid, identity=_identity(os.lstat(path)))


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_dev, found.st_ino, found.st_mtime_ns


@implementer(IReadDescriptor)
class LocalPort:
    """Accepts connections on a listening local socket for a factory.

    Twisted's own port for such a socket would change the file's mode to 0666.
    """

    def __init__(
        self,
        local: LocalSocket,
        factory: IProtocolFactory,
        reactor: Any,
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self._local = local
        self._factory = factory
        self._reactor = reactor
        self._call_later = call_later
        self._resume_call: Any = None

    def start(self) -> None:
        """Accept from now on."""
        self._factory.doStart()
        self._reactor.addReader(self)

    def stop(self) -> None:
        """Accept nothing more, close the socket and take its file away."""
        if self._resume_call is not None:
            self._resume_call.cancel()
        self._reactor.removeReader(self)
        remove(self._local)
        self._local.socket.close()
        self._factory.doStop()

    # What Twisted calls.

    def fileno(self) -> int:
        """The listening descriptor."""
        return self._local.socket.fileno()

    def logPrefix(self) -> str:
        """How the reactor's own messages name us."""
        return "droned local socket"

    def doRead(self) -> None:
        """Somebody wants to connect."""
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                connection, _ = self._local.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.ECONNABORTED, errno.EINTR, errno.EPERM):
                    continue
                _log.error("cannot accept a connection: {reason}", reason=error.strerror)
                self._pause()
                return
            with connection:
                connection.setblocking(False)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                try:
                    transport = self._reactor.adoptStreamConnection(
                        connection.fileno(), socket.AF_UNIX, self._factory
                    )
                    if transport is not None:
                        transport.SEND_LIMIT = SEND_BUFFER
                except OSError as error:
                    _log.error("cannot take a connection: {reason}", reason=error.strerror)

    def connectionLost(self, reason: Failure) -> None:
        """The reactor gave up on the descriptor; it is closed by `stop`."""

    def _pause(self) -> None:
        """Out of descriptors or memory: the ready socket must not keep the reactor busy."""
        self._reactor.removeReader(self)

        def resume() -> None:
            self._resume_call = None
            self._reactor.addReader(self)

        self._resume_call = self._call_later(PAUSE_S, resume)

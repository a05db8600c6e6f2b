"""How a guardian comes to life: alone, in the place of one that was lost, or out of one that executed it.

Usage: python -I -S -E droned/guardian/__main__.py --state DIR [--pidfile FILE]
[--successor-of FD] -- DAEMON_ARGV…

Exit codes: what the daemon says with `exit`; 75 when the state folder is
another's, 78 or 75 when the daemon's very first start ends so, 64 for wrong
arguments, 70 for a fault of our own, 73 when the state folder cannot be made.
"""

import gc
import os
import resource
import signal
import socket
import struct
import sys

from droned.guardian import cgroups, kernel, log, processes, reexec
from droned.guardian.daemon_process import begin_life, own_command
from droned.guardian.descriptors import Descriptors
from droned.guardian.guardian import Guardian
from droned.guardian.ledger import Ledger, Memory, load
from droned.guardian.place import Place, PlaceTaken

EX_USAGE, EX_SOFTWARE, EX_CANTCREAT, EX_TEMPFAIL = 64, 70, 73, 75
_VALUED = ("--state", "--pidfile", "--successor-of", "--resume", "--try")


class UsageError(Exception):
    """Arguments that are not understood."""


def parsed(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The options and the daemon's argv. Raises UsageError."""
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        if word == "--":
            return options, list(words)
        if word not in _VALUED:
            raise UsageError(f"cannot understand {word!r}")
        value = next(words, None)
        if value is None:
            raise UsageError(f"cannot find the value of {word}")
        options[word] = value
    return options, []


def main(arguments: list[str]) -> int:
    """Be a guardian until its end; the exit code."""
    try:
        options, daemon_argv = parsed(arguments)
        if "--try" in options:
            return _try(int(options["--try"]))
        if "--state" not in options or not daemon_argv:
            raise UsageError("cannot start without --state DIR and the daemon's command after --")
    except (UsageError, ValueError) as error:
        log.say(str(error))
        return EX_USAGE
    gc.disable()  # the guardian makes no cycles
    _open_standard_descriptors()
    kernel.block_signals()
    _reset_dispositions()
    try:
        return _guardian(options, daemon_argv).run()
    except PlaceTaken as error:
        log.say(str(error))
        return EX_TEMPFAIL
    except _NoPlace as error:
        log.say(str(error))
        return EX_CANTCREAT
    except Exception:  # noqa: BLE001  # the border of the process: the daemon starts another guardian
        import traceback  # half a megabyte that nobody needs before this

        log.say(traceback.format_exc().replace("\n", " | "))
        return EX_SOFTWARE


class _NoPlace(Exception):
    """The state folder cannot be used."""


def _try(fd: int) -> int:
    """A trial: can this version read the state of the running one?"""
    try:
        state = reexec.state_in(fd)
        reexec.runs_in(state)
        reexec.descriptors(state)
    except (OSError, ValueError, KeyError, TypeError):
        return EX_SOFTWARE
    return 0


def _open_standard_descriptors() -> None:
    """Have 0, 1 and 2 open, so that nothing of ours lands there."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        fd = os.dup(fd)
    os.close(fd)


def _reset_dispositions() -> None:
    """Default dispositions for us are default dispositions for every child; what is ignored would stay so."""
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_DFL)
        except OSError:
            pass  # KILL and STOP


def _guardian(options: dict[str, str], daemon_argv: list[str]) -> Guardian:
    try:
        place = Place(options["--state"], options.get("--pidfile"))
    except OSError as error:
        raise _NoPlace(f"cannot use {options['--state']}: {error.strerror}") from error
    pidfile = ["--pidfile", os.path.abspath(options["--pidfile"])] if "--pidfile" in options else []
    arguments = ["--state", place.state_dir, *pidfile, "--", *daemon_argv]
    if "--resume" in options:
        return _resumed(place, arguments, daemon_argv, int(options["--resume"]))
    if "--successor-of" in options:
        return _successor(place, arguments, daemon_argv, int(options["--successor-of"]))
    kernel.keep_from_children([])
    try:
        place.take()
    except OSError as error:
        raise _NoPlace(f"cannot use {place.state_dir}/lock: {error.strerror}") from error
    try:
        # As early as can be: it takes some tenths of a second before it asks us for anything.
        life = begin_life(daemon_argv, own_command(arguments), place.lock_fd)
    except OSError as error:
        log.say(f"cannot start the daemon: {error.strerror}")
        life = None
    try:
        guardian = _made(place, arguments, daemon_argv, load(place.ledger), is_successor=False)
        guardian.begin_alone(life)
    except BaseException:
        if life is not None:  # else it would start one guardian after another, all of them in vain
            os.kill(life[0], signal.SIGKILL)
            os.waitpid(life[0], 0)
        raise
    return guardian


def _made(
    place: Place, arguments: list[str], daemon_argv: list[str], memory: Memory, *, is_successor: bool
) -> Guardian:
    """A guardian that knows what the ledger tells and has said so."""
    boot_id = processes.boot_id()
    header = memory.header if memory.boot_id == boot_id else {}
    nofile = resource.getrlimit(resource.RLIMIT_NOFILE)
    if is_successor and "nofile" in header:
        # The daemon that has started us had raised its own; apps get what the first guardian was given.
        nofile = (header["nofile"][0], header["nofile"][1])
        os.umask(header["umask"])
    groups = cgroups.find(place.state_id, header.get("cgroup"))
    umask = os.umask(0)
    os.umask(umask)
    header = {
        "boot": boot_id,
        "ledger": 1,
        "nofile": nofile,
        "umask": umask,
        "cgroup": groups.base_path if groups is not None else None,
    }
    descriptors = Descriptors(nofile)
    descriptors.raise_limit()  # lowered when all that was found is watched
    guardian = Guardian(place, arguments, daemon_argv, descriptors, Ledger(place.ledger, header), groups)
    guardian.begin(memory)
    _sign(guardian)
    return guardian


def _sign(guardian: Guardian) -> None:
    try:
        guardian.place.sign(guardian.boot_id)
    except OSError as error:
        # A full disk does not keep apps from running; `dronectl daemon start` will not find us.
        log.say(f"cannot write who we are to {guardian.place.folder}: {error.strerror}")


def _successor(place: Place, arguments: list[str], daemon_argv: list[str], fd: int) -> Guardian:
    sock = socket.socket(fileno=fd)
    lock = os.environ.pop("DRONED_LOCK_FD", "")
    place.inherit(int(lock) if lock.isdecimal() else -1)
    kernel.keep_from_children([])
    sock.setblocking(False)
    pid, _, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    guardian = _made(place, arguments, daemon_argv, load(place.ledger), is_successor=True)
    log.say(f"taking the place of a guardian that was lost, for the daemon with pid {pid}")
    guardian.begin_for(pid, sock)
    return guardian


def _resumed(place: Place, arguments: list[str], daemon_argv: list[str], fd: int) -> Guardian:
    state = reexec.state_in(fd)
    os.close(fd)
    kernel.keep_from_children([])
    place.lock_fd = state["lock_fd"]
    book = Ledger(place.ledger, state["ledger"]["header"], state["ledger"]["fd"])
    book.errors = state["ledger"]["errors"]
    descriptors = Descriptors((state["nofile"][0], state["nofile"][1]))
    descriptors.raise_limit()
    groups = cgroups.find(place.state_id, state["cgroups"])
    guardian = Guardian(place, arguments, daemon_argv, descriptors, book, groups)
    reexec.restore(guardian, state)
    _sign(guardian)
    return guardian


def run() -> None:
    """The program."""
    sys.exit(main(sys.argv[1:]))

"""From a launch to a running program: what the parent prepares, and what the child does in a fixed order.

The order is STAGES: session and cgroup first, so that whatever hangs later can
be found and killed; limits, umask, priority and descriptors while still root;
look-ups (they may ask a name service and take their time) only in the child;
then the user, verified; the folder as that user; exec. A failure is told over
a close-on-exec pipe as stage and errno, and exec itself closes the pipe, so the
guardian never waits.

All signals stay blocked through the set-up, for a signal that is sent to a
child half made shall find its target in one piece: it takes effect between the
last step and the first instruction of the program. Their dispositions are
already the default ones, because the guardian has no others.

What would hurt the set-up itself (a limit on descriptors, file size or memory)
is raised in the stage `limits` and lowered last, as the user.
"""

import errno
import os
import resource
import stat
import struct
import time
from collections.abc import Callable
from typing import NoReturn

from droned.guardian import kernel, processes
from droned.guardian.identity import PERSONAL, Identity, own_entry
from droned.guardian.ledger import Ledger, start_prefix
from droned.guardian.wire import Launch

STAGES = (
    "fork",
    "session",
    "cgroup",
    "signals",
    "limits",
    "umask",
    "nice",
    "oom_score_adj",
    "descriptors",
    "user",
    "group",
    "groups",
    "identity",
    "verify",
    "no_new_privs",
    "directory",
    "exec",
)
_NUMBER = {stage: number for number, stage in enumerate(STAGES)}
# Stages that may block are told when they begin, so that a time-out can name them.
_MAY_BLOCK = frozenset({"cgroup", "descriptors", "user", "group", "groups", "directory", "exec"})

# On the pipe: a byte below 0x20 is the stage that begins; these begin a record.
FACTS = b"F"
UNRECORDED = b"L"
FAILED = b"!"
_FACTS = struct.Struct("<qd")
_FAILED = struct.Struct("<Bi")

LIMITS = {name[7:].lower(): getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_HURTING = ("nofile", "fsize", "as", "data")

_STREAM_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_STREAM_MODE = 0o640
_EXIT_CODE = 125  # seen only when the guardian is gone; otherwise the pipe has told more

Step = tuple[str, Callable[..., object], tuple[object, ...]]


class Unlaunchable(Exception):
    """A launch that no child could carry out: stage and errno, found before any fork."""

    def __init__(self, stage: str, number: int) -> None:
        super().__init__(f"cannot prepare {stage}: {os.strerror(number)}")
        self.stage = stage
        self.errno = number


class World:
    """What every child needs of the guardian."""

    __slots__ = ("guardian_pid", "ledger", "nofile", "null_fd", "own_entry", "restore_oom", "state_id")

    def __init__(self, *, state_id: str, ledger: Ledger, null_fd: int, nofile: tuple[int, int]) -> None:
        self.state_id = state_id
        self.ledger = ledger
        self.null_fd = null_fd
        self.nofile = nofile  # soft and hard, as they were before the guardian raised its own
        self.guardian_pid = os.getpid()
        self.own_entry = own_entry()
        # A service manager protects us from the kernel's OOM killer; that is not meant for apps.
        self.restore_oom = (processes.read("/proc/self/oom_score_adj") or b"0").startswith(b"-")


class Setup:
    """One child to be: the steps it will take, everything encoded and chosen before the fork."""

    __slots__ = (
        "_argv",
        "_env",
        "_late_limits",
        "_launch",
        "_ledger_prefix",
        "_paths",
        "_pipe",
        "_stage",
        "_streams",
        "_world",
        "steps",
    )

    def __init__(self, launch: Launch, instance: str, run: int, world: World, procs_path: str | None) -> None:
        """Raises Unlaunchable. `procs_path`: the cgroup.procs to join, None for a child born inside."""
        self._launch = launch
        self._world = world
        self._argv, self._paths, self._env = _program(launch)
        self._env[b"DRONED_RUN"] = f"{world.state_id}/{instance}/{run}".encode()
        self._ledger_prefix = start_prefix(instance, run)
        self._late_limits: list[tuple[int, int, int]] = []
        self._streams: list[int] = []
        self._pipe = -1
        self._stage = "session"
        self.steps = self._plan(procs_path)

    def _plan(self, procs_path: str | None) -> list[Step]:
        launch = self._launch
        steps: list[Step] = [("session", os.setsid, ())]
        if procs_path is not None:
            steps.append(("cgroup", _write, (procs_path, b"0")))
        steps += self._limit_steps(launch["limits"])
        if launch["umask"] is not None:
            steps.append(("umask", os.umask, (launch["umask"],)))
        if launch["nice"] is not None:
            steps.append(("nice", os.setpriority, (os.PRIO_PROCESS, 0, launch["nice"])))
        if launch["oom_score_adj"] is not None or self._world.restore_oom:
            score = b"%d" % (launch["oom_score_adj"] or 0)
            steps.append(("oom_score_adj", _write, ("/proc/self/oom_score_adj", score)))
        steps.append(("descriptors", self._arrange_descriptors, ()))
        identity = Identity(launch["user"], launch["group"], launch["groups"])
        if identity.is_asked_for:
            steps += [
                ("user", identity.find_user, ()),
                ("group", identity.find_group, ()),
                ("groups", identity.find_groups, ()),
                ("identity", identity.take, (self._streams,)),
                ("verify", identity.verify, ()),
            ]
        if any(name not in self._env for name in PERSONAL):
            steps.append(("user", identity.describe, (self._env, self._world.own_entry)))
        if launch["no_new_privs"]:
            steps.append(("no_new_privs", kernel.forbid_new_privileges, ()))
        steps.append(("directory", os.chdir, (_encoded(launch["directory"] or "/", "directory"),)))
        steps.append(("exec", self._execute, ()))
        return steps

    def _limit_steps(self, limits: dict[str, list[int]]) -> list[Step]:
        steps: list[Step] = []
        wanted = {"nofile": list(self._world.nofile), **limits}
        for name, pair in wanted.items():
            if name not in LIMITS or len(pair) != 2:
                raise Unlaunchable("limits", errno.EINVAL)
            soft, hard = pair
            number = LIMITS[name]
            if name not in _HURTING:
                steps.append(("limits", _set_limit, (number, soft, hard)))
                continue
            if _exceeds(hard, resource.getrlimit(number)[1]):
                steps.append(("limits", _set_limit, (number, hard, hard)))
            self._late_limits.append((number, soft, hard))
        return steps

    # ---- in the child

    def run(self, pipe: int) -> NoReturn:
        """Take all steps; comes back as the program, or not at all."""
        self._pipe = pipe
        number = errno.EINVAL
        try:
            for stage, call, arguments in self.steps:
                self._stage = stage
                if stage in _MAY_BLOCK:
                    os.write(pipe, bytes((_NUMBER[stage],)))
                call(*arguments)
        except OSError as error:
            number = error.errno or errno.EINVAL
        except Exception:  # noqa: BLE001  # the border of the child: it may only end, and say where
            number = errno.EINVAL
        try:
            os.write(pipe, FAILED + _FAILED.pack(_NUMBER[self._stage], number))
        finally:
            os._exit(_EXIT_CODE)

    def _arrange_descriptors(self) -> None:
        world = self._world
        out = self._open_stream(self._launch["stdout"])
        same = self._launch["stderr"] == self._launch["stdout"]
        err = out if same else self._open_stream(self._launch["stderr"])
        os.dup2(world.null_fd, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        self._streams += [1] if same else [1, 2]
        # What is left open until exec: a child that hangs in a look-up must not hold our sockets.
        kernel.close_all_but(sorted({self._pipe, world.ledger.fd} - {-1}))

    def _open_stream(self, path: str) -> int:
        fd = os.open(path.encode("utf-8", "surrogateescape"), _STREAM_FLAGS, _STREAM_MODE)
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            os.set_blocking(fd, True)  # opened so that a FIFO without a reader fails and does not hang
        elif found.st_size == 0 and stat.S_IMODE(found.st_mode) != _STREAM_MODE:
            os.fchmod(fd, _STREAM_MODE)  # the app's umask has no say in who may read its output
        return fd

    def _execute(self) -> None:
        started = processes.start_time(os.getpid()) or 0
        at = time.time()
        try:
            os.write(
                self._world.ledger.fd, b"%s%d,%d,%.6f]}\n" % (self._ledger_prefix, os.getpid(), started, at)
            )
        except OSError:
            os.write(self._pipe, UNRECORDED)
        os.write(self._pipe, FACTS + _FACTS.pack(started, at))
        if os.getppid() != self._world.guardian_pid:
            # Our line may have come after a new guardian had read the ledger: better no program than two.
            os._exit(_EXIT_CODE)
        self._stage = "limits"
        for limit in self._late_limits:
            _set_limit(*limit)
        self._stage = "signals"
        kernel.unblock_signals()
        self._stage = "exec"
        _execute_first(self._paths, self._argv, self._env)


class Report:
    """What a child's pipe has told so far."""

    __slots__ = ("at", "errno", "has_facts", "is_unrecorded", "stage", "start_time")

    def __init__(self, content: bytes) -> None:
        self.stage = "session"
        self.errno: int | None = None
        self.has_facts = self.is_unrecorded = False
        self.start_time = 0
        self.at = 0.0
        at = 0
        while at < len(content):
            mark = content[at : at + 1]
            at += 1
            if mark == FACTS:
                self.start_time, self.at = _FACTS.unpack_from(content, at)
                self.has_facts = True
                at += _FACTS.size
            elif mark == FAILED:
                number, self.errno = _FAILED.unpack_from(content, at)
                self.stage = STAGES[number]
                at += _FAILED.size
            elif mark == UNRECORDED:
                self.is_unrecorded = True
            else:
                self.stage = STAGES[mark[0]]


def _program(launch: Launch) -> tuple[list[bytes], list[bytes], dict[bytes, bytes]]:
    """Arguments, paths to try in turn, and environment of the program."""
    argv = [_encoded(word, "exec") for word in launch["argv"]]
    env = {_encoded(key, "exec"): _encoded(value, "exec") for key, value in launch["env"].items()}
    if not argv or not argv[0] or any(not key or b"=" in key for key in env):
        raise Unlaunchable("exec", errno.EINVAL)
    if b"/" in argv[0]:
        return argv, [argv[0]], env
    folders = env.get(b"PATH", os.defpath.encode()).split(b":")
    return argv, [(folder or b".") + b"/" + argv[0] for folder in folders], env


def _encoded(text: str, stage: str) -> bytes:
    encoded = text.encode("utf-8", "surrogateescape")
    if b"\0" in encoded:
        raise Unlaunchable(stage, errno.EINVAL)
    return encoded


def _execute_first(paths: list[bytes], argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    """Execute the first of `paths` that can be; the error of one that is there beats its absence."""
    failure: OSError | None = None
    for path in paths:
        try:
            os.execve(path, argv, env)
        except (FileNotFoundError, NotADirectoryError) as error:
            failure = failure or error
        except PermissionError as error:
            failure = error
    raise failure or OSError(errno.ENOENT, "no path to look in")


def _write(path: str, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


def _set_limit(number: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(number, (soft, hard))
    except ValueError as error:  # what the module makes of both errors of the call
        raise OSError(errno.EINVAL if _exceeds(soft, hard) else errno.EPERM, str(error)) from None


def _exceeds(limit: int, present: int) -> bool:
    """Whether `limit` is above `present`, where -1 is unlimited."""
    return present != resource.RLIM_INFINITY and not 0 <= limit <= present

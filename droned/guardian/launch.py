"""From a launch to a running program: what is prepared for it, and what a forked child does in a fixed order.

The order is STAGES: session first; limits, umask, priority and descriptors while still root;
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
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from droned.guardian import kernel, processes
from droned.guardian.descriptors import Descriptors
from droned.guardian.identity import PERSONAL, Identity, own_entry, personalize
from droned.guardian.ledger import Ledger, start_prefix
from droned.guardian.wire import Launch

STAGES = (
    "fork",
    "session",
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
SETUP_S = 10.0
"""Seconds until a set-up without result is given up."""
_NUMBER = {stage: number for number, stage in enumerate(STAGES)}
_MAY_BLOCK = frozenset({"descriptors", "user", "group", "groups", "directory", "exec"})

# On the pipe: a byte below 0x20 is the stage that begins; these begin a record, which a newline ends.
FACTS = b"F"
UNRECORDED = b"L"
FAILED = b"!"

LIMITS = {name[7:].lower(): getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}
_HURTING = ("nofile", "fsize", "as", "data")

STREAM_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
STREAM_MODE = 0o640
_CAPTURED = {("stdout", "stderr"): ("stdout", "stderr"), ("output", "output"): ("output",)}
_MOST_SESSIONS = 100
_EXIT_CODE = 125  # seen only when the guardian is gone; otherwise the pipe has told more

Step = tuple[str, bytes, Callable[..., object], tuple[Any, ...]]
"""Stage, what is told when it begins, and the call to make."""
Limit = tuple[int, int, int]
"""Resource, soft, hard."""


class Unlaunchable(Exception):
    """A launch that no child could carry out: stage and errno, found before any fork."""

    def __init__(self, stage: str, number: int) -> None:
        super().__init__(f"cannot prepare {stage}: {os.strerror(number)}")
        self.stage = stage
        self.errno = number


class World:
    """What every child needs of the guardian."""

    __slots__ = (
        "companion_sessions",
        "descriptors",
        "guardian_pid",
        "ledger",
        "null_fd",
        "own_entry",
        "private",
        "restore_oom",
        "state_id",
        "umask",
    )

    def __init__(self, *, state_id: str, ledger: Ledger, null_fd: int, descriptors: Descriptors) -> None:
        self.state_id = state_id
        self.ledger = ledger
        self.null_fd = null_fd
        self.descriptors = descriptors
        self.guardian_pid = os.getpid()
        self.companion_sessions: deque[int] = deque(maxlen=_MOST_SESSIONS)
        self.private: dict[str, int] = {}
        """The lock, and the socket of the present life of each companion."""
        self.own_entry = own_entry()
        self.umask = os.umask(0)
        os.umask(self.umask)
        # A service manager protects us from the kernel's OOM killer; that is not meant for apps.
        self.restore_oom = (processes.read("/proc/self/oom_score_adj") or b"0").startswith(b"-")

    def token(self, instance: str, run: int) -> bytes:
        """What a run has in its environment as DRONED_RUN."""
        return f"{self.state_id}/{instance}/{run}".encode("utf-8", "surrogateescape")


class Setup:
    """One child to be: the steps it will take, everything encoded and chosen before the fork.

    The child shares its memory with the guardian until it writes to it, and
    every page that it touches costs a copy: what can be done before the fork is.
    """

    __slots__ = ("_launch", "_pipe", "_record_start", "_sizes", "_streams", "_world", "steps")

    def __init__(
        self, launch: Launch, instance: str, run: int, world: World, writers: tuple[int, ...] = ()
    ) -> None:
        """`writers` are the pipes' ends for its output, if that is captured. Raises Unlaunchable."""
        self._launch = launch
        self._world = world
        self._record_start = start_prefix(instance, run)
        self._streams: list[int] = []
        self._pipe = -1
        self._sizes = (0, 0)
        argv, paths, env = program_of(launch)
        env[b"DRONED_RUN"] = world.token(instance, run)
        identity = Identity(launch["user"], launch["group"], launch["groups"])
        early_limits, late_limits = self._limits()
        self.steps: list[Step] = []
        self._add("session", os.setsid)
        for limit in early_limits:
            self._add("limits", _set_limit, *limit)
        self._add_modest()
        if writers:
            self._add("descriptors", self._take_streams, writers[0], writers[-1])
        else:
            self._add("descriptors", self._open_streams, *stream_paths(launch))
        if identity.is_asked_for:
            self._add("descriptors", self._close_others)
            self._add("user", identity.find_user)
            self._add("group", identity.find_group)
            self._add("groups", identity.find_groups)
            self._add("identity", identity.take, self._streams)
            self._add("verify", identity.verify)
            self._add("user", identity.describe, env)
        elif any(name not in env for name in PERSONAL):
            if world.own_entry is not None:
                personalize(env, world.own_entry)
            else:
                self._add("user", identity.describe, env)
        if launch["no_new_privs"]:
            self._add("no_new_privs", kernel.forbid_new_privileges)
        self._add("directory", os.chdir, encoded(launch["directory"] or "/", "directory"))
        self._add("exec", self._record)
        for limit in late_limits:
            self._add("limits", _set_limit, *limit)
        self._add("signals", kernel.unblock_signals)
        self._add("exec", _execute_first, paths, argv, env)

    def _add(self, stage: str, call: Callable[..., object], *arguments: Any) -> None:
        # A stage that may block is told when it begins, so that a time-out can name it.
        is_told = stage in _MAY_BLOCK and not (self.steps and self.steps[-1][0] == stage)
        mark = bytes((_NUMBER[stage],)) if is_told else b""
        self.steps.append((stage, mark, call, arguments))

    def _add_modest(self) -> None:
        """umask, nice and oom_score_adj."""
        launch = self._launch
        if launch["umask"] is not None:
            self._add("umask", os.umask, launch["umask"])
        if launch["nice"] is not None:
            self._add("nice", os.setpriority, os.PRIO_PROCESS, 0, launch["nice"])
        if launch["oom_score_adj"] is not None or self._world.restore_oom:
            score = b"%d" % (launch["oom_score_adj"] or 0)
            self._add("oom_score_adj", _write, "/proc/self/oom_score_adj", score)

    def _limits(self) -> tuple[list[Limit], list[Limit]]:
        """The limits to set while still root, and those to set last."""
        early: list[Limit] = []
        late: list[Limit] = []
        own = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted: dict[str, list[int]] = {}
        if own != self._world.descriptors.soft_and_hard:
            wanted["nofile"] = list(self._world.descriptors.soft_and_hard)
        wanted.update(self._launch["limits"])
        for name, pair in wanted.items():
            if name not in LIMITS or len(pair) != 2:
                raise Unlaunchable("limits", errno.EINVAL)
            soft, hard = pair
            number = LIMITS[name]
            if name not in _HURTING:
                early.append((number, soft, hard))
                continue
            if _exceeds(hard, resource.getrlimit(number)[1]):
                early.append((number, hard, hard))
            late.append((number, soft, hard))
        return early, late

    # ---- in the child

    def run(self, pipe: int, foreign: Iterable[int]) -> NoReturn:
        """Take all steps; comes back as the program, or not at all.

        `pipe` is where to tell how it goes, `foreign` are others' ends of pipes.
        """
        self._pipe = pipe
        number = errno.EINVAL
        stage = "session"
        try:
            # exec closes all the rest; these must not be held by a child that hangs before that.
            for fd in (*self._world.private.values(), *foreign):
                os.close(fd)
            for stage, mark, call, arguments in self.steps:  # noqa: B007  # told after the loop
                if mark:
                    os.write(pipe, mark)
                call(*arguments)
        except OSError as error:
            number = error.errno or errno.EINVAL
        except Exception:  # noqa: BLE001  # the border of the child: it may only end, and say where
            number = errno.EINVAL
        try:
            os.write(pipe, b"%s%d,%d\n" % (FAILED, _NUMBER[stage], number))
        finally:
            os._exit(_EXIT_CODE)

    def _open_streams(self, out_path: bytes, err_path: bytes | None) -> None:
        umask = os.umask(0)  # the app's has no say in who may read its output
        out = os.open(out_path, STREAM_FLAGS, STREAM_MODE)
        err = out if err_path is None else os.open(err_path, STREAM_FLAGS, STREAM_MODE)
        os.umask(umask)
        self._sizes = (size_of(out), size_of(err))
        self._take_streams(out, err)

    def _take_streams(self, out: int, err: int) -> None:
        os.dup2(self._world.null_fd, 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        self._streams += [1] if err == out else [1, 2]

    def _close_others(self) -> None:
        """Close all that a look-up in a name service could hold for long."""
        kernel.close_all_but(sorted({self._pipe, self._world.ledger.fd} - {-1}))

    def _record(self) -> None:
        """Write our line of the ledger; no program runs without one."""
        text = os.read(os.open("/proc/self/stat", os.O_RDONLY | os.O_CLOEXEC), 1024)
        started = text[text.rindex(b")") :].split(None, 21)[20]
        facts = b"%d,%s,%.6f" % (os.getpid(), started, time.time())
        line = b"%s%s]}\n" % (self._record_start, facts)
        try:
            is_recorded = os.write(self._world.ledger.fd, line) == len(line)
        except OSError:
            is_recorded = False
        mark = FACTS if is_recorded else UNRECORDED
        os.write(self._pipe, b"%s%s,%d,%d\n" % (mark, facts, *self._sizes))
        if os.getppid() != self._world.guardian_pid:
            # Our line may have come after a new guardian had read the ledger: better no program than two.
            os._exit(_EXIT_CODE)


class Report:
    """What a child's pipe has told so far."""

    __slots__ = ("at", "errno", "has_facts", "is_unrecorded", "output", "stage", "start_time")

    def __init__(self, content: bytes) -> None:
        self.stage = "session"
        self.errno: int | None = None
        self.has_facts = self.is_unrecorded = False
        self.start_time = 0
        self.at = 0.0
        self.output = (0, 0)
        at = 0
        while at < len(content):
            mark = content[at : at + 1]
            at += 1
            if mark < b" ":
                self.stage = STAGES[mark[0]]
                continue
            end = content.index(b"\n", at)
            words = content[at:end].split(b",")
            at = end + 1
            if mark == FAILED:
                self.stage, self.errno = STAGES[int(words[0])], int(words[1])
            else:
                self.has_facts = True
                self.is_unrecorded = mark == UNRECORDED
                self.start_time, self.at = int(words[1]), float(words[2])
                self.output = (int(words[3]), int(words[4]))


def program_of(launch: Launch) -> tuple[list[bytes], list[bytes], dict[bytes, bytes]]:
    """Arguments, paths to try in turn, and environment of the program. Raises Unlaunchable."""
    argv = [encoded(word, "exec") for word in launch["argv"]]
    env = {encoded(key, "exec"): encoded(value, "exec") for key, value in launch["env"].items()}
    if not argv or not argv[0] or any(not key or b"=" in key for key in env):
        raise Unlaunchable("exec", errno.EINVAL)
    if b"/" in argv[0]:
        return argv, [argv[0]], env
    folders = env.get(b"PATH", os.defpath.encode()).split(b":")
    return argv, [(folder or b".") + b"/" + argv[0] for folder in folders], env


def size_of(fd: int) -> int:
    """The length of an open file, 0 of what has none."""
    try:
        return os.lseek(fd, 0, os.SEEK_END)
    except OSError:
        return 0


def stream_paths(launch: Launch) -> tuple[bytes, bytes | None]:
    """The files of standard output and error; None for the second when it goes to the first."""
    out, err = (encoded(launch[key], "descriptors") for key in ("stdout", "stderr"))
    return out, None if err == out else err


def captured_streams(launch: Launch) -> tuple[str, ...]:
    """The streams that are captured of a launch: two, one for both, or none. Raises Unlaunchable."""
    if "logs" not in launch:
        return ()
    names = (launch["stdout"], launch["stderr"])
    if names not in _CAPTURED:
        raise Unlaunchable("descriptors", errno.EINVAL)
    return _CAPTURED[names]


def encoded(text: str, stage: str) -> bytes:
    """The bytes of a text that a launch carries. Raises Unlaunchable with `stage` for one with a NUL."""
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

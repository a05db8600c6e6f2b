"""The guardian executes its installed successor in place: same process, same children, nothing lost.

Signals stay blocked over it, so none is lost; children that end meanwhile wait
as zombies; descriptors stay open by number. The rest travels as JSON in a
memfd. Before that a trial process of the installed version has to read a copy
of it: a version that cannot is never executed.
"""

import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

from droned.guardian import captures, kernel, log
from droned.guardian.companion import Companion, describe
from droned.guardian.daemon_process import own_command
from droned.guardian.runs import Run
from droned.guardian.wire import encode

if TYPE_CHECKING:
    from droned.guardian.guardian import Guardian
    from droned.guardian.loop import Timer

VERSION = 1
_TRIAL_S = 10.0
_AGAIN_S = 0.02
_AT_REST_WITHIN_S = 15.0
_RUN_FIELDS = (
    "instance", "run", "pid", "start_time", "at", "state", "is_reaped", "adopted", "status", "seen",
    "ended_at", "failure", "cpu_s", "max_rss_bytes", "leftovers",
)  # fmt: skip


class Reexec:
    """The way of one guardian into its next version."""

    def __init__(self, guardian: "Guardian") -> None:
        self._guardian = guardian
        self._trial = 0
        self._timer: Timer | None = None

    def begin(self) -> None:
        """Have the installed version read a copy of the state; go over to it when it can."""
        if self._trial:
            return
        state = memfd_of(save(self._guardian))
        command = own_command(["--try", str(state)])
        try:
            pid = os.fork()
            if pid == 0:
                _become(command, [state])
        except OSError as error:
            log.say(f"cannot try the installed guardian: {error.strerror}")
            return
        finally:
            os.close(state)
        self._trial = pid
        self._guardian.children.others[pid] = self._tried
        self._timer = self._guardian.loop.later(_TRIAL_S, lambda: os.kill(pid, signal.SIGKILL))

    def _tried(self, status: int) -> None:
        self._trial = 0
        if self._timer is not None:
            self._timer.cancel()
        if status == 0:
            self._go(time.monotonic() + _AT_REST_WITHIN_S)
        else:
            log.say(
                f"the installed guardian cannot read the state of this one ({describe(status)}): it stays"
            )

    def _go(self, until: float) -> None:
        """Execute it, as soon as no thread of ours is at work: exec would have to wait for its end."""
        guardian = self._guardian
        guardian.children.start_all()
        guardian.children.reap()
        if (
            not guardian.children.are_idle
            or guardian.children.forks.awaits_reaping
            or guardian.trees.are_moving
        ):
            if time.monotonic() < until:
                guardian.loop.later(_AGAIN_S, lambda: self._go(until))
            else:
                log.say("cannot execute the installed guardian: a launch hangs in the kernel")
            return
        guardian.companion.flush()
        guardian.notify.reloading()
        state = save(guardian)
        fd = memfd_of(state)
        kept = [fd, *descriptors(state)]
        for number in kept:
            os.set_inheritable(number, True)
        command = own_command(["--resume", str(fd), *state["arguments"]])
        try:
            os.execv(command[0], command)
        except OSError as error:
            log.say(f"cannot execute the installed guardian: {error.strerror}")
        for number in kept:
            os.set_inheritable(number, False)
        os.close(fd)


def _become(command: list[str], kept: list[int]) -> None:
    try:
        kernel.close_all_but(kept)
        for fd in kept:
            os.set_inheritable(fd, True)
        kernel.unblock_signals()
        os.execv(command[0], command)
    finally:
        os._exit(1)


def memfd_of(state: dict[str, Any]) -> int:
    """A memfd that holds `state`; the caller closes it."""
    fd = os.memfd_create("droned-guardian", os.MFD_CLOEXEC)
    content = encode(state).encode("ascii")
    while content:
        content = content[os.write(fd, content) :]
    return fd


def state_in(fd: int) -> dict[str, Any]:
    """The state in a memfd. Raises ValueError for one that this version does not understand."""
    state = json.loads(os.pread(fd, os.fstat(fd).st_size, 0))
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise ValueError("cannot read the state of the guardian before")
    return state


def save(guardian: "Guardian") -> dict[str, Any]:
    """All that a guardian knows, as JSON takes it."""
    table, companion, ledger = guardian.table, guardian.companion, guardian.ledger
    return {
        "version": VERSION,
        "arguments": guardian.arguments,
        "nofile": guardian.world.descriptors.soft_and_hard,
        "lock_fd": guardian.place.lock_fd,
        "ledger": {"fd": ledger.fd, "errors": ledger.errors, "header": ledger.header},
        "cgroups": guardian.cgroups.base_path if guardian.cgroups is not None else None,
        "head": guardian.head,
        "shutdown": guardian.shutdown_reason,
        "exit_code": guardian.exit_code,
        "parked": guardian.parked,
        "runs": [[getattr(run, field) for field in _RUN_FIELDS] for run in table.runs.values()],
        "table": table.saved(),
        "setups": list(guardian.children.forks.pipes.items()),
        "pidfds": [[*key, fd] for key, fd in guardian.adoptions.pidfds().items()],
        "captures": guardian.captures.saved(),
        "daemon": {**_of_companion(companion), "is_left": companion.is_left},
        "logs": _of_companion(guardian.logs),
    }


def _of_companion(companion: Companion) -> dict[str, Any]:
    return {
        "pid": companion.pid,
        "fd": companion.socket_fd,
        "is_child": companion.is_child,
        "is_listening": companion.is_listening,
        "backoff": companion.backoff.saved(),
    }


def descriptors(state: dict[str, Any]) -> list[int]:
    """The descriptors that have to stay open for `state`."""
    found = [
        state["lock_fd"],
        state["ledger"]["fd"],
        state["daemon"]["fd"],
        state.get("logs", {}).get("fd", -1),
        *captures.descriptors_in(state.get("captures", {})),
        *state["parked"].values(),
        *(fd for _, fd in state["setups"]),
        *(fd for *_, fd in state["pidfds"]),
    ]
    return [fd for fd in found if fd >= 0]


def runs_in(state: dict[str, Any]) -> list[Run]:
    """The runs of a saved state. Raises ValueError, KeyError or TypeError for one that is not understood."""
    runs = []
    for values in state["runs"]:
        fields = dict(zip(_RUN_FIELDS, values, strict=True))
        run = Run(fields["instance"], fields["run"], fields["pid"], fields["at"])
        for field, value in fields.items():
            setattr(run, field, value)
        runs.append(run)
    return runs


def restore(guardian: "Guardian", state: dict[str, Any]) -> None:
    """Make `guardian`, which is new, what the one before the exec was."""
    guardian.head = state["head"]
    guardian.shutdown_reason = state["shutdown"]
    guardian.exit_code = state["exit_code"]
    guardian.parked = dict(state["parked"])
    runs = {run.key: run for run in runs_in(state)}
    for run in runs.values():
        guardian.table.add(run)
    guardian.table.resume(state["table"])
    for pid, pipe in state["setups"]:
        guardian.children.forks.follow(guardian.table.by_pid[pid], pipe)
    pidfds = {(instance, number): fd for instance, number, fd in state["pidfds"]}
    for run in runs.values():
        if run.adopted and run.lives:
            guardian.adoptions.watch(run, pidfds.get(run.key, -1))
    guardian.adoptions.settle()
    guardian.trees.resume(run for run in runs.values() if run.state != "setup")
    if "captures" in state:  # the version before ours may have known nothing of them
        guardian.captures.resume(state["captures"])
        if _is_resumed(guardian.logs, state["logs"]):
            guardian.logs.replace()
    daemon = guardian.companion
    if _is_resumed(daemon, state["daemon"]):
        guardian.replace_daemon("the guardian was replaced")
    elif state["daemon"]["is_left"]:
        daemon.is_left = True
    else:
        daemon.start()
    guardian.logs.begin()


def _is_resumed(companion: Companion, saved: dict[str, Any]) -> bool:
    """Take the companion of before the exec, if there was one just then."""
    failures, deaths = saved["backoff"]
    now = time.monotonic()
    past = tuple(death for death in deaths if death <= now)
    companion.backoff = companion.new_backoff(failures, past)
    companion.lives = 2
    if saved["fd"] < 0 or not saved["pid"]:
        return False
    sock = socket.socket(fileno=saved["fd"])
    sock.setblocking(False)
    companion.resume(saved["pid"], sock, is_child=saved["is_child"], is_listening=saved["is_listening"])
    return True

"""The guardian seen from outside: found by its file in the state folder, known by pid and start time.

`daemon start` has to reach it when no daemon answers; `daemon shutdown` has to
see its end. A pid alone proves nothing: it may belong to somebody else by now.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from droned.ctl.failures import Unreachable
from droned.errors import NotAllowed


class Guardian:
    """One guardian process, by identity."""

    def __init__(self, pid: int, start_time: int) -> None:
        self.pid = pid
        self.start_time = start_time

    @property
    def is_alive(self) -> bool:
        """Whether this very process is there and not a zombie."""
        return _start_time(self.pid) == self.start_time

    def wake(self) -> None:
        """Send USR1, at which it starts a daemon if it has none; Unreachable when it is gone."""
        import signal

        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError as fault:
            raise _gone(self.pid) from fault
        try:
            # Looked at behind the pidfd: a pid that was reused meanwhile is not signalled.
            if not self.is_alive:
                raise _gone(self.pid)
            signal.pidfd_send_signal(descriptor, signal.SIGUSR1)
        except PermissionError:
            raise NotAllowed(
                f"cannot wake the guardian (pid {self.pid}): it belongs to another user; "
                "ask as root or as that user"
            ) from None
        except ProcessLookupError:
            raise _gone(self.pid) from None
        finally:
            os.close(descriptor)


def of_pid(pid: object) -> Guardian | None:
    """The process that has this pid now; None when it cannot be seen."""
    if not isinstance(pid, int):
        return None
    start_time = _start_time(pid)
    return None if start_time is None else Guardian(pid, start_time)


def file_in(state_dir: str) -> str:
    """The path of the file in which the guardian of a state folder says who it is."""
    return f"{state_dir}/guardian/guardian.json"


def of_state(state_dir: str) -> Guardian:
    """The living guardian of a state folder; Unreachable or NotAllowed says why there is none to be found."""
    path = file_in(state_dir)
    try:
        said = json.loads(Path(path).read_bytes())
        guardian = of_card(said)
    except FileNotFoundError:
        raise Unreachable(
            f"cannot find a guardian: there is no {path}; start droned with droned run, or name its --state"
        ) from None
    except PermissionError:
        raise NotAllowed(f"cannot read {path}: permission denied; ask as root or as droned's user") from None
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise Unreachable(f"cannot use {path}: {fault}") from fault
    if guardian is None:
        raise Unreachable(
            f"cannot find a guardian: the one in {path} (pid {said['pid']}) is gone; "
            "start droned with droned run"
        )
    return guardian


def of_card(said: Mapping[str, Any]) -> Guardian | None:
    """The living guardian that says of itself what `said` has; None when it is gone.

    Raises KeyError, TypeError or ValueError for what no guardian says.
    """
    guardian, boot_id = Guardian(int(said["pid"]), int(said["start_time"])), str(said["boot_id"])
    return guardian if boot_id.strip() == _boot_id() and guardian.is_alive else None


def _start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat; None when there is no such process, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().decode().strip()
    except OSError:
        return ""


def _gone(pid: int) -> Unreachable:
    return Unreachable(f"cannot wake the guardian (pid {pid}): it is gone; start droned with droned run")

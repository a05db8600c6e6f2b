"""A droned of the harness's own: its folder, its configuration, its life, and the cleaning up after it.

Everything that a site starts carries its tag: the supervised programs in
their second argument, droned's own processes in their environment. `close`
ends what carries the tag and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import model, processes, programs
from tests.faults.api import Api, Refused, Unanswered
from tests.faults.stamps import StampFile

DRONED = (
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'droned'; from droned.daemon.main import main; sys.exit(main())",
)
"""droned of this checkout under the interpreter of the tests."""

TAG_VARIABLE = "DRONED_HARNESS_TAG"


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An app of the configuration that runs a program of `tests/programs`."""

    name: str
    program: str = "child"
    mode: Sequence[str] = ("pause",)
    """The mode and its arguments, such as ("exit", "any", "200")."""
    instances: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the app, as in the configuration."""


class Lost(Exception):
    """droned did not come, or did not come back, in time."""


@dataclass(slots=True)
class Site:
    """One droned with its folder; a context manager that leaves nothing behind."""

    command: Sequence[str] = DRONED
    environment: Mapping[str, str] = field(default_factory=dict)
    """What droned gets beside our own."""
    tag: str = field(default_factory=lambda: secrets.token_hex(4))
    folder: Path = field(init=False)
    stamps: StampFile = field(init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"droned-{self.tag}-"))
        # Supervised programs may run as another user.
        self.folder.chmod(0o755)
        self.stamps = StampFile(self.folder / "stamps")
        self.stamps.create()

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def socket(self) -> Path:
        """The socket of the API."""
        return self.folder / "droned.sock"

    @property
    def api(self) -> Api:
        """A client of this droned."""
        return Api(socket=str(self.socket))

    @property
    def configuration(self) -> Path:
        """The configuration file."""
        return self.folder / "droned.yaml"

    @property
    def log(self) -> Path:
        """What droned printed."""
        return self.folder / "droned.log"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.folder / "state"

    def child(self, name: str, mode: Sequence[str], program: str = "child") -> list[str]:
        """The command line of a supervised program under the mark of this site."""
        path = programs.compiled(programs.PROGRAMS / f"{program}.c")
        return [str(path), f"{name}@{self.tag}", str(self.stamps.path), *mode]

    def configure(self, apps: Iterable[App], **droned: Any) -> None:
        """Write the configuration, by one rename.

        Restarts come at once and without limit unless an app says otherwise;
        `droned` are keys of the section of that name.
        """
        document = {
            "version": 1,
            "defaults": {"restart": {"policy": "always", "delay": "0s", "limit": "never"}},
            "droned": {"start_budget": "off", **droned},
            "apps": {
                app.name: {
                    "command": self.child(app.name + "/${DRONED_LABEL}", app.mode, app.program),
                    "instances": app.instances,
                    **app.options,
                }
                for app in apps
            },
        }
        fresh = self.configuration.with_suffix(".new")
        # JSON is YAML; the harness needs no library of droned's.
        fresh.write_text(json.dumps(document, indent=1))
        fresh.rename(self.configuration)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start `droned run` in the foreground, as an init would; it may be a restart."""
        own = {TAG_VARIABLE: self.tag, "PYTHONPATH": str(programs.ROOT)}
        command = [
            *self.command,
            "run",
            "-c",
            str(self.configuration),
            "--state",
            str(self.state),
            "--socket",
            str(self.socket),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=programs.ROOT,
                env={**os.environ, **self.environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def in_control(self, *, other_than: int | None = None, within_s: float = 30.0) -> dict[str, Any]:
        """The daemon's status, as soon as a daemon (not `other_than`, a pid) answers.

        Raises Lost with the end of the log when none does.
        """
        deadline = time.monotonic() + within_s
        while True:
            with contextlib.suppress(Unanswered, Refused):
                found = self.api.daemon()
                if found["pid"] != other_than:
                    return found
            if time.monotonic() > deadline:
                raise Lost(f"no daemon in control after {within_s:.0f} s; its log ends:\n{self.log_end()}")
            time.sleep(0.01)

    def all_up(self, count: int, within_s: float = 60.0) -> None:
        """Wait until `count` supervised programs live; raises Lost when they do not."""
        if not processes.until(lambda: len(processes.marked(self.tag)) >= count, within_s, 0.05):
            alive = len(processes.marked(self.tag))
            raise Lost(f"{alive} of {count} programs live after {within_s:.0f} s:\n{self.log_end()}")

    def told_ends(self) -> dict[tuple[str, int], str]:
        """Every end that droned tells, by instance and run number: in its events or in a description."""
        told = model.told_by(self.api.events())
        for key in self.api.instances():
            told |= model.told_by_exits(key, self.api.instance(key)["exits"])
        return told

    def log_end(self, lines: int = 15) -> str:
        """The last lines of what droned printed."""
        if not self.log.exists():
            return "(nothing)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def is_own(self, pid: int) -> bool:
        """Whether a process is droned's own here: guardian or daemon."""
        return pid != os.getpid() and processes.environment_has(pid, f"{TAG_VARIABLE}={self.tag}")

    def kill(self, pid: int, number: int = signal.SIGKILL) -> bool:
        """Signal one of droned's own processes here; false when the pid is no longer one."""
        return processes.send(pid, number, self.is_own)

    def is_marked(self, pid: int) -> bool:
        """Whether a process is a supervised program of this site."""
        words = processes.arguments(pid)
        return len(words) > 1 and words[1].endswith(f"@{self.tag}")

    def kill_program(self, pid: int, number: int = signal.SIGKILL) -> bool:
        """Signal a supervised program behind droned's back."""
        return processes.send(pid, number, self.is_marked)

    def shut_down(self, within_s: float = 60.0) -> float:
        """End droned and its programs in order by TERM to the guardian; the seconds that it took.

        Raises Lost when droned still runs, or a program does, when the time is over.
        """
        began = time.monotonic()
        self.kill(int(self.in_control()["guardian_pid"]), signal.SIGTERM)
        ended = processes.until(lambda: not any(map(self.is_own, processes.pids())), within_s, 0.02)
        took_s = time.monotonic() - began
        left = processes.marked(self.tag)
        if not ended or left:
            raise Lost(f"after a shut-down of {took_s:.1f} s still there: droned {not ended}, {left}")
        return took_s

    def close(self) -> None:
        """Kill what is left of droned first, then of its programs; remove the folder."""
        for belongs in (self.is_own, self.is_marked):
            # More than one round: whoever is starting something while it is killed leaves that behind.
            for _ in range(20):
                left = [pid for pid in processes.pids() if belongs(pid) and processes.is_alive(pid)]
                if not left:
                    break
                for pid in left:
                    processes.send(pid, signal.SIGKILL, belongs)
                time.sleep(0.05)
        if self.process is not None:
            self.process.wait(10.0)
            self.process = None
        processes.remove_cgroups(self.state)
        shutil.rmtree(self.folder, ignore_errors=True)

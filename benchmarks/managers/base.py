"""What every manager under measurement has in common: its folder, its programs, its life and its end."""

from __future__ import annotations

import abc
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import processes, programs
from tests.faults.stamps import Stamp, StampFile


class Failed(Exception):
    """A measurement could not be made; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """Programs of one kind, under any manager; those of `tests/programs`."""

    name: str = "web"
    instances: int
    program: str = "child"
    mode: tuple[str, ...] = ("pause",)
    is_captured: bool = False
    """Whether what they print goes to files under supervisord too; droned always does that."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further keys of the app in droned's configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """How a manager is asked for the status of all its programs."""

    socket: Path
    request: bytes
    kind: str
    """`http` or `text`: how the end of an answer is told, see load.c."""
    mark: str
    """What stands in an answer once for each program."""


_folders: list[Path] = []


def remove_folders() -> None:
    """Remove what all lives so far have written, but for captured output.

    Not after each of them: ext4 looks past every inode that was deleted in the
    last seconds, so the next life would pay for the files of the one before.
    """
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


class Manager(abc.ABC):
    """One life of a manager with the programs of `apps`; a context manager that leaves nothing behind."""

    name: str

    def __init__(self, apps: Sequence[App], settings: Mapping[str, Any]) -> None:
        self.apps = tuple(apps)
        self.settings = settings
        """Further keys of the section `droned` of its configuration."""
        self.count = sum(app.instances for app in apps)
        self.tag = secrets.token_hex(4)
        self.folder = Path(tempfile.mkdtemp(prefix=f"bench-{self.tag}-"))
        memory = Path("/dev/shm")
        place = memory if memory.is_dir() and os.access(memory, os.W_OK) else self.folder
        self.stamps = StampFile(place / f"bench-{self.tag}.stamps")
        self.stamps.create()
        self.running: dict[str, int] = {}
        """The latest pid of every program, by its name."""
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def socket(self) -> Path:
        """Where status is asked."""
        return self.folder / "m.sock"

    @property
    def log(self) -> Path:
        """What the manager printed."""
        return self.folder / "log"

    @abc.abstractmethod
    def command(self) -> Sequence[str]:
        """What is launched, in the foreground; writes configuration files that it needs."""

    @abc.abstractmethod
    def question(self) -> Question:
        """How its status is asked."""

    def own_pids(self) -> tuple[int, ...]:
        """The manager's own processes."""
        assert self.process is not None
        return (self.process.pid,)

    def starting_pids(self) -> tuple[int, ...]:
        """Those of them that start and decide, and do not capture."""
        return self.own_pids()

    def client_command(self) -> Sequence[str] | None:
        """The command with which a person asks for the status; None where there is none."""
        return None

    def client_environment(self) -> dict[str, str]:
        """What that command is given."""
        return dict(os.environ)

    def environment(self) -> dict[str, str]:
        """What the manager is given."""
        return dict(os.environ)

    def launch(self) -> int:
        """Begin; the monotonic nanosecond at which it was."""
        command = list(self.command())
        with self.log.open("ab") as log:
            began_ns = time.monotonic_ns()
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return began_ns

    def started(self, count: int, within_s: float, every_s: float = 0.002) -> list[Stamp]:
        """The next `count` programs that were exec'd; raises Failed when they are not in time."""
        found: list[Stamp] = []
        size = -1
        deadline = time.monotonic() + within_s
        while len(found) < count:
            if (grown := self.stamps.size()) != size:
                size = grown
                for stamp in self.stamps.new():
                    found.append(stamp)
                    self.running[stamp.name] = stamp.pid
                continue
            if self.process is not None and self.process.poll() is not None:
                raise Failed(f"{self.name} ended with {self.process.returncode}:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise Failed(
                    f"{len(found)} of {count} programs started within {within_s:.0f} s:\n{self.log_end()}"
                )
            time.sleep(every_s)
        return found

    def end(self, within_s: float) -> float:
        """The seconds from TERM until all programs and the manager are gone."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise Failed(
                f"{self.name} has not ended {within_s:.0f} s after TERM:\n{self.log_end()}"
            ) from None
        took_s = time.monotonic() - began
        left = len(processes.marked(self.tag))
        if left:
            raise Failed(f"{self.name} ended and left {left} programs behind")
        self.process = None
        return took_s

    def log_end(self, lines: int = 10) -> str:
        """The last lines of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def log_files(self, name: str) -> list[Path]:
        """The files with what one program printed on its standard output, oldest first."""
        raise Failed(f"{self.name} captures nothing")

    def program(self, app: App, name: str) -> list[str]:
        """The command line of a program that is kept running under that name."""
        path = programs.compiled(programs.PROGRAMS / f"{app.program}.c")
        return [str(path), f"{name}@{self.tag}", str(self.stamps.path), *app.mode]

    def is_program(self, pid: int) -> bool:
        """Whether a process is one of the programs."""
        words = processes.arguments(pid)
        return len(words) > 1 and words[1].endswith(f"@{self.tag}")

    def end_all(self) -> None:
        """Kill the manager and then its programs, as far as they are left."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        for pid in processes.marked(self.tag):
            processes.send(pid, signal.SIGKILL, self.is_program)

    def close(self) -> None:
        """Kill what is left. The folder stays until `remove_folders`, but for captured output."""
        self.end_all()
        self.stamps.path.unlink(missing_ok=True)
        self.stamps.reports.unlink(missing_ok=True)
        if any(app.is_captured for app in self.apps):
            # Few files and much in them: nobody shall pay for writing that to the disk.
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            _folders.append(self.folder)

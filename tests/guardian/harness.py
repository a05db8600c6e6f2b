"""A real guardian under test, with the test itself in the place of the daemon's will.

The guardian starts `tests/programs/stub_daemon.py` as its daemon; each life of
the stub connects to the test, which reads and says what it likes.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
GUARDIAN = ROOT / "droned" / "guardian" / "__main__.py"
STUB = ROOT / "tests" / "programs" / "stub_daemon.py"
LINKED = ROOT / "tests" / "programs" / "link_daemon.py"
WITHIN_S = 10.0

Message = dict[str, Any]


def until(what: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """The first true value of `what()`; AssertionError when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def launch(*argv: str, **changes: Any) -> Message:
    """A launch of `argv` with everything else left out."""
    return {
        "argv": list(argv),
        "env": {"PATH": os.environ["PATH"]},
        "directory": None,
        "user": None,
        "group": None,
        "groups": None,
        "umask": None,
        "limits": {},
        "nice": None,
        "oom_score_adj": None,
        "no_new_privs": False,
        "stdout": "/dev/null",
        "stderr": "/dev/null",
        **changes,
    }


class Stub:
    """One life of the stub daemon."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._sock.settimeout(WITHIN_S)
        self._rest = b""
        self.heard: list[Message] = []
        who = self._line()
        self.pid: int = who["pid"]
        self.env: dict[str, str] = who["env"]

    def _line(self) -> Message:
        while b"\n" not in self._rest:
            chunk = self._sock.recv(1 << 20)
            if not chunk:
                raise EOFError("the stub is gone")
            self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        message: Message = json.loads(line)
        return message

    def tell(self, **order: Any) -> None:
        self._sock.sendall(json.dumps(order).encode() + b"\n")

    def send(self, kind: str, **fields: Any) -> None:
        """Have the stub send a message to the guardian."""
        self.tell(send={"type": kind, **fields})

    def send_all(self, messages: Sequence[Message]) -> None:
        self._sock.sendall(b"".join(json.dumps({"send": message}).encode() + b"\n" for message in messages))

    def spawn(self, instance: str, run: int, launch: Message) -> None:
        self.send("spawn", instance=instance, run=run, launch=launch)

    def expect(self, kind: str, within_s: float = WITHIN_S, **fields: Any) -> Message:
        """The first message heard of this type with these fields; it is taken out of `heard`."""
        return self.expect_any(kind, within_s=within_s, **fields)

    def expect_any(self, *kinds: str, within_s: float = WITHIN_S, **fields: Any) -> Message:
        """The same for any of these types."""
        deadline = time.monotonic() + within_s
        looked_at = 0
        while True:
            for message in self.heard[looked_at:]:
                if message["type"] in kinds and all(message.get(key) == fields[key] for key in fields):
                    self.heard.remove(message)
                    return message
            looked_at = len(self.heard)
            self._sock.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                self.heard.append(self._line())
            except (TimeoutError, EOFError) as error:
                raise AssertionError(f"no {kinds} {fields}; heard {self.heard}") from error

    def expect_all(self, kind: str, count: int, within_s: float = 30.0) -> list[Message]:
        return [self.expect(kind, within_s) for _ in range(count)]

    def table(self) -> list[Message]:
        """The whole table, after which `heard` is empty of it."""
        rows: list[Message] = []
        while True:
            part = self.expect("table")
            rows += part["rows"]
            if part["last"]:
                return rows

    def run(self, instance: str, run: int, order: Message) -> Message:
        """Start a run and wait until its program is executed."""
        self.spawn(instance, run, order)
        return self.expect("spawned", instance=instance, run=run)

    def exit(self, code: int = 0) -> None:
        self.tell(do="exit", code=code)

    def close(self) -> None:
        self._sock.close()


class Guarded:
    """A guardian on a state folder, with helpers to take it apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / "test.sock"))
        self._listener.listen(64)
        self.stubs: list[Stub] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.guardian_pid = 0
        self.log = folder / "log"

    def command(
        self,
        *options: str,
        stub: Sequence[str] = (),
        python: str = sys.executable,
        program: Path = STUB,
        main: Path = GUARDIAN,
        daemon: Sequence[str] = (),
    ) -> list[str]:
        """The command of a guardian, by default with the stub as its daemon."""
        guardian = [python, "-I", "-S", "-E", str(main), "--state", str(self.state)]
        usual = [python, "-I", str(program), str(self.folder / "test.sock"), *stub]
        return [*guardian, *options, "--", *(daemon or usual)]

    def installed(
        self, changes: Mapping[str, tuple[str, str]] | None = None, logs: Path | None = None
    ) -> Path:
        """The main file of a copy of the guardian with some text replaced: file name → before, after.

        `logs` is what shall be its `droned-logs`; without one it has none.
        """
        package = self.folder / "installed" / "droned"
        if logs is not None:
            (package / "logs").mkdir(parents=True)
            shutil.copy(logs, package / "logs" / "__main__.py")
        shutil.copytree(GUARDIAN.parent, package / "guardian", ignore=shutil.ignore_patterns("__pycache__"))
        (package / "__init__.py").touch()
        for name, (before, after) in (changes or {}).items():
            text = (package / "guardian" / name).read_text("utf-8")
            assert before in text
            (package / "guardian" / name).write_text(text.replace(before, after), "utf-8")
        return package / "guardian" / "__main__.py"

    def start(
        self,
        *options: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        command: Sequence[str] = (),
        stub: Sequence[str] = (),
        python: str = sys.executable,
    ) -> subprocess.Popen[bytes]:
        with open(self.log, "ab") as log:
            process = subprocess.Popen(
                [*wrapper, *(command or self.command(*options, stub=stub, python=python))],
                env={**os.environ, **(env or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        self.guardian_pid = process.pid
        return process

    def begin(self, **arguments: Any) -> Stub:
        """Start a guardian; its first daemon, which has heard welcome and table."""
        self.start(**arguments)
        return self.welcomed()

    def accept(self, within_s: float = WITHIN_S) -> Stub:
        """The next life of the daemon."""
        self._listener.settimeout(within_s)
        stub = Stub(self._listener.accept()[0])
        self.stubs.append(stub)
        return stub

    def welcomed(self, within_s: float = WITHIN_S) -> Stub:
        stub = self.accept(within_s)
        welcome = stub.expect("welcome")
        self.guardian_pid = welcome["pid"]
        stub.heard.append(welcome)
        return stub

    def signal(self, number: int) -> None:
        os.kill(self.guardian_pid, number)

    def logged(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def finish(self) -> None:
        """End the guardian, its daemons and every run that it knew; nothing may stay behind."""
        # A daemon without its guardian starts another, and the other way round: both have to go at once.
        until(self._end_all_of_ours)
        for stub in self.stubs:
            stub.close()
        for process in self.processes:
            process.kill()
            process.wait()
        pids: set[int] = set()
        folders = cgroups_of(self.state)
        for ledger in self.state.glob("guardian/ledger"):
            for line in ledger.read_bytes().splitlines():
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and "start" in entry:
                    pid, started = entry["start"][2:4]
                    if start_time(pid) == started:
                        pids.add(pid)
        for pid in pids:
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        for folder in folders:
            remove_cgroup(folder)
        self._listener.close()

    def _end_all_of_ours(self) -> bool:
        """Stop, then kill every guardian and daemon of this folder; True when there was none."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if os.fsencode(self.folder) in command and is_alive(int(process.name)):
                found.append(int(process.name))
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in found:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
        return not found


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


def state_id(state: Path) -> str:
    found = state.stat()
    return f"{found.st_ino:x}.{found.st_dev:x}"


def cgroups_of(state: Path) -> list[Path]:
    """The base folders of cgroups that belong to a state folder."""
    if not state.exists():
        return []
    name = f"droned-{state_id(state)}"
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    tops = [Path(words[4]) for words in mounts if "cgroup2" in words[words.index("-") :]]
    return [folder for top in tops for folder in (top / name, *top.glob(f"*/{name}")) if folder.is_dir()]


def remove_cgroup(folder: Path) -> None:
    """Kill what is in a cgroup and remove it with all below."""
    try:
        (folder / "cgroup.kill").write_text("1")
    except OSError:
        pass
    for below in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        _rmdir(below)
    _rmdir(folder)


def _rmdir(folder: Path) -> None:
    def gone() -> bool:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:
            return False
        return True

    until(gone)


@contextmanager
def guarded() -> Iterator[Guarded]:
    """A guardian's folder for one test. It is short, as sockets' paths have to be, and open to all users."""
    folder = Path(tempfile.mkdtemp(prefix="dg-", dir="/tmp"))
    folder.chmod(0o755)
    made = Guarded(folder)
    try:
        yield made
    finally:
        made.finish()
        shutil.rmtree(folder, ignore_errors=True)

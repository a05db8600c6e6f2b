"""A real droned for the live tests: started on a folder of its own, spoken to, and ended without a trace.

Whatever it leaves behind falls to this process, which is the subreaper meanwhile: so "no process is left"
is the kernel's word, not a search by name.
"""

import ctypes
import json
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from droned.daemon.options import run_options
from tests.faults import processes
from tests.faults.api import Api, Refused, Unanswered

ROOT = Path(__file__).resolve().parent.parent
START_S = 30.0
IS_ROOT = os.geteuid() == 0
SOCKET_MODE = 0o660 if IS_ROOT else 0o600
OURSELVES = "root" if IS_ROOT else f"{pwd.getpwuid(os.geteuid()).pw_name} (uid {os.geteuid()})"
"""How droned names who runs the tests."""
STOP_S = 30.0
NOBODY = 65534
# The tests' Python and this tree may stand in a folder of root's: nobody may read there, no more.
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)

T = TypeVar("T")


def in_tree(program: str) -> list[str]:
    """The command line of `droned` or `dronectl` from this tree under the tests' Python."""
    module = {"droned": "droned.daemon.main", "dronectl": "droned.ctl.main"}[program]
    code = f"import sys; sys.argv[0] = {program!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-c", code]


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """Ours without anything of droned's or pytest's in it, with this tree to import from, and `changes`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DRONED_", "PYTEST"))}
    wanted: dict[str, str | None] = {**kept, "PYTHONPATH": str(ROOT), **(changes or {})}
    return {name: value for name, value in wanted.items() if value is not None}


def until(
    found: Callable[[], T | None], within_s: float = 15.0, *, what: str = "", every_s: float = 0.02
) -> T:
    """The first true answer of `found`; an AssertionError that names `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        answer = found()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what or found}"
        time.sleep(every_s)


class Droned:
    """A droned of a test: `folder` holds its configuration, state, socket and log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config_path = folder / "droned.yaml"
        self.state_dir = folder / "state"
        self.socket = folder / "droned.sock"
        self.log_path = folder / "droned.log"
        self.api = Api(socket=str(self.socket))
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, text: str) -> None:
        """Write the configuration by one rename; a running droned takes it with `reload`."""
        fresh = self.config_path.with_suffix(".new")
        fresh.write_text(text, "utf-8")
        fresh.rename(self.config_path)

    def start(
        self,
        *options: str,
        environ: Mapping[str, str | None] | None = None,
        wait: bool = True,
        under: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """`droned run` in the foreground, as an init would; in control on return unless `wait` is off.

        `under` is the command that executes it, such as `prlimit`.
        """
        places = ("-c", str(self.config_path), "--state", str(self.state_dir), "--socket", str(self.socket))
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*under, *in_tree("droned"), "run", *places, *options],
                cwd=self.folder,
                env=environment(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.in_control()
        return self.process

    def start_over(self, program: str, *arguments: str) -> None:
        """A guardian as `droned run` makes it, with `program` of tests/programs as its daemon; in control."""
        places = ["-c", str(self.config_path), "--state", str(self.state_dir), "--socket", str(self.socket)]
        given = run_options(places, os.getuid(), {}).for_daemon()
        daemon = [sys.executable, "-I", str(ROOT / "tests" / "programs" / program), str(ROOT), *arguments]
        guardian = [sys.executable, "-I", "-S", "-E", str(ROOT / "droned" / "guardian" / "__main__.py")]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*guardian, "--state", str(self.state_dir), "--", *daemon, *given],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.in_control()

    def in_control(self, *, other_than: int | None = None) -> dict[str, Any]:
        """The daemon's status, once a daemon (not the pid `other_than`) answers."""

        def answer() -> dict[str, Any] | None:
            assert self.process is None or self.process.poll() in (None, -signal.SIGKILL), self.log()
            try:
                found = self.api.daemon()
            except (Unanswered, Refused):
                return None
            return None if found["pid"] == other_than else found

        return until(answer, START_S, what=f"a daemon in control; its log:\n{self.log()}")

    @property
    def daemon_pid(self) -> int:
        return int(self.in_control()["pid"])

    @property
    def guardian_pid(self) -> int:
        return int(self.in_control()["guardian_pid"])

    def log(self) -> str:
        """What guardian and daemon printed."""
        return self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""

    def ctl(self, *arguments: str, timeout_s: float = 90.0) -> subprocess.CompletedProcess[str]:
        """What `dronectl` with these arguments did, without a terminal."""
        return subprocess.run(
            [*in_tree("dronectl"), *arguments],
            env=environment({"DRONED_HOST": f"unix://{self.socket}"}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=timeout_s,
            check=False,
        )

    def done(self, *arguments: str) -> str:
        """What `dronectl` printed, having said that it succeeded."""
        told = self.ctl(*arguments)
        assert told.returncode == 0, f"dronectl {arguments}: {told.returncode}\n{told.stdout}{told.stderr}"
        return told.stdout

    def rows(self) -> dict[str, dict[str, Any]]:
        """Each instance's row by its name."""
        return self.api.instances()

    def until_state(self, *states: str, of: Sequence[str] = (), within_s: float = 20.0) -> dict[str, Any]:
        """The rows, once the instances `of` (all by default, and at least one) are in one of `states`."""

        def there() -> dict[str, Any] | None:
            rows = self.rows()
            wanted = of or tuple(rows)
            return rows if wanted and all(rows.get(n, {}).get("state") in states for n in wanted) else None

        return until(there, within_s, what=f"{of or 'all'} {' or '.join(states)}; log:\n{self.log()}")

    def reload(self) -> None:
        """Have the configuration read again, by the guardian's HUP."""
        os.kill(self.guardian_pid, signal.SIGHUP)

    def stop(self) -> int:
        """TERM to the guardian that was started: an ordered stop; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_S)


@contextmanager
def keeping_orphans() -> Iterator[Callable[[], dict[int, str]]]:
    """Makes this process the subreaper; the result tells the new living descendants, pid → command line."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    set_child_subreaper = 36
    before = {(each.pid, each.start) for each in descendants()}

    def left() -> dict[int, str]:
        fresh = [each for each in descendants() if (each.pid, each.start) not in before]
        return {each.pid: " ".join(processes.arguments(each.pid)) for each in fresh if each.state != "Z"}

    assert prctl(set_child_subreaper, 1, 0, 0, 0) == 0
    try:
        yield left
    finally:
        prctl(set_child_subreaper, 0, 0, 0, 0)
        for each in descendants():
            # Orphans that ended here; what a Popen started was waited for by its owner before.
            if each.state == "Z" and each.parent == os.getpid() and (each.pid, each.start) not in before:
                os.waitpid(each.pid, os.WNOHANG)


def descendants() -> list[processes.Stat]:
    """Every process below this one, zombies included."""
    by_parent: dict[int, list[processes.Stat]] = {}
    for each in map(processes.stat, processes.pids()):
        if each is not None:
            by_parent.setdefault(each.parent, []).append(each)
    found: list[processes.Stat] = []
    parents = [os.getpid()]
    while parents:
        below = by_parent.get(parents.pop(), [])
        found += below
        parents += [each.pid for each in below]
    return found


@contextmanager
def droned_in(folder: Path) -> Iterator[Droned]:
    """A droned to be configured and started in `folder`; stopped in the end, when nothing may be left."""
    droned = Droned(folder)
    with keeping_orphans() as left:
        try:
            yield droned
            ending = droned.process is not None and droned.process.poll() is None
            if ending:
                droned.stop()
            elif left():
                # The guardian that we started is gone; whoever took its place is asked.
                os.kill(droned.guardian_pid, signal.SIGTERM)
            until(lambda: not left(), STOP_S, what="nothing is left")
        finally:
            behind = left()
            for pid in behind:
                os.kill(pid, signal.SIGKILL)
            until(lambda: not left(), STOP_S, what="nothing is left after KILL")
            if droned.process is not None:
                droned.process.wait(STOP_S)
        assert not behind, f"left behind: {json.dumps(behind)}\n{droned.log()}"

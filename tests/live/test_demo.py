"""`droned demo`: found without options, hard to kill, and gone without a trace."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import processes
from tests.faults.api import Api, Refused, Unanswered
from tests.running import AS_NOBODY, IS_ROOT, NOBODY, environment, in_tree, keeping_orphans, until

pytestmark = pytest.mark.live


class RunningDemo:
    """A demo whose home is `folder`, run as `uid`."""

    def __init__(self, folder: Path, uid: int) -> None:
        # Root's demo would use the host's folders; DRONED_STATE moves all of it.
        places = {"DRONED_STATE": str(folder)} if uid == 0 else {"HOME": str(folder)}
        self.environ = environment({**places, "XDG_RUNTIME_DIR": None, "XDG_STATE_HOME": None})
        self.prefix = AS_NOBODY if IS_ROOT and uid != 0 else ()
        self.folder = folder
        self.socket = folder / ("demo.sock" if uid == 0 else ".local/state/droned/run/demo.sock")
        self.log = folder / "out"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.prefix, *in_tree("droned"), "demo"],
                env=self.environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def call(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What `droned` or `dronectl` says to the same user in the same environment."""
        argv = [*self.prefix, *in_tree(program), *arguments]
        return subprocess.run(
            argv,
            env=self.environ,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def rows(self) -> dict[str, dict[str, Any]]:
        """The instances' rows; empty while nobody answers."""
        try:
            return Api(socket=str(self.socket)).instances()
        except (Unanswered, Refused):
            return {}

    def steady(self) -> dict[str, int]:
        """The pids of the instances that do not fail by themselves, once all of them run."""
        names = ("web/0", "web/1", "worker/0")

        def running() -> dict[str, int] | None:
            rows = self.rows()
            if all(rows.get(name, {}).get("state") == "running" for name in names):
                return {name: rows[name]["pid"] for name in names}
            return None

        return until(running, 40, what=f"the demo runs:\n{self.log.read_text()}")

    def daemon(self) -> dict[str, Any]:
        """The daemon's status, once one is in control."""

        def answer() -> dict[str, Any] | None:
            try:
                return Api(socket=str(self.socket)).daemon()
            except (Unanswered, Refused):
                return None

        return until(answer, 40, what=f"a daemon in control:\n{self.log.read_text()}")


@pytest.fixture(params=[0, NOBODY], ids=["root", "nobody"])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDemo]:
    if request.param == 0 and not IS_ROOT:
        pytest.skip("is for root")
    folder = tmp_path_factory.mktemp("d")
    if IS_ROOT:
        os.chown(folder, request.param, request.param)
        for parent in (folder, folder.parent, folder.parent.parent):
            parent.chmod(parent.stat().st_mode | 0o711)
    with keeping_orphans() as left:
        made = RunningDemo(folder, request.param)
        try:
            yield made
            if made.process.poll() is None:
                made.process.send_signal(signal.SIGINT)
            assert made.process.wait(40) == 0, made.log.read_text()
            assert not left()
            assert "no process and no file is left" in made.log.read_text()
            assert [path for path in folder.rglob("*") if not path.is_dir()] == [made.log]
        finally:
            behind = left()
            for pid in behind:
                os.kill(pid, signal.SIGKILL)
            made.process.wait(10)


def test_the_demo_is_found_without_options_and_a_second_one_is_refused(demo: RunningDemo) -> None:
    demo.steady()
    told = demo.call("dronectl", "status")
    assert told.returncode == 0, told.stderr
    assert [line.split()[0] for line in told.stdout.splitlines()[1:5]] == [
        "web/0",
        "web/1",
        "worker/0",
        "flaky/0",
    ]
    second = demo.call("droned", "demo")
    assert second.returncode == 75
    assert second.stderr.startswith("droned: cannot start a second demo: one runs already (guardian ")
    assert second.stderr.count("\n") == 1


def test_the_demo_survives_what_its_text_invites_to(demo: RunningDemo) -> None:
    before = demo.steady()
    first = demo.daemon()
    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: demo.daemon()["pid"] != first["pid"], 40, what="a new daemon")
    assert demo.steady() == before
    os.kill(first["guardian_pid"], signal.SIGKILL)
    until(
        lambda: demo.daemon()["guardian_pid"] not in (None, first["guardian_pid"]), 40, what="a new guardian"
    )
    assert demo.steady() == before
    now = demo.daemon()
    for pid in (now["guardian_pid"], now["pid"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: demo.daemon()["pid"] not in (now["pid"], first["pid"]), 40, what="both again")
    assert demo.steady() == before
    assert all(map(processes.is_alive, before.values()))


def test_the_demo_ends_well_when_its_first_guardian_was_killed(demo: RunningDemo) -> None:
    """The fixture interrupts it: status 0 and its last word are those of any other end."""
    demo.steady()
    first = demo.daemon()["guardian_pid"]
    os.kill(first, signal.SIGKILL)
    until(lambda: demo.daemon()["guardian_pid"] not in (None, first), 40, what="a new guardian")

"""droned as somebody who is not root, and without what the kernel may lack."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import processes
from tests.faults.api import Api, Refused, Unanswered
from tests.running import IS_ROOT, ROOT, Droned, environment, in_tree, keeping_orphans, until

pytestmark = pytest.mark.live

NOBODY = 65534
APPS = """\
version: 1
defaults: {start: {grace: 100ms}, restart: {policy: always, delay: 0s}}
apps:
  web: {command: [sleep, "1000"], instances: 2}
  tree: {command: [sh, -c, "setsid sh -c 'sleep 1000 & sleep 1000' & exec sleep 1000"]}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    if not IS_ROOT:
        pytest.skip("becomes other users")
    folder = Path(tempfile.mkdtemp(prefix="droned-test-"))
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def behind_closed_folders() -> dict[Path, Path]:
    """Where Python and this tree lie, if in a folder of root's alone: the place, and that folder."""
    places = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), ROOT}
    found = {}
    for place in sorted(places):
        closed = [each for each in reversed(place.parents) if not each.stat().st_mode & stat.S_IXOTH]
        if closed and places.isdisjoint(place.parents):
            found[place] = closed[0]
    return found


class Nobody:
    """What a user without rights does in a home of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        (home / "run").mkdir(mode=0o700)
        os.chown(home / "run", NOBODY, NOBODY)
        self.environment = environment(
            {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "PYTHONDONTWRITEBYTECODE": "1"}
            | {f"XDG_{each}_HOME": None for each in ("CONFIG", "STATE", "DATA", "CACHE")}
        )
        self.config = home / ".config" / "droned" / "droned.yaml"
        self.api = Api(socket=str(home / "run" / "droned" / "droned.sock"))

    def configure(self, text: str) -> None:
        for folder in (self.config.parent.parent, self.config.parent):
            folder.mkdir(exist_ok=True)
            os.chown(folder, NOBODY, NOBODY)
        self.config.write_text(text)
        os.chown(self.config, NOBODY, NOBODY)

    def _as(self, uid: int) -> list[str]:
        """What executes a command line as this user, where the tests' Python can be reached by everybody."""
        hidden = behind_closed_folders()
        asides = {inner: self.home / f"aside{number}" for number, inner in enumerate(hidden)}
        for aside in asides.values():
            aside.mkdir(exist_ok=True)
        script = [
            *(f"mount --bind {inner} {aside}" for inner, aside in asides.items()),
            *(f"mount -t tmpfs -o mode=755 none {closed}" for closed in sorted(set(hidden.values()))),
            *(f"mkdir -p {inner} && mount --bind {aside} {inner}" for inner, aside in asides.items()),
            f'exec setpriv --reuid {uid} --regid {uid} --clear-groups "$@"',
        ]
        return ["unshare", "-m", "--propagation", "private", "sh", "-e", "-c", "\n".join(script), "sh"]

    def begin(self, program: str, *words: str, uid: int = NOBODY) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self._as(uid), *in_tree(program), *words],
            env=self.environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ctl(self, *words: str, uid: int = NOBODY) -> tuple[int, str]:
        with self.begin("dronectl", *words, uid=uid) as process:
            told, _ = process.communicate(timeout=60)
        return process.returncode, told


def test_a_user_without_rights_has_all_of_it_in_places_of_their_own(home: Path) -> None:
    nobody = Nobody(home)
    nobody.configure(APPS)
    with keeping_orphans() as left:
        process = nobody.begin("droned", "run")
        try:

            def running() -> bool:
                try:
                    rows = nobody.api.instances()
                except (Unanswered, Refused):
                    assert process.poll() is None, process.communicate()
                    return False
                return len(rows) == 3 and all(row["state"] == "running" for row in rows.values())

            until(running, 30.0, what="three run")
            assert (home / ".local" / "state" / "droned").is_dir()
            status, told = nobody.ctl("status")
            assert status == 0
            assert "web/0" in told
            rows = nobody.api.instances()
            assert {os.stat(f"/proc/{row['pid']}").st_uid for row in rows.values()} == {NOBODY}
            assert nobody.ctl("restart", "web/0")[0] == 0
            os.kill(rows["web/1"]["pid"], signal.SIGKILL)
            until(lambda: nobody.api.instances()["web/1"]["pid"] not in (None, rows["web/1"]["pid"]))
            # Another user is not let in; root is.
            other, told = nobody.ctl("status", uid=12345)
            assert other in (5, 6)
            assert "Traceback" not in told
            assert nobody.ctl("status", uid=0)[0] in (0, 5)
            # What only root can do fails with a word, not with a fault.
            nobody.configure(APPS + "  rich: {command: [sleep, '9'], user: root}\n")
            assert nobody.ctl("daemon", "reload")[0] == 0
            until(lambda: "rich/0" in {each["subject"] for each in nobody.api.get("/issues")["issues"]})
            daemon = nobody.api.daemon()["pid"]
            os.kill(daemon, signal.SIGKILL)
            until(lambda: running_as(nobody, other_than=daemon), 30.0, what="another daemon")
            assert nobody.ctl("stop", "tree")[0] == 0
            assert nobody.ctl("daemon", "shutdown")[0] == 0
            assert process.wait(30) == 0
        finally:
            if process.poll() is None:
                process.terminate()
            told, _ = process.communicate(timeout=30)
            until(lambda: not left(), what=f"nothing is left: {left()}")
    assert "Traceback" not in told


def running_as(nobody: Nobody, *, other_than: int) -> bool:
    try:
        return bool(nobody.api.daemon()["pid"] != other_than)
    except (Unanswered, Refused):
        return False


def test_a_file_that_may_not_be_read_is_refused_in_one_line(home: Path) -> None:
    nobody = Nobody(home)
    nobody.configure(APPS)
    os.chown(nobody.config, 0, 0)
    nobody.config.chmod(0o600)
    with nobody.begin("droned", "run") as process:
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 78
    assert told.count("\n") == 1
    assert f"{nobody.config}: cannot read it: " in told
    assert "ermission" in told


def test_a_state_folder_that_may_not_be_written_is_refused_in_one_line(home: Path) -> None:
    nobody = Nobody(home)
    nobody.configure(APPS)
    (home / "rooted").mkdir(mode=0o755)
    with nobody.begin("droned", "run", "--state", str(home / "rooted")) as process:
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 78
    assert told.count("\n") == 1
    assert f"cannot use the state folder {home}/rooted" in told


def test_without_cgroups_pidfds_and_subreaper_it_does_its_work(droned: Droned) -> None:
    droned.configure(APPS)
    droned.start(environ={"DRONED_WITHOUT": "cgroup,pidfd,posix_spawn,subreaper"})
    names = ("web/0", "web/1", "tree/0")
    before = droned.until_state("running", of=names)
    os.kill(before["web/0"]["pid"], signal.SIGKILL)
    until(lambda: droned.rows()["web/0"]["pid"] not in (None, before["web/0"]["pid"]), what="web/0 is back")
    daemon = droned.daemon_pid
    os.kill(daemon, signal.SIGKILL)
    droned.in_control(other_than=daemon)
    rows = droned.until_state("running", of=names)
    assert rows["web/1"]["pid"] == before["web/1"]["pid"]
    token = [pid for pid in processes.pids() if processes.environment_has(pid, "DRONED_INSTANCE=tree/0")]
    mine = [pid for pid in token if processes.environment_has(pid, "DRONED_RUN=")]
    droned.done("stop", "tree")
    assert not processes.is_alive(before["tree/0"]["pid"])
    assert mine
    assert droned.stop() == 0

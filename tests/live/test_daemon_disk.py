"""A full disk and a damaged journal: apps go on, what cannot be kept is refused, nothing is hidden."""

import ctypes
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.faults import processes
from tests.running import IS_ROOT, Droned, until

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}, restart: {policy: always, delay: 0s, limit: never}}
droned: {start_budget: off}
apps:
  web: {command: [sleep, "1000"], instances: 3}
  quick: {command: [sleep, "0.2"]}
  many: {command: [sleep, "1000"], instances: 60}
"""
SMALL = """\
version: 1
defaults: {start: {grace: 100ms}}
apps:
  web: {command: [sleep, "1000"], instances: 2}
  other: {command: [sleep, "1000"]}
"""
SIZE_BYTES = 24 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def mount(folder: Path) -> None:
    assert _libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, b"size=%d" % SIZE_BYTES) == 0


@pytest.fixture
def on_small_disk(droned: Droned) -> Iterator[Droned]:
    """A droned whose state folder is a file system of its own."""
    if not IS_ROOT:
        pytest.skip("mounts")
    droned.state_dir.mkdir()
    mount(droned.state_dir)
    droned.configure(APPS)
    try:
        yield droned
        if droned.process is not None and droned.process.poll() is None:
            droned.stop()
    finally:
        lazily = 2
        _libc.umount2(os.fsencode(droned.state_dir), lazily)


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size_bytes in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size_bytes)
            except OSError:
                continue
    return path


def use_up(droned: Droned) -> None:
    """Have records written until the space that the journal holds in reserve is gone too."""
    arguments = {"signal": "CONT", "to": "main"}

    def is_written(number: int) -> bool:
        receipt = droned.api.order("kill", ("many",), key=f"k{number}", arguments=arguments)
        return bool(receipt["durable"])

    with ThreadPoolExecutor(6) as pool:
        for first in range(0, 2000, 30):
            if not all(pool.map(is_written, range(first, first + 30))):
                return
    raise AssertionError("the journal still writes")


def degraded(droned: Droned) -> list[str]:
    found: list[str] = droned.api.daemon()["degraded"]
    return found


def kinds(droned: Droned) -> set[str]:
    return {each["kind"] for each in droned.api.get("/issues")["issues"]}


def pids(droned: Droned) -> dict[str, int]:
    return {key: row["pid"] for key, row in droned.rows().items() if key.startswith("web")}


def test_on_a_full_disk_apps_go_on_and_only_what_must_be_kept_is_refused(on_small_disk: Droned) -> None:
    droned = on_small_disk
    droned.start()
    droned.until_state("running", of=("web/0", "web/1", "web/2"))
    before = pids(droned)
    ballast = fill(droned.state_dir)
    use_up(droned)
    assert degraded(droned) == ["journal"]
    assert kinds(droned) == {"journal-cannot-write"}
    assert pids(droned) == before
    # What is wanted less works, and says what it is worth.
    stopped = droned.ctl("stop", "web/0")
    assert stopped.returncode == 0, stopped.stderr
    assert "not on disk" in stopped.stderr
    answer = json.loads(droned.done("kill", "-s", "CONT", "web/1", "-o", "json"))
    assert answer["action"]["durable"] is False
    assert droned.rows()["web/0"]["state"] == "stopped"
    # What has to be kept is refused.
    for words in (("start", "web/0"), ("restart", "web/1"), ("scale", "web=5"), ("disable", "web/1")):
        told = droned.ctl(*words)
        assert told.returncode == 1, words
        assert told.stderr.startswith("error: cannot "), told.stderr
    # Crashes are still made good.
    os.kill(before["web/2"], signal.SIGKILL)
    until(lambda: droned.rows()["web/2"]["pid"] not in (None, before["web/2"]), what="web/2 is back")
    quick = droned.rows()["quick/0"]["run"]
    until(lambda: droned.rows()["quick/0"]["run"] > quick + 3, what="the busy app goes on")
    now = pids(droned)
    ballast.unlink()
    until(lambda: degraded(droned) == [], 5.0, what="it has recovered by itself")
    assert kinds(droned) == set()
    assert pids(droned) == now
    droned.done("start", "web/0")
    # All of it is on disk: the daemon of after a kill knows it.
    run = droned.rows()["web/2"]["run"]
    daemon = droned.daemon_pid
    os.kill(daemon, signal.SIGKILL)
    droned.in_control(other_than=daemon)
    rows = droned.rows()
    assert (rows["web/0"]["wanted"], rows["web/2"]["run"]) == ("up", run)
    assert droned.api.events(type="journal-error")
    assert droned.api.events(type="journal-recovered")


def test_a_daemon_that_starts_on_a_full_disk_is_in_control(on_small_disk: Droned) -> None:
    droned = on_small_disk
    droned.start()
    droned.until_state("running", of=("web/0", "web/1", "web/2"))
    before = pids(droned)
    daemon = droned.daemon_pid
    ballast = fill(droned.state_dir)
    os.kill(daemon, signal.SIGKILL)
    droned.in_control(other_than=daemon)
    assert pids(droned) == before
    droned.done("stop", "web/0")
    ballast.unlink()
    until(lambda: degraded(droned) == [], 5.0, what="it has recovered by itself")
    droned.done("start", "web/0")


def test_what_is_new_in_the_configuration_can_be_stopped_while_the_disk_is_full(
    on_small_disk: Droned,
) -> None:
    """Its start waits for the disk, since it has to be remembered; no stop does, nor does the end of all."""
    droned = on_small_disk
    droned.start()
    droned.until_state("running", of=("web/0", "web/1", "web/2"))
    daemon = droned.daemon_pid
    ballast = fill(droned.state_dir)
    use_up(droned)
    late = '  late: {command: [sleep, "1000"]}\n  later: {command: [sleep, "1000"]}\n'
    droned.configure(APPS.replace("instances: 3", "instances: 2") + late)
    os.kill(daemon, signal.SIGKILL)
    droned.in_control(other_than=daemon)
    until(lambda: degraded(droned) == ["journal"], what="it has seen that the disk is full")
    rows = droned.rows()
    assert (rows["late/0"]["state"], rows["late/0"]["pid"]) == ("starting", None)
    assert (rows["web/2"]["state"], processes.is_alive(rows["web/2"]["pid"])) == ("stopping", True)
    droned.done("stop", "late", "web/2", "web/0")
    rows = droned.rows()
    assert (rows["late/0"]["state"], rows["web/0"]["state"]) == ("stopped", "stopped")
    assert "web/2" not in rows
    assert rows["later/0"]["state"] == "starting"
    assert droned.stop() == 0
    ballast.unlink()


def killed(droned: Droned) -> None:
    """Guardian and daemon together, so that neither helps the other."""
    assert droned.process is not None
    both = (droned.guardian_pid, droned.daemon_pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in both:
            os.kill(pid, number)
    droned.process.wait()
    until(lambda: not any(map(processes.is_alive, both)), what="both are dead")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x20
    path.write_bytes(content)


def used_bytes(path: Path) -> int:
    """The length without the reserved zeros at the end."""
    return len(path.read_bytes().rstrip(b"\0"))


@pytest.mark.parametrize("where", ["in the middle", "in the last record", "in the head of the file"])
def test_a_damaged_journal_is_told_and_set_aside_and_apps_are_taken_over(droned: Droned, where: str) -> None:
    droned.configure(SMALL)
    droned.start()
    droned.until_state("running", of=("web/0", "web/1", "other/0"))
    for word in ("stop", "start", "stop"):
        droned.done(word, "web/1")
    droned.done("kill", "-s", "CONT", "web/0")  # the last record: nothing hangs on it
    before: dict[str, Any] = droned.rows()
    killed(droned)
    (segment,) = (droned.state_dir / "journal").glob("*.seg")
    end = used_bytes(segment)
    flip(segment, {"in the middle": end // 2, "in the last record": end - 20}.get(where, 5))
    droned.start()
    after = droned.rows()
    assert {key: row["pid"] for key, row in after.items()} == {key: row["pid"] for key, row in before.items()}
    assert "journal-damaged" in kinds(droned), droned.log()
    aside = [path for path in (droned.state_dir / "journal").rglob("*") if "damaged" in path.as_posix()]
    assert aside, list((droned.state_dir / "journal").iterdir())
    assert "Traceback" not in droned.log()
    droned.done("restart", "web/0")

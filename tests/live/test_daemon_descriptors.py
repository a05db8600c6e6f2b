"""A low limit on descriptors: the daemon keeps enough of them for its sockets and its journal."""

import os
import signal

import pytest

from tests.faults import processes
from tests.running import Droned, until

pytestmark = pytest.mark.live

APPS = """\
version: 1
defaults: {start: {grace: 100ms}, restart: {policy: always, delay: 0s}, logs: {direct: true}}
apps:
  web: {command: [sleep, "1000"], instances: 90}
"""
LIMIT = ("prlimit", "--nofile=256:256")
ROOM = 56


def pidfds(pid: int) -> int:
    """How many pidfds a process holds."""
    found = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += "pidfd" in os.readlink(f"/proc/{pid}/fd/{number}")
        except OSError:
            pass
    return found


def test_with_few_descriptors_everything_works_and_the_lack_is_told_once(droned: Droned) -> None:
    droned.configure(APPS)
    droned.start(under=LIMIT)
    before = droned.until_state("running", within_s=40.0)
    assert pidfds(droned.daemon_pid) == ROOM
    (issue,) = droned.api.get("/issues")["issues"]
    assert issue["kind"] == "descriptors"
    assert f"of {ROOM} processes only" in issue["text"]
    assert droned.log().count("proof is held of") == 1
    # Whoever could not be held gets the place of one that ended.
    droned.done("stop", *(f"web/{label}" for label in range(60)))
    assert pidfds(droned.daemon_pid) == 30
    droned.done("start", "web")
    assert pidfds(droned.daemon_pid) == ROOM
    # A guardian in the place of a lost one is in control of all, held or not.
    rows = droned.rows()
    guardian = droned.guardian_pid
    os.kill(guardian, signal.SIGKILL)
    until(lambda: droned.guardian_pid != guardian, what="another guardian")
    assert {key: row["pid"] for key, row in droned.rows().items()} == {
        key: row["pid"] for key, row in rows.items()
    }
    assert rows["web/89"]["pid"] == before["web/89"]["pid"]
    droned.done("restart", "web/0", "web/59", "web/89")
    # Started with a higher limit it has room for all.
    guardian = droned.guardian_pid
    os.kill(guardian, signal.SIGTERM)
    until(lambda: not processes.is_alive(guardian), what="all has ended")
    droned.start()
    droned.until_state("running", within_s=40.0)
    assert pidfds(droned.daemon_pid) == 90
    assert droned.api.get("/issues")["issues"] == []

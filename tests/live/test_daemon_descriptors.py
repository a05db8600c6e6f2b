"""A low limit on descriptors: the daemon keeps enough of them for its sockets and its journal."""

import itertools
import os
import re
import signal
from pathlib import Path

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
CAPTURED = """\
version: 1
defaults: {{start: {{grace: 100ms}}, restart: {{policy: always, delay: 0s}}, logs: {{format: raw}}}}
apps:
  web:
    command: [sh, -c, 'i=0; while :; do echo "line $i"; echo "word $i" >&2; i=$((i+1)); sleep 1; done']
    instances: {}
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


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def logs_pid(droned: Droned) -> int:
    """The `droned-logs` that holds the lock of its folder."""
    lock = (droned.state_dir / "logs" / ".lock").stat().st_ino
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{lock}"):
            return int(words[4])
    return 0


def last_number(droned: Droned, label: int, stream: str, word: str) -> int:
    """The last number in the file of a stream, where runs begin again at 0 and none is missing."""
    path = droned.state_dir / "logs" / "web" / str(label) / f"{stream}.log"
    numbers = [int(number) for number in re.findall(rf"^{word} (\d+)$", path.read_text(), re.MULTILINE)]
    for before, after in itertools.pairwise(numbers):
        assert after in (0, before + 1), (label, stream, numbers)
    return numbers[-1]


def all_write(droned: Droned, count: int) -> None:
    paths = {droned.state_dir / f"logs/web/{label}/stderr.log" for label in range(count)}
    until(lambda: all(path.exists() for path in paths), what="the first lines of all")


def all_lines_come(droned: Droned, count: int) -> None:
    """What every instance writes from now on comes into its files, and nothing is missing before it."""
    streams = [(label, *pair) for label in range(count) for pair in (("stdout", "line"), ("stderr", "word"))]
    before = {stream: last_number(droned, *stream) for stream in streams}
    late = set(streams)

    def came() -> bool:
        late.difference_update([each for each in late if last_number(droned, *each) > before[each]])
        return not late

    until(came, 20.0, what=f"more of {sorted(late)}", every_s=0.5)


def lose_guardian(droned: Droned) -> None:
    guardian = droned.guardian_pid
    os.kill(guardian, signal.SIGKILL)
    until(lambda: droned.guardian_pid != guardian, what="another guardian")


def obeys(droned: Droned) -> None:
    """Signals, stops and starts work."""
    droned.done("kill", "-s", "WINCH", "web/7")
    droned.done("stop", "web/0", "web/44", "web/89")
    assert droned.rows()["web/44"]["state"] == "stopped"
    droned.done("start", "web/0", "web/44", "web/89")
    droned.done("restart", "web/1", "web/88")
    droned.until_state("running")


def test_with_few_descriptors_all_is_captured_over_the_loss_of_guardian_and_logs(droned: Droned) -> None:
    droned.configure(CAPTURED.format(90))
    droned.start(under=LIMIT)
    droned.until_state("running", within_s=40.0)
    all_write(droned, 90)
    all_lines_come(droned, 90)
    obeys(droned)
    lose_guardian(droned)
    obeys(droned)
    all_lines_come(droned, 90)
    # The one that has the only copies of some is lost: they are found at the programs.
    first = logs_pid(droned)
    os.kill(first, signal.SIGKILL)
    until(lambda: logs_pid(droned) not in (0, first), what="another droned-logs")
    all_lines_come(droned, 90)
    # And both at once.
    os.kill(logs_pid(droned), signal.SIGKILL)
    lose_guardian(droned)
    all_lines_come(droned, 90)
    obeys(droned)
    assert "annot send signal" not in droned.log()


def running(droned: Droned) -> int:
    return sum(row["state"] == "running" for row in droned.rows().values())


def test_more_than_fit_are_refused_and_the_others_run_on(droned: Droned) -> None:
    droned.configure(CAPTURED.format(110))
    droned.start(under=LIMIT)
    until(lambda: "EMFILE" in str(droned.rows()), 40.0, what="refused starts")
    until(lambda: running(droned) == 96, 40.0, what="96 that run")
    until(lambda: "failed" in {row["state"] for row in droned.rows().values()}, 40.0, what="one given up")
    assert "LimitNOFILE=" in str(droned.rows())
    assert descriptors(droned.guardian_pid) <= 256 - 32
    assert descriptors(logs_pid(droned)) <= 256
    first, *others = (key for key, row in droned.rows().items() if row["state"] == "running")
    droned.done("kill", "-s", "WINCH", others[0])
    droned.done("stop", first, others[0])
    until(lambda: running(droned) == 94, what="two fewer")
    droned.done("start", first, others[0])
    assert running(droned) == 96


def test_a_low_soft_limit_is_no_lack_where_the_hard_one_is_high(droned: Droned) -> None:
    droned.configure(CAPTURED.format(100))
    droned.start(under=("prlimit", "--nofile=128:4096"))
    droned.until_state("running", within_s=40.0)
    until(
        lambda: all((droned.state_dir / f"logs/web/{n}/stderr.log").exists() for n in range(100)),
        what="files",
    )
    obeys(droned)
    lose_guardian(droned)
    obeys(droned)
    all_lines_come(droned, 100)
    assert droned.api.get("/issues")["issues"] == []

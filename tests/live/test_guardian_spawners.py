"""Launches by threads: what hangs holds up nobody, what a lost guardian had begun is found."""

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.guardian.harness import Guarded, Stub, guarded, is_alive, launch, until

pytestmark = pytest.mark.live
SLEEP = launch("/bin/sleep", "600")
LOOK = "import json, resource; print(json.dumps(resource.getrlimit(resource.RLIMIT_NOFILE)))"


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


@contextmanager
def delayed(world: Guarded, call: str, path: Path, seconds: float) -> Iterator[None]:
    """Hold every `call` for `path` made by the guardian or a child of it before it is carried out."""
    told = world.folder / "strace"
    with open(told, "wb") as log:
        tracer = subprocess.Popen(
            [
                "strace", "-f", "-p", str(world.guardian_pid), "-P", str(path), "-o", "/dev/null",
                "-e", f"trace={call}", "-e", f"inject={call}:delay_enter={int(seconds * 1_000_000)}",
            ],
            stderr=log,
        )  # fmt: skip
    try:
        until(lambda: b"attached" in told.read_bytes())
        yield
    finally:
        tracer.kill()
        tracer.wait()


def slow_program(world: Guarded) -> Path:
    path = world.folder / "slow"
    shutil.copy("/bin/sleep", path)
    return path


def running(path: Path) -> list[int]:
    """The processes that execute this program."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "exe") == str(path):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize(("call", "stage"), [("execve", "exec"), ("chdir", "directory")])
def test_a_launch_that_hangs_is_given_up_and_holds_up_nobody(world: Guarded, call: str, stage: str) -> None:
    """More of them than there are threads at first; all is over after the time of a set-up."""
    stub = world.begin()
    stub.run("first/0", 1, launch("/bin/true"))
    path = slow_program(world) if call == "execve" else world.folder / "far"
    if call == "chdir":
        path.mkdir()
    slow = launch(str(path), "600") if call == "execve" else launch("/bin/sleep", "600", directory=str(path))
    with delayed(world, call, path, 13.0):
        for number in range(3):
            stub.spawn(f"slow/{number}", 1, slow)
        began = time.monotonic()
        stub.run("quick/0", 1, launch("/bin/true"))
        assert time.monotonic() - began < 8.0
        stub.spawn("slow/0", 2, SLEEP)
        assert stub.expect("refused", instance="slow/0")["live_run"] == 1
        stub.send("signal", instance="quick/0", run=1, signal=15, to="tree")
        stub.expect("signalled", instance="quick/0")
        failed = [
            stub.expect("spawn_failed", instance=f"slow/{number}", within_s=16.0) for number in range(3)
        ]
        assert {(each["stage"], each["errno"]) for each in failed} == {
            (f"timeout at {stage}", errno.ETIMEDOUT)
        }

        def is_free() -> bool:
            for run in range(3, 100):
                stub.spawn("slow/0", run, launch("/bin/true"))
                if stub.expect_any("spawned", "refused", run=run)["type"] == "spawned":
                    return True
                time.sleep(0.2)
            return False

        assert is_free()
    assert not running(path)


def test_where_all_threads_hang_programs_are_forked(world: Guarded) -> None:
    stub = world.begin()
    stub.run("first/0", 1, launch("/bin/true"))
    path = slow_program(world)
    with delayed(world, "execve", path, 30.0):
        for number in range(20):
            stub.spawn(f"slow/{number}", 1, launch(str(path), "600"))
        stub.run("quick/0", 1, launch("/bin/true"))
        for number in range(20):
            failed = stub.expect("spawn_failed", instance=f"slow/{number}", within_s=25.0)
            assert failed["stage"] == "timeout at exec"
        stub.run("quick/1", 1, launch("/bin/true"))
    assert not running(path)


def test_a_signal_waits_for_the_launch_that_it_follows(world: Guarded) -> None:
    stub = world.begin()
    path = slow_program(world)
    stub.run("first/0", 1, launch("/bin/true"))
    with delayed(world, "execve", path, 1.0):
        stub.spawn("slow/0", 1, launch(str(path), "600"))
        stub.send("signal", instance="slow/0", run=1, signal=15, to="tree")
        stub.expect("spawned", instance="slow/0")
        assert stub.expect("signalled", instance="slow/0")["delivered"] >= 1
        assert stub.expect("ended", instance="slow/0")["status"] == signal.SIGTERM


def kill_both(world: Guarded, stub: Stub) -> None:
    os.kill(stub.pid, signal.SIGSTOP)
    for pid in (world.guardian_pid, stub.pid):
        os.kill(pid, signal.SIGKILL)


def test_a_program_that_no_guardian_lived_to_write_down_is_found(world: Guarded) -> None:
    """By its token: the ledger says only that it was meant to be."""
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    stub.run("web/1", 1, SLEEP)
    kill_both(world, stub)
    ledger = world.state / "guardian" / "ledger"
    lines = [
        line for line in ledger.read_bytes().splitlines(keepends=True) if b'"start":["web/0"' not in line
    ]
    ledger.write_bytes(b"".join(lines))
    stub = world.begin()
    rows = {row["instance"]: row for row in stub.table()}
    assert (rows["web/0"]["state"], rows["web/0"]["pid"]) == ("running", app["pid"])
    assert rows["web/0"]["start_time"] == app["start_time"]
    stub.spawn("web/0", 2, SLEEP)
    assert stub.expect("refused", instance="web/0")["live_run"] == 1
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    stub.expect("ended", instance="web/0")
    assert not is_alive(app["pid"])


@pytest.mark.parametrize("lacking", ["", "cgroup", "cgroup,subreaper"])
def test_a_program_that_was_meant_and_is_not_there_has_ended_unseen(world: Guarded, lacking: str) -> None:
    """And has left nothing: without a process there is no session, group or descendant that is its."""
    without = {"DRONED_WITHOUT": lacking}
    stub = world.begin(env=without)
    stub.run("web/0", 1, SLEEP)
    kill_both(world, stub)
    ledger = world.state / "guardian" / "ledger"
    ledger.write_bytes(ledger.read_bytes() + b'{"spawn":["gone/0",4]}\n')
    stub = world.begin(env=without)
    (row,) = (row for row in stub.table() if row["instance"] == "gone/0")
    assert (row["state"], row["seen"], row["status"], row["leftovers"]) == ("ended", False, None, 0)
    stub.spawn("gone/0", 4, SLEEP)
    stub.expect("refused", instance="gone/0")
    stub.run("gone/0", 5, SLEEP)


def test_what_a_killed_guardian_had_forked_and_not_executed_is_ended(world: Guarded) -> None:
    """Such a copy holds its lock; here it is one of ours, which is nobody's child that a guardian knows."""
    stub = world.begin()
    stub.run("web/0", 1, SLEEP)
    kill_both(world, stub)
    with open(world.state / "guardian" / "ledger", "ab") as ledger:
        ledger.write(b'{"spawn":["slow/0",1]}\n')
    with open(world.state / "lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy = os.fork()
        if copy == 0:
            os.kill(os.getpid(), signal.SIGSTOP)
            os._exit(0)
    stub = world.begin()
    assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == -signal.SIGKILL
    rows = {row["instance"]: row for row in stub.table()}
    assert (rows["slow/0"]["state"], rows["slow/0"]["seen"]) == ("ended", False)
    assert rows["web/0"]["state"] == "running"


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit of util-linux to lower a limit")
def test_apps_keep_their_limit_however_many_descriptors_the_guardian_holds(world: Guarded) -> None:
    """More adopted runs than the limit of apps: each is watched by a descriptor of its own."""
    limited = ["prlimit", "--nofile=100:4096"]
    stub = world.begin(wrapper=limited)
    apps = [stub.run(f"web/{number}", 1, SLEEP) for number in range(120)]
    kill_both(world, stub)
    stub = world.begin(wrapper=limited)
    assert all(row["state"] == "running" for row in stub.table())
    out = world.folder / "out"
    for run in range(1, 31):
        out.unlink(missing_ok=True)
        stub.spawn("look/0", run, launch(sys.executable, "-S", "-E", "-c", LOOK, stdout=str(out)))
        assert stub.expect("ended", instance="look/0", run=run)["status"] == 0
        assert json.loads(out.read_text()) == [100, 4096]
    for app in apps:
        os.kill(app["pid"], signal.SIGKILL)
    assert len(stub.expect_all("ended", len(apps))) == len(apps)


def test_who_becomes_another_user_is_started_beside_those_who_do_not(world: Guarded) -> None:
    """Both ways at once, many times: a fork of a process with threads must not hang."""
    if os.geteuid():
        pytest.skip("becomes another user")
    stub = world.begin()
    orders = [
        {
            "type": "spawn",
            "instance": f"{'forked' if number % 2 else 'spawned'}/{number}",
            "run": 1,
            "launch": launch("/bin/sh", "-c", f"exit {number % 100}", user="nobody" if number % 2 else None),
        }
        for number in range(300)
    ]
    stub.send_all(orders)
    ended = {message["instance"]: message["status"] for message in stub.expect_all("ended", 300, 60.0)}
    assert ended == {order["instance"]: (number % 100) << 8 for number, order in enumerate(orders)}

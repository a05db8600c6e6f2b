"""Where a guardian can be: PID 1 of a container, a full disk, a folder of before a reboot or an odd one."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guardian.harness import Guarded, Message, Stub, guarded, is_alive, launch, until

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.geteuid() != 0, reason="mounts and makes namespaces")]
SLEEP = launch("/bin/sleep", "600")


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


def test_as_pid_1_it_reaps_everything_and_ends_with_the_daemons_code(world: Guarded) -> None:
    namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    stub = world.begin(wrapper=namespace)
    assert stub.expect("welcome")["pid"] == 1
    world.guardian_pid = children_of(world.processes[0].pid)[0]
    stub.run("web/0", 1, launch("/bin/sh", "-c", "i=0; while [ $i -lt 50 ]; do (true &); i=$((i+1)); done"))
    stub.expect("ended")
    stub.run("web/1", 1, SLEEP)
    time.sleep(0.2)
    assert not [pid for pid in children_of(world.guardian_pid) if not is_alive(pid)]
    world.signal(signal.SIGTERM)
    assert stub.expect("shutdown")["reason"] == "SIGTERM"
    stub.send("signal", instance="web/1", run=1, signal=15, to="tree")
    stub.expect("ended", instance="web/1")
    stub.send("exit", code=42)
    stub.exit()
    assert world.processes[0].wait(10) == 42


def children_of(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def small_disk(world: Guarded) -> Iterator[Guarded]:
    """The state folder on a disk of its own that holds 16 MB."""
    world.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(world.state)], check=True)
    try:
        yield world
        world.finish()
    finally:
        subprocess.run(["umount", "-l", str(world.state)], check=True)


def fill(folder: Path) -> None:
    with open(folder / "filler", "ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError:
            pass


def test_on_a_full_disk_programs_start_and_the_reserve_remembers_them(small_disk: Guarded) -> None:
    stub = small_disk.begin()
    fill(small_disk.state)
    apps = [stub.run(f"web/{number}", 1, SLEEP) for number in range(100)]
    os.kill(stub.pid, signal.SIGSTOP)
    for pid in (small_disk.guardian_pid, stub.pid):
        os.kill(pid, signal.SIGKILL)
    stub = small_disk.begin()  # which cannot write its ledger anew, nor say who it is
    rows = stub.table()
    assert [(row["pid"], row["state"]) for row in rows] == [(app["pid"], "running") for app in apps]
    stub.run("web/100", 1, SLEEP)
    assert stub.expect("trouble")["ledger_errors"] > 0


def test_without_a_reserve_starts_go_on_and_errors_are_counted(small_disk: Guarded) -> None:
    (small_disk.state / "guardian").mkdir()
    fill(small_disk.state)
    stub = small_disk.begin()
    for number in range(10):
        stub.run(f"web/{number}", 1, SLEEP)
    time.sleep(2.5)
    stub.send("fetch", name="nothing")
    stub.expect("parked")
    assert max(m["ledger_errors"] for m in stub.heard if m["type"] == "trouble") >= 1


def test_after_a_reboot_nothing_is_adopted(world: Guarded) -> None:
    """A pid of another boot means nothing, even if a process has it and even the start time."""
    stub = world.begin(env={"DRONED_WITHOUT": "cgroup"})
    app = stub.run("web/0", 1, SLEEP)
    os.kill(stub.pid, signal.SIGSTOP)
    for pid in (world.guardian_pid, stub.pid):
        os.kill(pid, signal.SIGKILL)
    ledger = world.state / "guardian" / "ledger"
    lines = ledger.read_bytes().split(b"\n")
    lines[0] = json.dumps({**json.loads(lines[0]), "boot": "another"}).encode()
    ledger.write_bytes(b"\n".join(lines))
    stub = world.begin(env={"DRONED_WITHOUT": "cgroup"})
    (row,) = stub.table()
    assert (row["state"], row["seen"], row["adopted"]) == ("ended", False, False)
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    assert stub.expect("signalled")["delivered"] == 0
    assert is_alive(app["pid"])
    os.kill(app["pid"], signal.SIGKILL)


def test_odd_things_in_the_state_folder_are_refused_or_replaced(world: Guarded) -> None:
    """A link in the place of the lock is refused; a damaged ledger and card are made anew."""
    (world.state / "guardian").mkdir(parents=True)
    (world.state / "lock").symlink_to("/etc/passwd")
    refused = world.start()
    assert refused.wait(10) == 73
    assert "cannot use" in world.logged()
    (world.state / "lock").unlink()
    (world.state / "guardian" / "ledger").write_bytes(bytes(range(256)) * 100)
    (world.state / "guardian" / "guardian.json").write_text("[")
    stub = world.begin()
    assert stub.table() == []
    stub.run("web/0", 1, SLEEP)


def test_the_ledger_is_written_anew_when_it_is_long(world: Guarded) -> None:
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    ledger = world.state / "guardian" / "ledger"
    with open(ledger, "ab") as file:
        file.write((b'{"last":["web/9",7]}\n') * 250_000)
    until(lambda: ledger.stat().st_size < 10_000, 5.0)
    stub.run("web/1", 1, SLEEP)
    os.kill(stub.pid, signal.SIGSTOP)
    for pid in (world.guardian_pid, stub.pid):
        os.kill(pid, signal.SIGKILL)
    stub = world.begin()
    assert app["pid"] in [row["pid"] for row in stub.table()]
    assert len(stub.heard) >= 1


# --- a folder that is held


def killed_beside_a_daemon_that_hangs(world: Guarded) -> tuple[Stub, Message]:
    """A guardian is killed while its daemon hangs; the daemon, and a program of theirs."""
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    os.kill(stub.pid, signal.SIGSTOP)
    world.signal(signal.SIGKILL)
    world.processes[0].wait(10)
    return stub, app


def test_a_start_ends_a_daemon_that_hangs_without_a_guardian_and_takes_over(world: Guarded) -> None:
    """Nobody else would ever do it, and droned would not come back."""
    hung, app = killed_beside_a_daemon_that_hangs(world)
    world.start()
    stub = world.welcomed(30.0)
    assert [row["pid"] for row in stub.table()] == [app["pid"]]
    assert not is_alive(hung.pid)
    assert f"(pid {hung.pid}) hangs" in world.logged()


def test_whoever_only_has_the_lock_open_is_left_alone(world: Guarded) -> None:
    hung, _ = killed_beside_a_daemon_that_hangs(world)
    with open(world.state / "lock") as file:
        other = subprocess.Popen(["sleep", "600"], pass_fds=[file.fileno()])
    try:
        world.start()
        world.welcomed(30.0)
        assert not is_alive(hung.pid)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_guardian_that_could_not_say_who_it_is_is_not_touched(world: Guarded) -> None:
    stub = world.begin()
    first = world.guardian_pid
    (world.state / "guardian" / "guardian.json").unlink()
    assert world.start().wait(10) == 75
    assert "another droned holds it" in world.logged()
    stub.send("leave")
    stub.exit()
    assert world.start().wait(10) == 75
    assert is_alive(first)


@pytest.fixture
def manager(world: Guarded) -> Iterator[socket.socket]:
    """What a service manager hears."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(world.folder / "notify"))
        sock.settimeout(10.0)
        yield sock


def test_under_a_service_manager_a_start_waits_for_the_folder(world: Guarded, manager: socket.socket) -> None:
    """It would only be started again and again."""
    stub = world.begin()
    first = world.guardian_pid
    second = world.start(env={"NOTIFY_SOCKET": str(world.folder / "notify")})
    told = manager.recv(4096).decode()
    assert told == f"STATUS=waits: cannot use {world.state}: the droned with pid {first} holds it"
    time.sleep(1.5)
    assert second.poll() is None
    stub.send("exit", code=0)
    stub.exit()
    assert world.processes[0].wait(10) == 0
    world.welcomed()
    assert world.guardian_pid == second.pid


def test_a_start_that_waits_ends_when_it_is_told_to(world: Guarded, manager: socket.socket) -> None:
    world.begin()
    second = world.start(env={"NOTIFY_SOCKET": str(world.folder / "notify")})
    manager.recv(4096)
    second.terminate()
    assert second.wait(5) == 75

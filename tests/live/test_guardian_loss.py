"""The guardian is lost, alone or with the daemon: apps live on, are managed, and no end is made up."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults import processes
from tests.guardian.harness import LINKED, Guarded, Stub, guarded, is_alive, launch, until

pytestmark = pytest.mark.live
SLEEP = launch("/bin/sleep", "600")
REACTORS = ["epoll", "poll", "select", "asyncio"]


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


def linked(world: Guarded, reactor: str = "epoll", **arguments: Any) -> Stub:
    return world.begin(command=world.command(stub=[reactor], program=LINKED), **arguments)


def replaced(world: Guarded, stub: Stub) -> None:
    message = stub.expect("guardian_replaced")
    assert message["pid"] != world.guardian_pid
    world.guardian_pid = message["pid"]


@pytest.mark.parametrize("reactor", REACTORS)
@pytest.mark.parametrize("lacking", ["", "cgroup,subreaper"])
def test_the_daemon_puts_a_new_guardian_in_the_place_of_a_lost_one(
    world: Guarded, reactor: str, lacking: str
) -> None:
    stub = linked(world, reactor, env={"DRONED_WITHOUT": lacking})
    apps = [stub.run(f"web/{n}", 1, SLEEP) for n in range(5)]
    world.signal(signal.SIGKILL)
    replaced(world, stub)
    assert all(is_alive(app["pid"]) for app in apps)
    stub.spawn("web/0", 2, SLEEP)
    assert stub.expect("refused")["live_run"] == 1
    for to, instance in (("main", "web/1"), ("group", "web/2"), ("tree", "web/3")):
        stub.send("signal", instance=instance, run=1, signal=15, to=to)
        assert stub.expect("signalled", instance=instance)["delivered"] == 1
        assert stub.expect("ended", instance=instance)["status"] == signal.SIGTERM
    stub.run("web/1", 2, SLEEP)
    stub.send("signal", instance="web/1", run=2, signal=9, to="tree")
    assert stub.expect("ended", instance="web/1")["status"] == signal.SIGKILL


def test_an_end_in_the_gap_between_two_guardians_is_told_with_its_status(world: Guarded) -> None:
    """By the daemon's own pidfds, where the kernel tells (6.15); without them it is unseen."""
    stub = linked(world)
    ends = [stub.run(f"end/{n}", 1, launch("/bin/sh", "-c", f"sleep 0.1{n}; exit {n}")) for n in range(10)]
    world.signal(signal.SIGSTOP)
    for app in ends:
        until(lambda pid=app["pid"]: not is_alive(pid))  # type: ignore[misc]
    world.signal(signal.SIGKILL)
    replaced(world, stub)
    statuses = [stub.expect("ended", instance=f"end/{n}")["status"] for n in range(10)]
    knows = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)
    assert statuses == [number << 8 if knows else None for number in range(10)]


@pytest.mark.parametrize("lacking", ["", "cgroup", "cgroup,subreaper"])
@pytest.mark.parametrize("acknowledged", [False, True])
def test_what_an_ended_run_has_left_behind_is_not_forgotten(
    world: Guarded, lacking: str, acknowledged: bool
) -> None:
    """Nothing is said to be gone before it is, however many guardians that takes."""
    stub = linked(world, env={"DRONED_WITHOUT": lacking})
    length = f"661.{os.getpid()}"
    stub.run("web/0", 1, launch("/bin/sh", "-c", f"(trap '' TERM; exec sleep {length}) & sleep 0.3"))
    assert stub.expect("ended", instance="web/0")["leftovers"] == 1
    if acknowledged:
        stub.send("ack", ended=[["web/0", 1]], head={"version": 1, "digest": "d"})
    for _ in range(2):
        stub.send("signal", instance="web/0", run=1, signal=15, to="tree")
        assert stub.expect("signalled", signal=15)["delivered"] == 1
        world.signal(signal.SIGKILL)
        replaced(world, stub)
    time.sleep(0.6)
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    assert stub.expect("signalled", signal=9)["delivered"] == 1
    assert not [message for message in stub.heard if message["type"] == "tree_gone"]
    stub.expect("tree_gone", instance="web/0", run=1)
    world.signal(signal.SIGKILL)
    replaced(world, stub)
    time.sleep(0.3)
    assert not [message for message in stub.heard if message["type"] == "tree_gone"]


def test_orders_and_parked_descriptors_survive_the_loss(world: Guarded) -> None:
    """What was ordered while there was no guardian is done by the next; what was parked is there."""
    (world.folder / "file").write_text("kept")
    stub = linked(world)
    stub.tell(park="log", fd=str(world.folder / "file"))
    stub.run("web/0", 1, SLEEP)
    world.signal(signal.SIGSTOP)
    stub.spawn("web/1", 1, SLEEP)
    stub.send("signal", instance="web/0", run=1, signal=15, to="main")
    time.sleep(0.3)
    world.signal(signal.SIGKILL)
    replaced(world, stub)
    stub.expect("spawned", instance="web/1")
    assert stub.expect("ended", instance="web/0")["status"] == signal.SIGTERM
    stub.tell(fetch="log")
    assert stub.expect("fetched")["content"] == "kept"


def test_guardians_can_be_lost_again_and_again_and_the_last_starts_the_daemon_anew(world: Guarded) -> None:
    stub = linked(world)
    app = stub.run("web/0", 1, SLEEP)
    for _ in range(3):
        world.signal(signal.SIGKILL)
        replaced(world, stub)
    os.kill(stub.pid, signal.SIGKILL)
    stub = world.welcomed()
    assert [(row["pid"], row["state"]) for row in stub.table()] == [(app["pid"], "running")]
    stub.send("exit", code=0)
    stub.tell(do="exit", code=0)
    until(lambda: not is_alive(world.guardian_pid))


def test_a_lost_ledger_is_made_good_by_the_daemon(world: Guarded) -> None:
    stub = linked(world)
    app = stub.run("web/0", 1, SLEEP)
    (world.state / "guardian" / "ledger").unlink()
    world.signal(signal.SIGKILL)
    replaced(world, stub)
    stub.spawn("web/0", 2, SLEEP)
    assert stub.expect("refused")["live_run"] == 1
    stub.send("signal", instance="web/0", run=1, signal=9, to="main")
    assert stub.expect("ended")["status"] == 9
    assert not is_alive(app["pid"])


def test_the_new_guardian_tells_the_service_manager_that_it_is_the_one(world: Guarded) -> None:
    address = str(world.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10.0)
        stub = linked(world, env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"})
        world.signal(signal.SIGKILL)
        replaced(world, stub)
        while f"MAINPID={world.guardian_pid}" not in manager.recv(4096).decode():
            pass
        while "WATCHDOG=1" not in manager.recv(4096).decode():
            pass


def test_a_stopped_guardian_is_noticed_and_not_replaced(world: Guarded) -> None:
    stub = linked(world)
    world.signal(signal.SIGSTOP)

    def unresponsive() -> bool:
        stub.tell(do="ask")
        return bool(stub.expect("asked")["is_unresponsive"])

    until(unresponsive, 8.0)
    world.signal(signal.SIGCONT)
    until(lambda: not unresponsive(), 8.0)
    assert not [message for message in stub.heard if message["type"] == "guardian_replaced"]


@pytest.mark.parametrize("lacking", ["", "pidfd", "cgroup,pidfd,subreaper"])
def test_guardian_and_daemon_lost_together_are_followed_by_a_pair_that_knows(
    world: Guarded, lacking: str
) -> None:
    """What lives is adopted by boot, pid and start time; an end that nobody saw is unseen."""
    stub = world.begin(env={"DRONED_WITHOUT": lacking})
    lives = stub.run("web/0", 1, SLEEP)
    gone = stub.run("web/1", 1, SLEEP)
    stub.run("web/2", 1, launch("/bin/sh", "-c", "exit 3"))
    assert stub.expect("ended", instance="web/2")["status"] == 3 << 8
    os.kill(stub.pid, signal.SIGSTOP)
    os.kill(world.guardian_pid, signal.SIGKILL)
    os.kill(stub.pid, signal.SIGKILL)
    os.kill(gone["pid"], signal.SIGKILL)
    until(lambda: not is_alive(gone["pid"]))
    stub = world.begin(env={"DRONED_WITHOUT": lacking})
    rows = {row["instance"]: row for row in stub.table()}
    assert (rows["web/0"]["pid"], rows["web/0"]["state"], rows["web/0"]["adopted"]) == (
        lives["pid"],
        "running",
        True,
    )
    assert rows["web/1"]["state"] == "ended"
    # Seen only if it still waited to be reaped by whoever has inherited it; then it is the truth.
    assert (rows["web/1"]["seen"], rows["web/1"]["status"]) in ((False, None), (True, signal.SIGKILL))
    assert (rows["web/2"]["state"], rows["web/2"]["status"]) == ("ended", 3 << 8)
    stub.send("signal", instance="web/0", run=1, signal=15, to="tree")
    ended = stub.expect("ended", instance="web/0")
    knows = not lacking and tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)
    assert ended["status"] == (signal.SIGTERM if knows else None)
    stub.run("web/0", 2, SLEEP)


def test_a_child_half_made_when_the_guardian_dies_never_becomes_a_second_life(world: Guarded) -> None:
    fifo = world.folder / "fifo"
    os.mkfifo(fifo)
    stub = world.begin()
    mark = f"600.{os.getpid()}"
    stub.spawn("web/0", 1, launch("/bin/sleep", mark, stdout=str(fifo)))
    time.sleep(0.3)
    os.kill(stub.pid, signal.SIGSTOP)
    for pid in (world.guardian_pid, stub.pid):
        os.kill(pid, signal.SIGKILL)
    stub = world.begin()
    assert stub.table() == []
    stub.run("web/0", 1, SLEEP)
    with open(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK), "rb"):
        time.sleep(0.3)
    assert not [pid for pid in processes.pids() if mark in processes.arguments(pid)]

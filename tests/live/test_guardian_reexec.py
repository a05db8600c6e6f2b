"""The guardian goes over into its installed version with everything it has, or stays what it is."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guardian.harness import Guarded, guarded, is_alive, launch, until

pytestmark = pytest.mark.live
SLEEP = launch("/bin/sleep", "600")


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


def test_children_zombies_and_descriptors_come_along(world: Guarded) -> None:
    """The same pid and children; what ends over it is told with its status; the daemon is replaced."""
    (world.folder / "file").write_text("kept")
    stub = world.begin()
    pid = world.guardian_pid
    lives = stub.run("web/0", 1, SLEEP)
    orders = [
        {
            "type": "spawn",
            "instance": f"one/{n}",
            "run": 1,
            "launch": launch("/bin/sh", "-c", f"sleep 0.{n:02}; exit {n}"),
        }
        for n in range(50)
    ]
    stub.tell(send={"type": "park", "name": "log"}, fd=str(world.folder / "file"))
    stub.send_all(orders)
    os.kill(pid, signal.SIGUSR2)
    stub.expect("replace", within_s=15.0)
    stub.exit()
    stub = world.welcomed()
    assert world.guardian_pid == pid
    assert stub.expect("welcome")["parked"] == ["log"]
    ended = {row["instance"]: row for row in stub.table()}
    assert ended.pop("web/0")["pid"] == lives["pid"]
    for number in range(50):
        row = ended[f"one/{number}"]
        status = (
            row["status"]
            if row["state"] == "ended"
            else stub.expect("ended", instance=f"one/{number}")["status"]
        )
        assert status == number << 8
    stub.send("fetch", name="log")
    assert stub.expect("parked")["content"] == "kept"
    stub.spawn("web/0", 2, SLEEP)
    assert stub.expect("refused")["live_run"] == 1
    stub.send("signal", instance="web/0", run=1, signal=15, to="tree")
    assert stub.expect("ended", instance="web/0")["status"] == signal.SIGTERM
    stub.run("web/0", 2, SLEEP)


def test_it_can_be_done_again_and_again(world: Guarded) -> None:
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    for goes_by_itself in (True, True, False):
        world.signal(signal.SIGUSR2)
        stub.expect("replace", within_s=15.0)
        if goes_by_itself:
            stub.exit()
        stub = world.welcomed(15.0)
        assert [row["pid"] for row in stub.table()] == [app["pid"]]


def test_a_set_up_that_is_going_on_goes_on(world: Guarded) -> None:
    fifo = world.folder / "fifo"
    os.mkfifo(fifo)
    stub = world.begin()
    stub.spawn("slow/0", 1, launch("/bin/sleep", "600", stdout=str(fifo)))
    time.sleep(0.3)
    world.signal(signal.SIGUSR2)
    stub.expect("replace", within_s=15.0)
    stub.exit()
    stub = world.welcomed()
    assert [row["state"] for row in stub.table()] == ["setup"]
    with open(fifo, "rb"):
        assert stub.expect("spawned")["run"] == 1
    stub.send("signal", instance="slow/0", run=1, signal=9, to="main")
    assert stub.expect("ended")["status"] == 9


def test_a_version_that_cannot_read_the_state_is_not_executed(world: Guarded) -> None:
    main = world.installed()
    stub = world.begin(command=world.command(main=main))
    reexec = main.with_name("reexec.py")
    reexec.write_text(reexec.read_text().replace("VERSION = 1", "VERSION = 2"))
    world.signal(signal.SIGUSR2)
    until(lambda: "cannot read the state of this one" in world.logged(), 15.0)
    stub.run("web/0", 1, SLEEP)
    reexec.write_text("this is not Python")
    world.signal(signal.SIGUSR2)
    until(lambda: world.logged().count("cannot read the state of this one") == 2, 15.0)
    assert is_alive(stub.pid)
    stub.run("web/1", 1, SLEEP)


def test_the_lock_is_never_free(world: Guarded) -> None:
    stub = world.begin()
    first = world.guardian_pid
    world.signal(signal.SIGUSR2)
    stub.expect("replace", within_s=15.0)
    assert world.start().wait(10) == 75
    assert is_alive(first)
    assert Path(f"/proc/{first}/fd").is_dir()

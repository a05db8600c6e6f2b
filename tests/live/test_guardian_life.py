"""The daemon's lives under the guardian: killed, hung, left, restarted; and the guardian's own end."""

import itertools
import json
import os
import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.guardian.harness import Guarded, Stub, cgroups_of, guarded, is_alive, launch, until

pytestmark = pytest.mark.live
SLEEP = launch("/bin/sleep", "600")


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


def rows_of(stub: Stub) -> dict[str, dict[str, object]]:
    return {row["instance"]: row for row in stub.table()}


def test_a_killed_daemon_finds_everything_as_it_was(world: Guarded) -> None:
    """What lives, what ended meanwhile with its status, what failed; nothing is started twice."""
    stub = world.begin()
    lives = stub.run("web/0", 1, SLEEP)
    dies = stub.run("web/1", 1, SLEEP)
    stub.spawn("web/2", 1, launch("/nowhere"))
    stub.expect("spawn_failed")
    stub.run("web/3", 1, launch("/bin/true"))
    stub.expect("ended", instance="web/3")
    stub.send("ack", ended=[["web/3", 1]], head={"version": 7, "digest": "abc"})
    stub.run("web/4", 1, launch("/bin/true"))  # so the acknowledgement before it has been taken
    os.kill(stub.pid, signal.SIGKILL)
    os.kill(dies["pid"], signal.SIGSEGV)
    stub = world.welcomed()
    assert stub.expect("welcome")["head"] == {"version": 7, "digest": "abc"}
    rows = rows_of(stub)
    assert set(rows) == {"web/0", "web/1", "web/2", "web/4"}
    assert (rows["web/0"]["state"], rows["web/0"]["pid"]) == ("running", lives["pid"])
    assert (rows["web/2"]["state"], rows["web/2"]["failure"]) == ("ended", {"stage": "exec", "errno": 2})
    if rows["web/1"]["state"] != "ended":
        assert stub.expect("ended", instance="web/1")["status"] & 0x7F == signal.SIGSEGV
    else:
        assert rows["web/1"]["seen"]
    stub.spawn("web/0", 2, SLEEP)
    assert stub.expect("refused")["live_run"] == 1


def test_orders_of_a_daemon_that_dies_are_in_the_next_ones_table(world: Guarded) -> None:
    stub = world.begin()
    stub.send_all([{"type": "spawn", "instance": f"web/{n}", "run": 1, "launch": SLEEP} for n in range(200)])
    stub.exit(1)
    assert len(world.welcomed().table()) == 200


def test_a_daemon_that_dies_at_once_waits_longer_and_leaves_its_plugins_out(world: Guarded) -> None:
    stub = world.begin()
    times = [time.monotonic()]
    for _ in range(4):
        os.kill(stub.pid, signal.SIGKILL)
        stub = world.welcomed()
        times.append(time.monotonic())
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert gaps[0] < 0.5
    assert gaps[-2] >= 0.2
    assert gaps[-1] >= 0.4
    assert stub.env["DRONED_SAFE_MODE"] == "1"
    assert "DRONED_SAFE_MODE" not in world.stubs[1].env


def test_a_hung_daemon_is_replaced_within_ten_seconds(world: Guarded) -> None:
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    time.sleep(0.5)
    began = time.monotonic()
    os.kill(stub.pid, signal.SIGSTOP)
    replaced = world.welcomed(14.0)
    assert 5.0 < time.monotonic() - began < 11.0
    assert not is_alive(stub.pid)
    assert rows_of(replaced)["web/0"]["pid"] == app["pid"]


def test_restart_on_purpose_is_at_once_and_no_crash(world: Guarded) -> None:
    stub = world.begin()
    for _ in range(4):
        stub.send("restart")
        stub.exit()
        stub = world.welcomed()
        assert "DRONED_SAFE_MODE" not in stub.env


def test_a_daemon_that_left_comes_back_by_usr1(world: Guarded) -> None:
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    stub.send("leave")
    stub.exit()
    with pytest.raises(TimeoutError):
        world.accept(1.5)
    assert is_alive(app["pid"])
    card = json.loads((world.state / "guardian" / "guardian.json").read_text())
    assert card["pid"] == world.guardian_pid
    os.kill(card["pid"], signal.SIGUSR1)
    assert rows_of(world.welcomed())["web/0"]["state"] == "running"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_ordered_from_the_daemon_and_ends_with_its_code(world: Guarded, number: int) -> None:
    stub = world.begin(command=world.command("--pidfile", str(world.folder / "pid")))
    assert (world.folder / "pid").read_text() == f"{world.guardian_pid}\n"
    world.signal(number)
    assert stub.expect("shutdown")["reason"] == signal.Signals(number).name
    world.signal(number)  # a second one changes nothing
    stub.send("exit", code=9)
    stub.exit()
    assert world.processes[0].wait(10) == 9
    assert not (world.folder / "pid").exists()
    assert not (world.state / "guardian" / "guardian.json").exists()
    assert not [message for message in stub.heard if message["type"] == "shutdown"]


def test_a_stop_starts_a_daemon_that_had_left(world: Guarded) -> None:
    stub = world.begin()
    stub.send("leave")
    stub.exit()
    until(lambda: not is_alive(stub.pid))
    world.signal(signal.SIGTERM)
    stub = world.welcomed()
    assert stub.expect("welcome")["shutdown"] is True
    stub.send("exit", code=0)
    stub.exit()
    assert world.processes[0].wait(10) == 0


def test_a_stop_starts_a_daemon_after_one_that_is_just_leaving(world: Guarded) -> None:
    stub = world.begin()
    world.signal(signal.SIGTERM)
    stub.expect("shutdown")
    stub.send("leave")  # it crossed what it was told
    stub.exit()
    stub = world.welcomed()
    assert stub.expect("welcome")["shutdown"] is True
    stub.send("exit", code=0)
    stub.exit()
    assert world.processes[0].wait(10) == 0


def test_a_stop_without_any_daemon_ends_all_trees_in_the_end(
    world: Guarded, program: Callable[[str], Path]
) -> None:
    """After a minute without control the guardian does it itself: TERM, ten seconds, KILL. Here sooner."""
    main = world.installed(
        {
            "guardian.py": ("_WITHOUT_CONTROL_S = 60.0", "_WITHOUT_CONTROL_S = 1.0"),
            "ending.py": ("GRACE_S = 10.0", "GRACE_S = 1.0"),
        }
    )
    daemon = world.folder / "daemon"
    daemon.write_text(f"#!/bin/sh\nexec {shlex.join(world.command()[-4:])}\n")
    daemon.chmod(0o755)
    stub = world.begin(command=world.command(main=main, daemon=[str(daemon)]))
    obeys = stub.run("web/0", 1, SLEEP)
    stub.run("web/1", 1, launch(str(program("child")), "web/1", "-", "tree", "5"))
    daemon.write_text("#!/bin/sh\nexit 1\n")
    stub.exit()
    world.signal(signal.SIGTERM)
    assert world.processes[0].wait(30) == 1
    assert not is_alive(obeys["pid"])
    assert not cgroups_of(world.state)


def test_hup_asks_for_a_reload(world: Guarded) -> None:
    stub = world.begin()
    world.signal(signal.SIGHUP)
    stub.expect("reload")


@pytest.mark.parametrize("code", [78, 75])
def test_a_daemon_that_cannot_work_at_all_ends_the_guardian(world: Guarded, code: int) -> None:
    world.start()
    world.accept().exit(code)
    assert world.processes[0].wait(10) == code


def test_the_same_code_later_is_a_crash_like_others(world: Guarded) -> None:
    world.begin().exit(1)
    world.welcomed().exit(78)
    world.welcomed()


def test_a_second_guardian_is_refused_and_names_the_first(world: Guarded) -> None:
    world.begin()
    first = world.guardian_pid
    second = world.start()
    assert second.wait(10) == 75
    assert f"the droned with pid {first} holds it" in world.logged()
    assert is_alive(first)


def test_a_hundred_at_once_have_one_winner(world: Guarded) -> None:
    processes = [world.start() for _ in range(20)]
    stub = world.welcomed()
    losers = [process for process in processes if process.pid != world.guardian_pid]
    assert [process.wait(20) for process in losers] == [75] * 19
    assert is_alive(stub.pid)


def test_descriptors_are_parked_over_the_daemons_lives(world: Guarded) -> None:
    (world.folder / "file").write_text("kept")
    stub = world.begin()
    stub.tell(send={"type": "park", "name": "log"}, fd=str(world.folder / "file"))
    stub.send("fetch", name="log")
    assert stub.expect("parked")["content"] == "kept"
    os.kill(stub.pid, signal.SIGKILL)
    stub = world.welcomed()
    assert stub.expect("welcome")["parked"] == ["log"]
    stub.send("fetch", name="log")
    assert stub.expect("parked")["content"] == "kept"
    stub.send("unpark", name="log")
    stub.send("fetch", name="log")
    assert stub.expect("parked")["fds"] == 0


def test_nonsense_of_the_daemon_costs_it_its_life_and_nobody_elses(world: Guarded) -> None:
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    stub.send("no-such-order", instance="web/0")
    until(lambda: stub.expect("trouble", ignored_messages=1), 1.0)
    stub.send("spawn", instance=3, run="x", launch=[])
    stub = world.welcomed()
    assert rows_of(stub)["web/0"]["pid"] == app["pid"]


def test_apps_hold_nothing_of_the_guardians(world: Guarded) -> None:
    """Not its lock, not its socket: a droned can be started again while apps live."""
    stub = world.begin()
    app = stub.run("web/0", 1, SLEEP)
    held = [os.readlink(link) for link in Path(f"/proc/{app['pid']}/fd").iterdir()]
    assert held == ["/dev/null"] * 3
    os.kill(stub.pid, signal.SIGSTOP)  # it must not start a successor
    for pid in (world.guardian_pid, stub.pid):
        os.kill(pid, signal.SIGKILL)
    stub = world.begin()
    row = rows_of(stub)["web/0"]
    assert (row["pid"], row["state"], row["adopted"]) == (app["pid"], "running", True)


def test_the_service_manager_is_told(world: Guarded) -> None:
    """READY when the daemon is ready, STATUS, WATCHDOG for our own life, STOPPING; only by us."""
    address = str(world.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10.0)

        def told(text: str) -> None:
            while text not in manager.recv(4096).decode():
                pass

        stub = world.begin(env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"})
        told("READY=1")
        stub.send("status", text="in control of 3\ninstances")
        told("STATUS=in control of 3 instances")
        told("WATCHDOG=1")
        told("WATCHDOG=1")
        assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & stub.env.keys()
        world.signal(signal.SIGHUP)
        told("RELOADING=1")
        stub.send("ready")
        told("READY=1")
        world.signal(signal.SIGTERM)
        told("STOPPING=1")


def test_an_idle_guardian_sleeps(world: Guarded) -> None:
    """Three wake-ups at most in two ticks: the ping, its answer, and the odd one."""
    stub = world.begin()
    for number in range(20):
        stub.run(f"web/{number}", 1, SLEEP)
    time.sleep(1.0)

    def switches() -> int:
        status = Path(f"/proc/{world.guardian_pid}/status").read_text()
        return sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt"))

    before = switches()
    time.sleep(4.0)
    assert switches() - before <= 6

"""Guardian and the real `droned-logs`: what programs write comes into files once, in order, whoever dies."""

import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.captured import segments
from tests.guardian.harness import LINKED, Guarded, Stub, guarded, is_alive, launch, until
from tests.running import IS_ROOT

pytestmark = pytest.mark.live
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
COUNT = 'i=0; while :; do echo "line $i"; i=$((i+1)); done'
COUNT_SLOWLY = 'i=0; while :; do echo "line $i"; i=$((i+1)); sleep 0.01; done'


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


@pytest.fixture
def stub(world: Guarded) -> Stub:
    """A daemon that can replace a guardian, with `droned-logs` there."""
    made = world.begin(command=world.command(program=LINKED))
    until((world.state / "logs" / ".socket").exists)
    return made


def captured(script: str, **changes: Any) -> dict[str, Any]:
    return launch("/bin/sh", "-c", script, stdout="stdout", stderr="stderr", logs="{}", **changes)


def written(world: Guarded, instance: str, stream: str = "stdout") -> bytes:
    """All of a stream, by its files."""
    content = b""
    for segment in segments(world.state / "logs", instance, stream):
        assert segment.start == len(content)
        content += segment.content()
    return content


def wait_for_more(world: Guarded, *instances: str) -> None:
    for instance in instances:
        size = len(written(world, instance))
        until(lambda instance=instance, size=size: len(written(world, instance)) > size)  # type: ignore[misc]


def logs_pid(world: Guarded) -> int:
    """The process that holds the lock of the folder, 0 without one."""
    found = os.stat(world.state / "logs" / ".lock")
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if place in words and "->" not in words:
            return int(words[4])
    return 0


def kill_logs(world: Guarded) -> None:
    """Kill droned-logs and wait until another has the folder."""
    pid = until(lambda: logs_pid(world))
    os.kill(pid, signal.SIGKILL)
    until(lambda: logs_pid(world) not in (0, pid))


def kill_guardian(world: Guarded, stub: Stub) -> None:
    os.kill(world.guardian_pid, signal.SIGKILL)
    world.guardian_pid = stub.expect("guardian_replaced")["pid"]


def kill_both(world: Guarded, stub: Stub) -> None:
    """With one stroke, so that none can tell the other anything."""
    logs = until(lambda: logs_pid(world))
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in (logs, world.guardian_pid):
            os.kill(pid, number)
    world.guardian_pid = stub.expect("guardian_replaced")["pid"]
    until(lambda: logs_pid(world) not in (0, logs))


def end(world: Guarded, stub: Stub, *instances: str) -> None:
    """Kill programs, wait until all that they wrote is in files, and look whether it is right."""
    for instance in instances:
        stub.send("signal", instance=instance, run=1, signal=9, to="tree")
    for instance in instances:
        stub.expect("ended", instance=instance)
    until(lambda: not kept(world.guardian_pid))
    for instance in instances:
        *lines, last = written(world, instance).split(b"\n")
        assert len(lines) > 10
        assert lines == [b"line %d" % number for number in range(len(lines))]
        assert b"line %d" % len(lines) == last or last in b"line %d" % len(lines)


def kept(pid: int) -> int:
    """How many read ends a guardian keeps."""
    found = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += os.readlink(f"/proc/{pid}/fd/{number}").startswith("pipe:")
        except FileNotFoundError:
            continue
    return found


def test_nothing_is_lost_over_twenty_kills_of_droned_logs(world: Guarded, stub: Stub) -> None:
    dice = random.Random(1)
    stub.run("fast/0", 1, captured(COUNT))
    stub.run("slow/0", 1, captured(COUNT_SLOWLY, nice=1))
    for _ in range(20):
        time.sleep(dice.uniform(0.2, 0.8))  # about as long as it takes to have a death forgiven
        wait_for_more(world, dice.choice(("fast/0", "slow/0")))
        kill_logs(world)
    wait_for_more(world, "fast/0", "slow/0")
    end(world, stub, "fast/0", "slow/0")


def test_nothing_is_lost_over_the_loss_of_guardians(world: Guarded, stub: Stub) -> None:
    stub.run("fast/0", 1, captured(COUNT))
    stub.run("slow/0", 1, captured(COUNT_SLOWLY))
    logs = logs_pid(world)
    for _ in range(3):
        wait_for_more(world, "slow/0")
        kill_guardian(world, stub)
        until(lambda: kept(world.guardian_pid) == 4)
    assert logs_pid(world) == logs
    kill_logs(world)
    wait_for_more(world, "fast/0", "slow/0")
    end(world, stub, "fast/0", "slow/0")


def test_what_living_programs_write_is_found_when_both_are_lost(world: Guarded, stub: Stub) -> None:
    stub.run("fast/0", 1, captured(COUNT))
    stub.run("slow/0", 1, captured(COUNT_SLOWLY))
    for _ in range(2):
        wait_for_more(world, "fast/0", "slow/0")
        kill_both(world, stub)
        until(lambda: kept(world.guardian_pid) == 4)
    wait_for_more(world, "fast/0", "slow/0")
    end(world, stub, "fast/0", "slow/0")


def test_what_ended_without_a_guardian_is_not_lost(world: Guarded, stub: Stub) -> None:
    """Its pipe is with droned-logs alone then, which the next guardian attaches to."""
    script = "trap 'echo last words; exit 0' TERM; echo first; while :; do sleep 0.1; done"
    app = stub.run("web/0", 1, captured(script))
    until(lambda: written(world, "web/0") == b"first\n")
    logs = logs_pid(world)
    os.kill(logs, signal.SIGSTOP)
    os.kill(world.guardian_pid, signal.SIGSTOP)
    os.kill(app["pid"], signal.SIGTERM)
    until(lambda: not is_alive(app["pid"]))
    kill_guardian(world, stub)
    os.kill(logs, signal.SIGCONT)
    until(lambda: written(world, "web/0") == b"first\nlast words\n")
    assert logs_pid(world) == logs


def test_an_upgrade_loses_nothing_either(world: Guarded, stub: Stub) -> None:
    stub.run("fast/0", 1, captured(COUNT))
    wait_for_more(world, "fast/0")
    logs = logs_pid(world)
    os.kill(world.guardian_pid, signal.SIGUSR2)
    stub.expect("replace", within_s=15.0)
    stub.exit()
    stub = world.welcomed(15.0)
    until(lambda: logs_pid(world) not in (0, logs))
    assert not is_alive(logs)
    wait_for_more(world, "fast/0")
    end(world, stub, "fast/0")


@pytest.mark.skipif(not IS_ROOT, reason="becomes another user")
def test_a_server_of_another_user_opens_its_output_by_path(world: Guarded, stub: Stub) -> None:
    """As nginx does with `access_log /dev/stdout`: open for append, as nobody."""
    stub.spawn(
        "web/0", 1, captured("exec 3>>/dev/stdout 4>>/dev/stderr; echo a >&3; echo e >&4", user="nobody")
    )
    assert stub.expect("ended")["status"] == 0
    until(lambda: written(world, "web/0") == b"a\n" and written(world, "web/0", "stderr") == b"e\n")


def test_the_last_words_are_in_files_when_all_has_ended(world: Guarded, stub: Stub) -> None:
    for number in range(30):
        stub.run(
            f"web/{number}", 1, captured("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done")
        )
    until(lambda: all(written(world, f"web/{number}") == b"up\n" for number in range(30)))
    for number in range(30):
        stub.send("signal", instance=f"web/{number}", run=1, signal=15, to="main")
    stub.expect_all("ended", 30)
    logs = logs_pid(world)
    stub.send("exit", code=0)
    stub.exit()
    assert world.processes[-1].wait(10) == 0
    assert not is_alive(logs)
    assert [written(world, f"web/{number}") for number in range(30)] == [b"up\nbye\n"] * 30


def test_more_streams_than_the_soft_limit_allows(world: Guarded) -> None:
    """Read ends go above it; programs get it as it was."""
    command = world.command(program=LINKED)
    stub = world.begin(command=command, wrapper=["prlimit", f"--nofile=256:{HARD}"])
    count = 200
    orders = [
        {"type": "spawn", "instance": f"web/{n}", "run": 1, "launch": captured("ulimit -n; exec sleep 600")}
        for n in range(count)
    ]
    stub.send_all(orders)
    stub.expect_all("spawned", count)
    until(lambda: kept(world.guardian_pid) == 2 * count)
    until(lambda: [written(world, f"web/{n}") for n in range(count)] == [b"256\n"] * count, 20.0)
    kill_logs(world)
    kill_guardian(world, stub)
    until(lambda: kept(world.guardian_pid) == 2 * count)


def test_a_program_hears_nothing_of_the_death_of_its_reader(world: Guarded, stub: Stub) -> None:
    """No SIGPIPE and no error: a write waits until there is another."""
    script = "while echo x; do sleep 0.01; done; echo $? >&2"
    stub.run("web/0", 1, captured(script))
    for _ in range(3):
        wait_for_more(world, "web/0")
        kill_logs(world)
    wait_for_more(world, "web/0")
    assert written(world, "web/0", "stderr") == b""

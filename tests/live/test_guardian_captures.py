"""What programs write goes into pipes whose read ends outlive whoever reads and whoever keeps them."""

import json
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guardian.harness import LINKED, ROOT, Guarded, Stub, guarded, is_alive, launch, until
from tests.running import IS_ROOT

pytestmark = pytest.mark.live
FAKE = ROOT / "tests" / "programs" / "fake_logs.py"
POLICY = '{"format":"raw"}'
needs_root = pytest.mark.skipif(not IS_ROOT, reason="becomes other users")

COUNT = 'i=0; while [ $i -lt {} ]; do echo "line $i"; i=$((i+1)); done'
COUNT_FOR_EVER = 'i=0; while :; do echo "line $i"; i=$((i+1)); done'
COUNT_SLOWLY = 'i=0; while :; do echo "line $i"; i=$((i+1)); sleep 0.01; done'
ENDLESS = launch("/bin/sleep", "600")


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        made.installed(logs=FAKE)
        yield made


def main_of(world: Guarded) -> Path:
    return world.folder / "installed" / "droned" / "guardian" / "__main__.py"


def begun(world: Guarded, **arguments: Any) -> Stub:
    """The daemon of a guardian that captures."""
    stub = world.begin(command=world.command(main=main_of(world), **arguments))
    until((world.state / "logs" / ".socket").exists)
    return stub


def captured(script: str, *, one: bool = False, **changes: Any) -> dict[str, Any]:
    """A launch of a shell whose output is captured, in one stream or two."""
    names = ("output", "output") if one else ("stdout", "stderr")
    return launch("/bin/sh", "-c", script, stdout=names[0], stderr=names[1], logs=POLICY, **changes)


def written(world: Guarded, instance: str, stream: str = "stdout") -> bytes:
    try:
        return (world.state / "logs" / instance / stream).read_bytes()
    except FileNotFoundError:
        return b""


def wait_for_more(world: Guarded, instance: str, stream: str = "stdout") -> None:
    """Wait until something more of it has come into its file."""
    size = len(written(world, instance, stream))
    until(lambda: len(written(world, instance, stream)) > size)


def told(world: Guarded, kind: str) -> list[dict[str, Any]]:
    """What the lives of droned-logs were told, of this type."""
    try:
        lines = (world.state / "logs" / "told").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [message for message in map(json.loads, lines) if message["type"] == kind]


def logs_pid(world: Guarded) -> int:
    """The process that holds the folder of logs, 0 without one."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"logs/__main__.py" in command and os.fsencode(world.state) in command:
            return int(process.name) if is_alive(int(process.name)) else 0
    return 0


def replace_logs(world: Guarded) -> None:
    """Kill droned-logs and wait for the next one."""
    pid = until(lambda: logs_pid(world))
    os.kill(pid, signal.SIGKILL)
    until(lambda: logs_pid(world) not in (0, pid))


def descriptors(pid: int) -> list[str]:
    """What a process has open, but for what its threads make when they are first needed."""
    found = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{number}"))
        except FileNotFoundError:
            found.append("just closed")
    return sorted(target for target in found if target != "anon_inode:[eventfd]")


def pipes_of(pid: int) -> int:
    """How many pipes a process has open."""
    found = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += stat.S_ISFIFO(os.stat(f"/proc/{pid}/fd/{number}").st_mode)
        except FileNotFoundError:
            continue
    return found


def assert_counted(content: bytes, at_least: int = 1) -> None:
    """Nothing lost, nothing twice, nothing out of order."""
    lines = content.split(b"\n")
    whole = lines[:-1]
    assert len(whole) >= at_least
    assert whole == [b"line %d" % number for number in range(len(whole))]


WAYS: list[dict[str, Any]] = [{}, {"nice": 1}]  # spawned, forked


@pytest.mark.parametrize("way", WAYS, ids=("spawned", "forked"))
def test_both_streams_are_captured(world: Guarded, way: dict[str, Any]) -> None:
    stub = begun(world)
    stub.spawn("web/0", 1, captured("echo out; echo err >&2", **way))
    assert "output" not in stub.expect("spawned")
    stub.expect("ended")
    until(lambda: written(world, "web/0") == b"out\n" and written(world, "web/0", "stderr") == b"err\n")
    streams = {message["stream"]: message for message in told(world, "capture")}
    assert set(streams) == {"stdout", "stderr"}
    assert streams["stdout"]["name"] == "web/0:1:stdout"
    assert streams["stdout"]["policy"] == POLICY
    assert abs(streams["stdout"]["at"] - time.time()) < 60
    ends = until(lambda: told(world, "run_ended"))
    assert [(end["instance"], end["run"], end["status"]) for end in ends] == [("web/0", 1, 0)]


@pytest.mark.parametrize("way", WAYS, ids=("spawned", "forked"))
def test_one_stream_for_both_keeps_the_order(world: Guarded, way: dict[str, Any]) -> None:
    stub = begun(world)
    stub.spawn("web/0", 1, captured("echo 1; echo 2 >&2; echo 3", one=True, **way))
    until(lambda: written(world, "web/0", "output") == b"1\n2\n3\n")


@needs_root
def test_a_program_of_another_user_can_open_its_output_anew(world: Guarded) -> None:
    stub = begun(world)
    script = "echo one > /dev/stdout; echo two > /dev/stderr; id -u"
    stub.spawn("web/0", 1, captured(script, user="nobody"))
    stub.expect("ended", status=0)
    until(lambda: written(world, "web/0") == b"one\n65534\n")
    until(lambda: written(world, "web/0", "stderr") == b"two\n")


def test_without_logs_output_goes_to_files(world: Guarded) -> None:
    stub = begun(world)
    path = world.folder / "out"
    stub.spawn("web/0", 1, launch("/bin/echo", "direct", stdout=str(path)))
    assert stub.expect("spawned")["output"] == [0, 0]
    stub.expect("ended")
    assert path.read_text() == "direct\n"
    assert not told(world, "capture")


@pytest.mark.parametrize(
    "names", [("stdout", "stdout"), ("output", "stderr"), ("/dev/null", "/dev/null"), ("", "")]
)
def test_streams_that_are_none_are_refused(world: Guarded, names: tuple[str, str]) -> None:
    stub = begun(world)
    stub.spawn("web/0", 1, launch("/bin/true", stdout=names[0], stderr=names[1], logs=POLICY))
    assert stub.expect("spawn_failed")["stage"] == "descriptors"


@pytest.mark.parametrize("way", WAYS, ids=("spawned", "forked"))
def test_launches_that_fail_leave_no_pipe_behind(world: Guarded, way: dict[str, Any]) -> None:
    stub = begun(world)
    stub.run("warm/0", 1, captured("exit 0", **way))
    stub.expect("ended")
    until(lambda: not pipes_of(world.guardian_pid))
    for number in range(10):
        nothing = launch("/nonexistent", stdout="stdout", stderr="stderr", logs=POLICY, **way)
        stub.spawn("web/0", number + 1, nothing)
        stub.expect("spawn_failed")
        stub.spawn("web/1", number + 1, captured("exit 0", directory="/nonexistent", **way))
        stub.expect("spawn_failed")
    assert not pipes_of(world.guardian_pid)
    assert len(told(world, "capture")) == 2


def test_two_hundred_runs_leave_no_descriptor_behind(world: Guarded) -> None:
    stub = begun(world)
    stub.run("web/0", 1, captured("echo x"))
    stub.expect("ended")
    until(lambda: not pipes_of(world.guardian_pid))
    before = descriptors(world.guardian_pid)
    logs = descriptors(logs_pid(world))
    for number in range(2, 202):
        way: dict[str, Any] = {"nice": 1} if number % 4 == 0 else {}
        stub.run("web/0", number, captured("echo x", **way))
        stub.expect("ended")
    until(lambda: written(world, "web/0") == 201 * b"x\n")
    until(lambda: descriptors(world.guardian_pid) == before and descriptors(logs_pid(world)) == logs)


def test_three_hundred_are_told_in_few_packets(world: Guarded) -> None:
    stub = begun(world)
    count = 300
    stub.send_all(
        [
            {"type": "spawn", "instance": f"web/{n}", "run": 1, "launch": captured("echo x; exec sleep 600")}
            for n in range(count)
        ]
    )
    stub.expect_all("spawned", count)
    until(lambda: all(written(world, f"web/{n}") == b"x\n" for n in range(count)))
    assert pipes_of(world.guardian_pid) == 2 * count
    stub.send_all(
        [
            {"type": "signal", "instance": f"web/{n}", "run": 1, "signal": 9, "to": "tree"}
            for n in range(count)
        ]
    )
    stub.expect_all("ended", count)
    until(lambda: not pipes_of(world.guardian_pid))


# ---- the loss of droned-logs


def test_nothing_is_lost_when_droned_logs_is_killed_again_and_again(world: Guarded) -> None:
    stub = begun(world)
    stub.run("web/0", 1, captured(COUNT_FOR_EVER))
    for _ in range(8):
        wait_for_more(world, "web/0")
        replace_logs(world)
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    stub.expect("ended")
    until(lambda: not pipes_of(world.guardian_pid))
    assert_counted(written(world, "web/0"), 1000)


def test_an_end_is_told_to_the_next_one(world: Guarded) -> None:
    """What was told and perhaps not taken is told again; the daemon hears who there is."""
    stub = begun(world)
    first = until(lambda: logs_pid(world))
    stub.expect("logs", pid=first)
    os.kill(first, signal.SIGSTOP)
    stub.run("web/0", 1, captured("echo last words; exit 3"))
    stub.expect("ended")
    os.kill(first, signal.SIGKILL)
    stub.expect("logs", pid=None)
    assert stub.expect("logs")["pid"] == until(lambda: logs_pid(world))
    until(lambda: written(world, "web/0") == b"last words\n")
    assert [end["status"] for end in until(lambda: told(world, "run_ended"))] == [3 << 8]


def test_one_that_does_not_answer_is_replaced(world: Guarded) -> None:
    stub = begun(world)
    first = logs_pid(world)
    (world.state / "logs" / "mute").touch()
    stub.run("web/0", 1, captured(COUNT_SLOWLY))
    stub.expect("logs", pid=None, within_s=45.0)
    (world.state / "logs" / "mute").unlink()
    assert until(lambda: logs_pid(world)) != first
    wait_for_more(world, "web/0")
    assert_counted(written(world, "web/0"))


def test_an_instance_that_is_forgotten_is_told(world: Guarded) -> None:
    stub = begun(world)
    stub.run("web/0", 1, captured("exit 0"))
    ended = stub.expect("ended")
    stub.send("ack", ended=[["web/0", ended["run"]]], head=None)
    stub.send("forget", instance="web/0")
    assert until(lambda: told(world, "forget"))[0]["instance"] == "web/0"


# ---- the loss of the guardian


def linked(world: Guarded) -> Stub:
    return begun(world, program=LINKED)


def test_nothing_is_lost_when_the_guardian_is_killed(world: Guarded) -> None:
    """droned-logs lives on; the next guardian gets all read ends from it and keeps them again."""
    stub = linked(world)
    stub.run("web/0", 1, captured(COUNT_FOR_EVER))
    logs = logs_pid(world)
    for _ in range(3):
        wait_for_more(world, "web/0")
        world.signal(signal.SIGKILL)
        world.guardian_pid = stub.expect("guardian_replaced")["pid"]
        until(lambda: pipes_of(world.guardian_pid) == 2)
        assert logs_pid(world) == logs
    replace_logs(world)  # what the new guardian has is as good as what the first had
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    stub.expect("ended")
    until(lambda: not pipes_of(world.guardian_pid))
    assert_counted(written(world, "web/0"), 1000)


def test_when_both_are_lost_the_pipes_are_found_at_the_programs(world: Guarded) -> None:
    stub = linked(world)
    stub.run("web/0", 1, captured(COUNT_SLOWLY))
    stub.run("one/0", 1, captured(COUNT_SLOWLY, one=True))
    until(lambda: written(world, "web/0") and written(world, "one/0", "output"))
    os.kill(logs_pid(world), signal.SIGSTOP)
    os.kill(world.guardian_pid, signal.SIGSTOP)
    os.kill(logs_pid(world), signal.SIGKILL)
    os.kill(world.guardian_pid, signal.SIGKILL)
    world.guardian_pid = stub.expect("guardian_replaced")["pid"]
    until(lambda: pipes_of(world.guardian_pid) == 3)
    for instance, stream in (("web/0", "stdout"), ("one/0", "output")):
        wait_for_more(world, instance, stream)
        assert_counted(written(world, instance, stream))


def test_a_guardian_that_is_started_anew_takes_the_droned_logs_that_lives(world: Guarded) -> None:
    """Guardian and daemon were killed with one stroke; what ended meanwhile is not lost either."""
    stub = begun(world)
    stub.run("web/0", 1, captured(COUNT_SLOWLY))
    until(lambda: written(world, "web/0"))
    logs = logs_pid(world)
    for pid in (stub.pid, world.guardian_pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (stub.pid, world.guardian_pid):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not is_alive(world.guardian_pid))
    stub = begun(world)
    assert stub.expect("welcome")["logs_pid"] == logs
    until(lambda: pipes_of(world.guardian_pid) == 2)
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    stub.expect("ended")
    until(lambda: not pipes_of(world.guardian_pid))
    assert_counted(written(world, "web/0"))
    stub.run("web/0", 2, captured("echo again"))
    until(lambda: written(world, "web/0").endswith(b"again\n"))


# ---- on purpose


def test_a_reexec_keeps_all_and_starts_the_installed_droned_logs(world: Guarded) -> None:
    stub = begun(world)
    stub.run("web/0", 1, captured(COUNT_FOR_EVER))
    logs = logs_pid(world)
    for _ in range(2):
        world.signal(signal.SIGUSR2)
        stub.expect("replace", within_s=15.0)
        stub.exit()
        stub = world.welcomed(15.0)
    until(lambda: logs_pid(world) not in (0, logs))
    assert told(world, "go")
    wait_for_more(world, "web/0")
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    stub.expect("ended")
    until(lambda: not pipes_of(world.guardian_pid))
    assert_counted(written(world, "web/0"), 1000)


def test_the_last_words_of_all_are_in_files_after_a_stop(world: Guarded) -> None:
    stub = begun(world)
    for number in range(20):
        stub.run(
            f"web/{number}", 1, captured("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.1; done")
        )
    until(lambda: all(written(world, f"web/{number}") == b"up\n" for number in range(20)))
    for number in range(20):
        stub.send("signal", instance=f"web/{number}", run=1, signal=15, to="main")
        stub.expect("ended")
    stub.send("exit", code=0)
    stub.exit()
    assert world.processes[-1].wait(10) == 0
    assert [written(world, f"web/{number}") for number in range(20)] == [b"up\nbye\n"] * 20
    assert not logs_pid(world)
    assert told(world, "go")

"""Everything that came of a run is found, signalled and seen to be gone; nothing else is touched."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guardian.harness import Guarded, guarded, is_alive, launch, until

pytestmark = pytest.mark.live
WITHOUT = [
    "", "pidfd", "posix_spawn", "cgroup", "cgroup,pidfd", "cgroup,subreaper",
    "cgroup,pidfd,posix_spawn,subreaper",
]  # fmt: skip
# A process of a session of its own, whose parent is gone, and the same with an empty environment.
ESCAPED = "(setsid sleep 666 &) ; (setsid env -i /bin/sleep 667 &) ; "


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


def shell(text: str, **changes: Any) -> dict[str, Any]:
    return launch("/bin/sh", "-c", text, **changes)


def sleepers(world: Guarded, seconds: str) -> list[int]:
    """The pids of `sleep SECONDS` that this guardian's runs have started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().split(b"\0")[1:2] == [seconds.encode()]:
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def unique(text: str) -> str:
    """Sleeps whose length no other test has: 666 and 667 with our pid as fraction."""
    return text.replace("666", f"666.{os.getpid()}").replace("667", f"667.{os.getpid()}")


@pytest.mark.parametrize("lacking", WITHOUT)
def test_kill_reaches_the_whole_tree_and_its_end_is_told(world: Guarded, lacking: str) -> None:
    stub = world.begin(env={"DRONED_WITHOUT": lacking})
    has_cgroup = "cgroup" not in stub.expect("welcome")["lacking"]
    marked, bare = unique("666"), unique("667")
    stub.run("web/0", 1, shell(unique(ESCAPED) + "exec sleep 600"))
    pids = until(lambda: sleepers(world, marked)) + until(lambda: sleepers(world, bare))
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    assert stub.expect("signalled", to="tree")["delivered"] >= 2
    ended = stub.expect("ended")
    assert ended["status"] == signal.SIGKILL
    if ended["leftovers"]:
        stub.expect("tree_gone", instance="web/0", run=1)
    until(lambda: not sleepers(world, marked))
    if has_cgroup:
        until(lambda: not any(is_alive(pid) for pid in pids))
    else:
        # An empty environment and a session of its own: nobody can say whose it is, so it is not touched.
        assert sleepers(world, bare)
        for pid in sleepers(world, bare):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("lacking", WITHOUT)
def test_what_a_main_process_leaves_is_counted_and_its_end_told(world: Guarded, lacking: str) -> None:
    stub = world.begin(env={"DRONED_WITHOUT": lacking})
    marked = unique("666")
    stub.run("web/0", 1, shell(f"sleep {marked} & sleep {marked} & sleep 0.3; exit 3"))
    ended = stub.expect("ended")
    assert (ended["status"], ended["leftovers"]) == (3 << 8, 2)
    assert stub.heard == [] or not [m for m in stub.heard if m["type"] == "tree_gone"]
    stub.send("signal", instance="web/0", run=1, signal=15, to="tree")
    assert stub.expect("signalled")["delivered"] == 2
    stub.expect("tree_gone", instance="web/0", run=1)
    assert not sleepers(world, marked)


def test_term_to_the_group_reaches_the_group_alone(world: Guarded) -> None:
    stub = world.begin()
    marked = unique("666")
    stub.run("web/0", 1, shell(f"sleep {marked} & setsid sleep {marked} & wait"))
    until(lambda: len(sleepers(world, marked)) == 2)
    stub.send("signal", instance="web/0", run=1, signal=15, to="group")
    assert stub.expect("ended")["leftovers"] >= 1  # the other one may just be dying
    until(lambda: len(sleepers(world, marked)) == 1)
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    stub.expect("tree_gone")


@pytest.mark.parametrize("lacking", ["", "cgroup"])
def test_who_ignores_term_is_killed_in_trees_of_ten(
    world: Guarded, lacking: str, program: Callable[[str], Path]
) -> None:
    """Double forks, each in a session of its own, TERM ignored: nothing is left."""
    child = str(
        shutil.copy(program("child"), world.folder / "child")
    )  # no other test's processes have this name
    stub = world.begin(env={"DRONED_WITHOUT": lacking})
    for number in range(10):
        stub.run(f"tree/{number}", 1, launch(child, f"tree/{number}", "-", "tree", "10"))
    until(lambda: len(pids_of(child)) == 100)
    for number in range(10):
        stub.send("signal", instance=f"tree/{number}", run=1, signal=15, to="tree")
    for number in range(10):
        stub.send("signal", instance=f"tree/{number}", run=1, signal=9, to="tree")
    for number in range(10):
        if stub.expect("ended", instance=f"tree/{number}")["leftovers"]:
            stub.expect("tree_gone", instance=f"tree/{number}")
    until(lambda: not pids_of(child))
    assert zombies_of(world.guardian_pid) == []


def pids_of(program: str) -> list[int]:
    """The processes that execute this very file."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(folder / "exe") == program and is_alive(int(folder.name)):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def zombies_of(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] == "Z" and int(fields[1]) == parent:
            found.append(int(folder.name))
    return found


def test_strangers_are_told_and_left_alone_and_reaped(world: Guarded) -> None:
    """An orphan that nothing claims: without cgroups, one with an empty environment and its own session."""
    stub = world.begin(env={"DRONED_WITHOUT": "cgroup"})
    stub.expect("strangers", processes=[])  # a guardian before this one may have told of some
    bare = unique("667")
    stub.run("web/0", 1, shell(f"(setsid env -i /bin/sleep {bare} &) ; sleep 0.2"))
    assert stub.expect("ended")["leftovers"] == 0
    (stranger,) = stub.expect("strangers")["processes"]
    assert stranger["name"] == "sleep"
    assert sleepers(world, bare) == [stranger["pid"]]
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    assert stub.expect("signalled")["delivered"] == 0
    assert is_alive(stranger["pid"])
    os.kill(stranger["pid"], signal.SIGKILL)
    assert stub.expect("strangers")["processes"] == []
    assert zombies_of(world.guardian_pid) == []


def test_a_thousand_orphans_leave_no_zombie(world: Guarded) -> None:
    stub = world.begin()
    stub.run("web/0", 1, shell("i=0; while [ $i -lt 1000 ]; do (true &); i=$((i+1)); done"))
    stub.expect("ended", within_s=60.0)
    until(lambda: zombies_of(world.guardian_pid) == [], 2.0)


@pytest.mark.parametrize("lacking", ["", "cgroup", "cgroup,pidfd"])
def test_a_foreign_process_with_the_same_marks_is_never_signalled(world: Guarded, lacking: str) -> None:
    """A token and a session prove nothing for a process that is not below the guardian."""
    stub = world.begin(env={"DRONED_WITHOUT": lacking})
    stub.run("web/0", 1, launch("/bin/sleep", "600"))
    token = f"{stub.expect('welcome')['state_id']}/web/0/1"
    with subprocess.Popen(["/bin/sleep", "600"], env={"DRONED_RUN": token}) as foreign:
        stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
        stub.expect("ended")
        assert foreign.poll() is None
        foreign.kill()


def test_signals_to_what_is_not_there_reach_nobody(world: Guarded) -> None:
    stub = world.begin()
    stub.run("web/0", 1, launch("/bin/true"))
    stub.expect("ended")
    for to in ("main", "group", "tree"):
        stub.send("signal", instance="web/0", run=1, signal=9, to=to)
        assert stub.expect("signalled", to=to)["delivered"] == 0
    stub.send("signal", instance="web/9", run=1, signal=9, to="tree")
    assert stub.expect("signalled", instance="web/9")["delivered"] == 0
    stub.run("web/1", 1, launch("/bin/sleep", "600"))
    stub.send("signal", instance="web/1", run=1, signal=4000, to="main")
    assert stub.expect("signalled", instance="web/1")["delivered"] == 0


def test_the_folders_go_with_the_instance_and_with_the_guardian(world: Guarded) -> None:
    from tests.guardian.harness import cgroups_of

    stub = world.begin()
    if "cgroup" in stub.expect("welcome")["lacking"]:
        pytest.skip("no cgroup v2 here")
    stub.run("web/0", 1, launch("/bin/sleep", "600"))
    (base,) = cgroups_of(world.state)
    until((base / "web@0").is_dir)
    stub.send("signal", instance="web/0", run=1, signal=9, to="tree")
    stub.expect("ended")
    stub.send("ack", ended=[["web/0", 1]], head=None)
    stub.send("forget", instance="web/0")
    until(lambda: not (base / "web@0").exists(), 15.0)
    stub.send("exit", code=0)
    stub.exit()
    assert world.processes[0].wait(10) == 0
    assert cgroups_of(world.state) == []


def test_leftovers_belong_to_the_next_run(world: Guarded) -> None:
    """Who keeps them and starts again has one tree, not two."""
    stub = world.begin()
    marked = unique("666")
    stub.run("web/0", 1, shell(f"sleep {marked} & sleep 0.2"))
    assert stub.expect("ended")["leftovers"] == 1
    stub.run("web/0", 2, launch("/bin/sleep", "600"))
    stub.send("signal", instance="web/0", run=2, signal=9, to="tree")
    ended = stub.expect("ended", run=2)
    if ended["leftovers"]:
        stub.expect("tree_gone", run=2)
    until(lambda: not sleepers(world, marked))
    assert not [message for message in stub.heard if message.get("type") == "tree_gone"]

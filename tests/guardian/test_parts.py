"""Small parts of the guardian: folder names, set-up plans, the loop's timers, its arguments."""

import errno
import os
import resource
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.guardian import cgroups, launch, loop, processes, start
from droned.guardian.descriptors import Descriptors
from droned.guardian.ledger import Ledger
from droned.guardian.orders import RELEASE
from droned.guardian.orphans import Orphans
from droned.guardian.runs import Table
from droned.models.version import VERSION
from tests.guardian.harness import launch as order


@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=2, unique=True))
def test_folder_names_are_apart_safe_and_never_the_kernels(instances: list[str]) -> None:
    first, second = map(cgroups.folder_name, instances)
    assert first != second
    assert "/" not in first
    assert "@" in first


def test_a_folder_is_named_for_its_instance() -> None:
    assert cgroups.folder_name("web/0") == "web@0"
    assert cgroups.folder_name("cgroup.procs") == "cgroup.procs@"


def world(nofile: tuple[int, int] | None = None) -> launch.World:
    own = resource.getrlimit(resource.RLIMIT_NOFILE)
    return launch.World(
        state_id="x", ledger=Ledger("/nowhere", {}), null_fd=0, descriptors=Descriptors(nofile or own)
    )


@pytest.mark.parametrize("is_companions", [True, False])
def test_what_a_companion_has_started_is_no_stranger(
    is_companions: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    companion = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, start_new_session=True
    )
    assert companion.stdout is not None
    child = companion.stdout.readline()
    orphans = Orphans(Table(), None, None, "x", lambda message: None, ())
    if is_companions:
        orphans.companion_sessions = (companion.pid,)
    monkeypatch.setattr("droned.guardian.processes.main_thread_children", lambda: child)
    orphans.scan()
    found = [stranger["pid"] for stranger in orphans.strangers()]
    os.killpg(companion.pid, signal.SIGKILL)
    companion.stdout.close()
    companion.wait()
    assert found == ([] if is_companions else [int(child)])


def stages(changes: dict[str, Any], **arguments: Any) -> list[str]:
    made = launch.Setup({**order("/bin/true"), **changes}, "web/0", 1, world(**arguments))  # type: ignore[typeddict-item]
    return [stage for stage, _, _, _ in made.steps]


PERSONAL = {"env": {"HOME": "/", "USER": "x", "LOGNAME": "x", "SHELL": "/bin/sh"}}


def test_a_plain_start_takes_few_steps() -> None:
    assert stages(PERSONAL) == ["session", "descriptors", "directory", "exec", "signals", "exec"]


def test_the_order_of_a_set_up_is_fixed() -> None:
    everything = {
        **PERSONAL,
        "user": "www",
        "umask": 0o22,
        "nice": 1,
        "oom_score_adj": 5,
        "no_new_privs": True,
        "limits": {"core": [0, 0], "nofile": [10, 20]},
    }
    assert stages(everything) == [
        "session", "limits", "umask", "nice", "oom_score_adj", "descriptors", "descriptors",
        "user", "group", "groups", "identity", "verify", "user", "no_new_privs", "directory",
        "exec", "limits", "signals", "exec",
    ]  # fmt: skip


def test_apps_get_the_limit_that_the_guardian_was_given() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert stages(PERSONAL, nofile=(soft - 1, hard))[-3:] == ["limits", "signals", "exec"]


@pytest.mark.parametrize(
    ("stage", "changes"),
    [
        ("limits", {"limits": {"no-such": [1, 1]}}),
        ("limits", {"limits": {"core": [1]}}),
        ("exec", {"argv": []}),
        ("exec", {"argv": [""]}),
        ("exec", {"env": {"A=B": "c"}}),
        ("exec", {"env": {"": "c"}}),
        ("exec", {"env": {"A": "\0"}}),
        ("directory", {"directory": "a\0b"}),
        ("descriptors", {"stdout": "a\0b"}),
    ],
)
def test_what_no_child_could_do_is_seen_before_any_fork(stage: str, changes: dict[str, Any]) -> None:
    with pytest.raises(launch.Unlaunchable, match=r"^cannot prepare") as caught:
        stages(changes)
    assert (caught.value.stage, caught.value.errno) == (stage, errno.EINVAL)


def test_a_pipe_tells_stage_facts_and_failure() -> None:
    assert launch.Report(b"").stage == "session"
    directory = bytes((launch.STAGES.index("directory"),))
    assert launch.Report(directory).stage == "directory"
    facts = launch.Report(directory + b"F12,345,1.500000,7,8\n")
    assert (facts.has_facts, facts.start_time, facts.at, facts.is_unrecorded) == (True, 345, 1.5, False)
    assert facts.output == (7, 8)
    failed = launch.Report(b"L12,345,1.500000,0,0\n!%d,2\n" % launch.STAGES.index("exec"))
    assert (failed.stage, failed.errno, failed.is_unrecorded) == ("exec", 2, True)


def test_timers_fire_in_order_and_not_when_cancelled() -> None:
    waits = loop.Loop()
    fired: list[int] = []
    waits.later(0.02, lambda: fired.append(2))
    waits.later(0.0, lambda: fired.append(1))
    cancelled = waits.later(0.01, lambda: fired.append(9))
    cancelled.cancel()
    assert not cancelled.is_pending
    waits.later(0.03, waits.stop)
    waits.run()
    waits.close()
    assert fired == [1, 2]


def test_a_watch_that_ended_in_the_same_turn_is_not_called() -> None:
    waits = loop.Loop()
    pipes = [os.pipe() for _ in range(2)]
    called: list[int] = []

    def first(reader: int) -> None:
        called.append(reader)
        for other, _ in pipes:
            waits.unwatch(other)
        waits.stop()

    for reader, writer in pipes:
        os.write(writer, b"x")
        waits.watch(reader, loop.READ, lambda _events, reader=reader: first(reader))  # type: ignore[misc]
    waits.run()
    waits.close()
    assert len(called) == 1
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_processes_are_known_by_pid_and_start_time() -> None:
    own = processes.look(os.getpid())
    assert own is not None
    assert own.start_time == processes.start_time(os.getpid())
    assert processes.is_alive(own.pid, own.start_time)
    assert not processes.is_alive(own.pid, own.start_time + 1)
    assert processes.look(2**22 + 1) is None


def test_arguments_are_understood_or_refused() -> None:
    assert start.parsed(["--state", "/s", "--", "droned", "--state"]) == (
        {"--state": "/s"},
        ["droned", "--state"],
    )
    for wrong in (["--stat", "x"], ["--state"], ["stray"]):
        with pytest.raises(start.UsageError, match=r"^cannot"):
            start.parsed(wrong)


def test_the_guardian_says_the_release_it_is_of() -> None:
    """It may import nothing but itself, so it carries the number; this holds the two together."""
    assert RELEASE == VERSION


def test_own_entry_needs_no_name_service(tmp_path: Path) -> None:
    from droned.guardian.identity import own_entry

    entry = own_entry()
    assert entry is None or entry.pw_uid == os.geteuid()

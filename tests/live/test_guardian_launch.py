"""The guardian starts programs: what they find, and which stage is told when they cannot be started."""

import errno
import itertools
import json
import os
import resource
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.guardian.harness import Guarded, Stub, guarded, launch, state_id, until
from tests.running import AS_NOBODY, IS_ROOT, NOBODY

pytestmark = pytest.mark.live
# One that any user may execute, which the interpreter of a virtual environment need not be.
PYTHON = next(
    (path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), sys.executable
)
needs_root = pytest.mark.skipif(not IS_ROOT, reason="becomes other users")

LOOK = """
import json, os, resource, signal, sys
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
json.dump({
    "uid": os.getresuid(), "gid": os.getresgid(), "groups": sorted(os.getgroups()), "cwd": os.getcwd(),
    "umask": os.umask(0), "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
    "fsize": resource.getrlimit(resource.RLIMIT_FSIZE), "nice": os.nice(0),
    "oom": int(open("/proc/self/oom_score_adj").read()), "nnp": int(status["NoNewPrivs"]),
    "env": dict(os.environ), "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
    "blocked": status["SigBlk"], "ignored": status["SigIgn"],
    "sid": os.getsid(0), "pgid": os.getpgid(0), "pid": os.getpid(),
    "stdin": os.readlink("/proc/self/fd/0"), "same": os.fstat(1) == os.fstat(2),
}, sys.stdout)
"""


@pytest.fixture
def world() -> Iterator[Guarded]:
    with guarded() as made:
        yield made


@pytest.fixture
def stub(world: Guarded) -> Stub:
    return world.begin()


def look(world: Guarded, stub: Stub, **changes: Any) -> dict[str, Any]:
    """What a program sees of itself that was started with `changes`."""
    out = world.folder / "out"
    out.unlink(missing_ok=True)
    order = launch(
        PYTHON, "-S", "-E", "-c", LOOK, stdout=str(out), stderr=str(world.folder / "err"), **changes
    )
    run = 1 + len(list(world.folder.glob("looked-*")))
    (world.folder / f"looked-{run}").touch()
    stub.spawn("look/0", run, order)
    ended = stub.expect("ended", instance="look/0", run=run)
    assert ended["status"] == 0, (world.folder / "err").read_text()
    found: dict[str, Any] = json.loads(out.read_text())
    return found


def test_a_program_finds_a_clean_world(world: Guarded, stub: Stub) -> None:
    """Own session and group, no signal blocked or ignored, no descriptor of ours, the folder `/`."""
    seen = look(world, stub)
    assert seen["sid"] == seen["pgid"] == seen["pid"]
    assert seen["cwd"] == "/"
    assert seen["stdin"] == "/dev/null"
    assert not seen["same"]
    assert int(seen["blocked"], 16) == 0
    # Python itself ignores PIPE and XFSZ.
    assert int(seen["ignored"], 16) & ~(1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)) == 0
    assert [fd for fd in seen["fds"] if fd > 3] == []  # 3 is the listing of the folder
    assert seen["nofile"] == list(resource.getrlimit(resource.RLIMIT_NOFILE))
    assert {"HOME", "USER", "LOGNAME", "SHELL"} <= seen["env"].keys()
    assert seen["env"]["DRONED_RUN"] == f"{state_id(world.state)}/look/0/1"


def test_a_program_gets_what_was_asked_for(world: Guarded, stub: Stub) -> None:
    seen = look(
        world,
        stub,
        env={"PATH": os.environ["PATH"], "ODD": "a\udcffb", "HOME": "/elsewhere"},
        directory="/usr",
        umask=0o027,
        limits={"nofile": [100, 200], "fsize": [1 << 20, 1 << 20]},
        nice=15,
        oom_score_adj=300,
        no_new_privs=True,
    )
    assert seen["cwd"] == "/usr"
    assert seen["umask"] == 0o027
    assert seen["nofile"] == [100, 200]
    assert seen["fsize"] == [1 << 20, 1 << 20]
    assert seen["nice"] == 15
    assert seen["oom"] == 300
    assert seen["nnp"] == 1
    assert seen["env"]["ODD"] == "a\udcffb"
    assert seen["env"]["HOME"] == "/elsewhere"


@needs_root
def test_a_program_becomes_its_user_with_groups_and_home(world: Guarded, stub: Stub) -> None:
    seen = look(world, stub, user="nobody")
    assert seen["uid"] == [NOBODY] * 3
    assert seen["gid"] == [NOBODY] * 3
    assert 0 not in seen["groups"]
    assert seen["env"]["USER"] == "nobody"
    seen = look(world, stub, user=str(NOBODY), group="daemon", groups=["bin", 7])
    assert seen["gid"] == [1, 1, 1]
    assert seen["groups"] == [2, 7]


@needs_root
def test_output_belongs_to_the_user_and_can_be_opened_anew(world: Guarded, stub: Stub) -> None:
    out = world.folder / "app.log"
    order = launch("/bin/sh", "-c", "echo one; echo two >>/dev/stdout; echo three >&2", user="nobody")
    stub.run("web/0", 1, {**order, "stdout": str(out), "stderr": str(out), "umask": 0o077})
    stub.expect("ended", instance="web/0")
    assert out.read_text() == "one\ntwo\nthree\n"
    assert (out.stat().st_uid, stat.S_IMODE(out.stat().st_mode)) == (NOBODY, 0o640)


@needs_root
@pytest.mark.parametrize(
    ("stage", "number", "changes"),
    [
        ("exec", errno.ENOENT, {"argv": ["/nowhere/program"]}),
        ("exec", errno.ENOENT, {"argv": ["no-such-program-anywhere"]}),
        ("exec", errno.EACCES, {"argv": ["/etc/passwd"]}),
        ("exec", errno.EACCES, {"argv": ["/usr"]}),
        ("exec", errno.EINVAL, {"argv": []}),
        ("exec", errno.EINVAL, {"argv": ["/bin/true", "a\0b"]}),
        ("exec", errno.E2BIG, {"argv": ["/bin/true", "x" * 200_000]}),
        ("directory", errno.ENOENT, {"directory": "/nowhere"}),
        ("directory", errno.EACCES, {"directory": "/root", "user": "nobody"}),
        ("directory", errno.ENOTDIR, {"directory": "/etc/passwd"}),
        ("user", errno.ENOENT, {"user": "no-such-user"}),
        ("group", errno.ENOENT, {"group": "no-such-group"}),
        ("group", errno.ENOENT, {"user": 4_000_000}),
        ("groups", errno.ENOENT, {"groups": ["no-such-group"]}),
        ("limits", errno.EINVAL, {"limits": {"nofile": [20, 10]}}),
        ("limits", errno.EINVAL, {"limits": {"nothing": [1, 1]}}),
        ("oom_score_adj", errno.EINVAL, {"oom_score_adj": 5000}),
        ("descriptors", errno.ENOENT, {"stdout": "/nowhere/out"}),
        ("descriptors", errno.EISDIR, {"stdout": "/usr"}),
    ],
)
def test_a_failed_start_names_stage_and_errno(
    stub: Stub, stage: str, number: int, changes: dict[str, Any]
) -> None:
    order = {**launch("/bin/true"), **changes}
    if len(json.dumps(order)) > 60_000:
        stub.tell(send={"type": "spawn", "instance": "bad/0", "run": 1, "launch": order}, memfd=True)
    else:
        stub.spawn("bad/0", 1, order)
    failed = stub.expect("spawn_failed", instance="bad/0", run=1)
    assert (failed["stage"], failed["errno"]) == (stage, number)
    stub.run("bad/0", 2, launch("/bin/true"))  # and the next one is not held up


@needs_root
def test_a_link_in_the_place_of_an_output_file_is_refused(world: Guarded, stub: Stub) -> None:
    (world.folder / "out").symlink_to("/etc/passwd")
    stub.spawn("bad/0", 1, launch("/bin/true", stdout=str(world.folder / "out")))
    failed = stub.expect("spawn_failed")
    assert (failed["stage"], failed["errno"]) == ("descriptors", errno.ELOOP)


def test_a_set_up_that_hangs_is_killed_and_named(world: Guarded, stub: Stub) -> None:
    """Ten seconds without a result; others are started meanwhile."""
    fifo = world.folder / "fifo"
    os.mkfifo(fifo)
    stub.spawn("slow/0", 1, launch("/bin/true", stdout=str(fifo)))
    stub.run("quick/0", 1, launch("/bin/true"))
    stub.spawn("slow/0", 2, launch("/bin/true"))
    assert stub.expect("refused", instance="slow/0")["live_run"] == 1
    failed = stub.expect("spawn_failed", instance="slow/0", within_s=14.0)
    assert (failed["stage"], failed["errno"]) == ("timeout at descriptors", errno.ETIMEDOUT)

    runs = itertools.count(3)

    def starts_again() -> bool:
        run = next(runs)
        stub.spawn("slow/0", run, launch("/bin/true"))
        answer = stub.expect_any("spawned", "refused", run=run)
        return bool(answer["type"] == "spawned")

    until(starts_again)


def test_a_launch_too_large_for_a_packet_travels_in_a_memfd(world: Guarded, stub: Stub) -> None:
    out = world.folder / "out"
    env = {f"KEY_{number}": "x" * 100 for number in range(1000)}
    order = launch("/bin/sh", "-c", "echo ${#KEY_999}", stdout=str(out), env=env)
    stub.tell(send={"type": "spawn", "instance": "big/0", "run": 1, "launch": order}, memfd=True)
    stub.expect("ended", instance="big/0", status=0)
    assert out.read_text() == "100\n"


def test_the_table_refuses_a_second_life_and_an_old_number(stub: Stub) -> None:
    stub.run("web/0", 3, launch("/bin/sleep", "600"))
    stub.spawn("web/0", 4, launch("/bin/sleep", "600"))
    refused = stub.expect("refused", run=4)
    assert (refused["live_run"], refused["last_run"]) == (3, 3)
    stub.send("signal", instance="web/0", run=3, signal=int(signal.SIGKILL), to="main")
    stub.expect("ended", instance="web/0", status=int(signal.SIGKILL))
    stub.spawn("web/0", 3, launch("/bin/sleep", "600"))
    refused = stub.expect("refused", run=3)
    assert (refused["live_run"], refused["last_run"]) == (None, 3)
    stub.send("ack", ended=[["web/0", 3]], head=None)
    stub.send("forget", instance="web/0")
    stub.run("web/0", 1, launch("/bin/true"))


def test_a_signal_that_follows_its_order_finds_its_target(stub: Stub) -> None:
    """Even when both come in one packet: the child is whole when the signal takes effect."""
    for run in range(1, 21):
        stub.send_all(
            [
                {"type": "spawn", "instance": "web/0", "run": run, "launch": launch("/bin/sleep", "600")},
                {"type": "signal", "instance": "web/0", "run": run, "signal": 15, "to": "main"},
            ]
        )
        assert stub.expect("signalled", run=run)["delivered"] == 1
        stub.expect("spawned", run=run)
        assert stub.expect("ended", run=run)["status"] == signal.SIGTERM


def test_an_instance_starts_again_after_its_tree_was_killed(stub: Stub) -> None:
    """Killing a cgroup as a whole must not reach who is born into it later."""
    for run in range(1, 6):
        stub.run("web/0", run, launch("/bin/sleep", "600"))
        stub.send("signal", instance="web/0", run=run, signal=9, to="tree")
        assert stub.expect("ended", instance="web/0", run=run)["status"] == signal.SIGKILL


def test_a_thousand_ends_are_told_once_each_with_the_right_status(stub: Stub) -> None:
    orders = [
        {
            "type": "spawn",
            "instance": f"one/{number}",
            "run": 1,
            "launch": launch("/bin/sh", "-c", "kill -9 $$" if number % 10 == 0 else f"exit {number % 200}"),
        }
        for number in range(1000)
    ]
    stub.send_all(orders)
    ended = {message["instance"]: message["status"] for message in stub.expect_all("ended", 1000, 60.0)}
    assert ended == {f"one/{number}": 9 if number % 10 == 0 else number % 200 << 8 for number in range(1000)}
    assert not [message for message in stub.heard if message["type"] == "ended"]


def test_an_unprivileged_guardian_starts_programs(world: Guarded) -> None:
    if not IS_ROOT:
        pytest.skip("this is already so")
    world.folder.chmod(0o777)
    state = Path(world.state)
    state.mkdir()
    os.chown(state, NOBODY, NOBODY)
    os.chmod(world.folder / "test.sock", 0o777)
    stub = world.begin(wrapper=AS_NOBODY, python=PYTHON)
    seen = look(world, stub, user="nobody")
    assert seen["uid"] == [NOBODY] * 3
    stub.spawn("bad/0", 1, launch("/bin/true", user="root"))
    failed = stub.expect("spawn_failed", instance="bad/0")
    assert (failed["stage"], failed["errno"]) == ("identity", errno.EPERM)

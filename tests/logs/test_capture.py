"""A real `droned-logs` with the test in the place of the guardian: bytes, borders, runs, ends, requests."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logs.harness import Client, Keeper, keeper_in, wait_for

pytestmark = pytest.mark.live

WRITER = """
import os, sys
first, count, fd = map(int, sys.argv[1:])
lines = []
for number in range(first, first + count):
    lines.append(b"line %d of a program that says what it does\\n" % number)
    if len(lines) == 100:
        os.write(fd, b"".join(lines))
        lines.clear()
os.write(fd, b"".join(lines))
"""


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with keeper_in(tmp_path) as made:
        yield made


def writer(fd: int, count: int, first: int = 0) -> subprocess.Popen[bytes]:
    """A program that writes so many numbered lines to `fd`, as fast as it can."""
    return subprocess.Popen([sys.executable, "-c", WRITER, str(first), str(count), str(fd)], pass_fds=[fd])


def lines_of(count: int) -> bytes:
    return b"".join(b"line %d of a program that says what it does\n" % number for number in range(count))


def write_all(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def wait_indexed(keeper: Keeper, instance: str, size: int, stream: str = "output") -> None:
    wait_for(lambda: keeper.indexed().get((instance, stream)) == size, f"{size} bytes in the index")


def test_no_byte_is_lost_when_it_is_killed(keeper: Keeper) -> None:
    """Sixty kills at random moments under a program at full speed: all of it, once, in order, and indexed."""
    count = 3_000_000
    end = keeper.capture("web/0", max_size=65536, keep=100_000)
    program = writer(end, count)
    os.close(end)
    moments = random.Random(3)
    for _ in range(60):
        time.sleep(moments.uniform(0.0, 0.03))
        keeper.kill()
        keeper.start()
    program.wait()
    keeper.wait_drained("web/0:1:output")
    assert keeper.go() == 0
    expected = lines_of(count)
    segments = keeper.segments("web/0")
    assert keeper.content("web/0") == expected
    assert keeper.indexed() == {("web/0", "output"): len(expected)}
    assert len(segments) > 100
    assert all(content.endswith(b"\n") for _, content in segments)
    assert all(65536 <= len(content) < 65536 + 100 for _, content in segments[:-1])
    assert len(keeper.facts("began")) == 1


def test_without_splice_nothing_differs_but_for_kills(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    keeper.start({"DRONED_WITHOUT": "splice"})
    try:
        end = keeper.capture("web/0", max_size=65536, keep=100_000)
        program = writer(end, 100_000)
        os.close(end)
        program.wait()
        keeper.wait_drained("web/0:1:output")
        assert keeper.content("web/0") == lines_of(100_000)
        assert all(65536 <= len(content) < 65536 + 100 for _, content in keeper.segments("web/0")[:-1])
    finally:
        keeper.close()


@pytest.mark.parametrize("environment", [{}, {"DRONED_WITHOUT": "splice"}])
def test_bytes_are_bytes(tmp_path: Path, environment: dict[str, str]) -> None:
    """No newline, all values of a byte, a line far longer than a segment."""
    keeper = Keeper(tmp_path)
    keeper.start(environment)
    try:
        binary = bytes(range(256)) * 5000
        long_line = b"x" * 20_000_000
        end = keeper.capture("web/0", max_size=10_000, keep=100_000)
        write_all(end, binary + long_line + b"\nlast")
        os.close(end)
        keeper.wait_drained("web/0:1:output")
        assert keeper.content("web/0") == binary + long_line + b"\nlast"
        sizes = [len(content) for _, content in keeper.segments("web/0")]
        assert max(sizes) <= 12_500
    finally:
        keeper.close()


def test_only_the_newest_segments_are_kept(keeper: Keeper) -> None:
    end = keeper.capture("web/0", max_size=10_000, keep=3)
    write_all(end, lines_of(10_000))
    os.close(end)
    keeper.wait_drained("web/0:1:output")
    assert len(keeper.segments("web/0")) <= 4
    assert lines_of(10_000).endswith(keeper.content("web/0"))
    newest = max(path.name for path in (keeper.folder / "web/0").glob("output-*"))
    assert os.readlink(keeper.folder / "web/0" / "output.log") == newest


def test_nothing_is_deleted_before_its_policy_is_told(keeper: Keeper) -> None:
    """A new process knows no policy at first: what the default one would not keep may be asked for."""
    end = keeper.capture("web/0", max_size=10_000, keep=50)
    write_all(end, lines_of(10_000))
    os.close(end)
    keeper.wait_drained("web/0:1:output")
    before = [start for start, _ in keeper.segments("web/0")]
    assert len(before) > 10
    keeper.kill()
    keeper.start()
    with Client(keeper.folder) as client:
        assert client.ask({"do": "settings", "total_bytes": None, "policies": {}}) == {"id": 1}
        assert [start for start, _ in keeper.segments("web/0")] == before
        told = {"do": "settings", "total_bytes": None, "policies": {"web/0": {"keep": 3}}}
        assert client.ask(told) == {"id": 1}
        assert len(keeper.segments("web/0")) <= 4


def test_the_whole_host_has_a_cap(keeper: Keeper) -> None:
    ends = [keeper.capture(f"web/{number}", max_size=50_000, keep=1000) for number in range(4)]
    with Client(keeper.folder) as client:
        assert client.ask({"do": "settings", "total_bytes": 500_000, "policies": {}}) == {"id": 1}
        for _ in range(20):
            for end in ends:
                write_all(end, lines_of(1000))
            total = client.ask({"do": "usage"})["total_bytes"]
            assert total < 500_000 + 4 * 50_000
        for number in range(4):
            wait_indexed(keeper, f"web/{number}", 20 * len(lines_of(1000)))
        client.ask({"do": "usage"})  # what it deletes after that is gone as well
        for number in range(4):
            assert keeper.segments(f"web/{number}")
    for end in ends:
        os.close(end)


def test_a_noisy_one_does_not_cost_the_others_their_lines(keeper: Keeper) -> None:
    quiet = [keeper.capture(f"quiet/{number}", max_size=50_000, keep=1000) for number in range(3)]
    for number, end in enumerate(quiet):
        write_all(end, lines_of(1000))
        wait_indexed(keeper, f"quiet/{number}", len(lines_of(1000)))
    noisy = keeper.capture("noisy/0", max_size=50_000, keep=1000)
    with Client(keeper.folder) as client:
        client.ask({"do": "rotate", "instances": ["quiet/0"]})
        client.ask({"do": "settings", "total_bytes": 1_000_000, "policies": {}})
        for _ in range(30):
            write_all(noisy, lines_of(10_000))
        wait_for(lambda: client.ask({"do": "usage"})["total_bytes"] < 1_000_000)
    for number in range(3):
        assert keeper.content(f"quiet/{number}") == lines_of(1000)
    assert len(keeper.segments("noisy/0")) > 1
    for end in (*quiet, noisy):
        os.close(end)


def test_a_run_is_told_with_its_offsets(keeper: Keeper) -> None:
    out, err = keeper.capture("web/0", 1, "stdout"), keeper.capture("web/0", 1, "stderr")
    os.write(out, b"hello\n")
    wait_indexed(keeper, "web/0", 6, "stdout")
    os.write(err, b"oh\n")
    keeper.end_run("web/0", 1, 256)
    again = keeper.capture("web/0", 2, "stdout")
    (ended,) = wait_for(lambda: keeper.facts("ended"))
    wait_for(lambda: len(keeper.facts("began")) == 2)
    assert ended["offsets"] == {"stdout": 6, "stderr": 3}
    assert ended["status"] == 256
    assert [fact["run"] for fact in keeper.facts("began")] == [1, 2]
    assert keeper.facts("began")[1]["offsets"] == {"stdout": 6, "stderr": 3}
    for fd in (out, err, again):
        os.close(fd)


def test_a_run_is_told_once_over_a_restart(keeper: Keeper) -> None:
    end = keeper.capture("web/0", 1)
    wait_for(lambda: keeper.facts("began"))
    keeper.kill()
    keeper.start()
    os.write(end, b"more\n")
    wait_indexed(keeper, "web/0", 5)
    keeper.end_run("web/0", 1)
    wait_for(lambda: keeper.facts("ended"))
    keeper.kill()
    keeper.start()
    keeper.end_run("web/0", 1)
    keeper.send({"type": "ping", "n": 7})
    keeper.wait_message("pong", n=7)
    assert keeper.go() == 0
    assert len(keeper.facts("began")) == len(keeper.facts("ended")) == 1
    os.close(end)


def test_a_descendant_may_hold_a_pipe(keeper: Keeper) -> None:
    """The end of a run waits for nobody; what comes later is captured, and the end of the pipe told then."""
    end = keeper.capture("web/0", 1)
    descendant = os.dup(end)
    os.write(end, b"from the run\n")
    os.close(end)
    keeper.end_run("web/0", 1)
    (ended,) = wait_for(lambda: keeper.facts("ended"))
    assert ended["offsets"] == {"output": 13}
    os.write(descendant, b"and after it\n")
    wait_indexed(keeper, "web/0", 26)
    keeper.pump()
    assert not [message for message in keeper.messages if message["type"] == "drained"]
    os.close(descendant)
    keeper.wait_drained("web/0:1:output")


def test_the_last_lines_of_a_failure_are_kept_in_order(keeper: Keeper) -> None:
    out, err = keeper.capture("web/0", 1, "stdout"), keeper.capture("web/0", 1, "stderr")
    size = {"stdout": 0, "stderr": 0}
    for number in range(30):
        for name, fd in (("stdout", out), ("stderr", err)):
            size[name] += os.write(fd, b"%d\xff\n" % number)
            wait_indexed(keeper, "web/0", size[name], name)
    os.write(err, b"no newline")
    keeper.end_run("web/0", 1, 9)
    path = keeper.folder / "web/0/last-1.json"
    wait_for(path.exists)
    told = json.loads(path.read_text())
    expected = [
        {"stream": name, "line": f"{number}\udcff"} for number in range(30) for name in ("stdout", "stderr")
    ]
    assert told["lines"] == [*expected, {"stream": "stderr", "line": "no newline"}][-40:]
    assert (told["run"], told["status"], told["is_first"]) == (1, 9, True)
    os.close(out)
    os.close(err)


def test_of_failures_the_newest_and_the_first_are_kept(keeper: Keeper) -> None:
    def kept() -> set[str]:
        return {path.name for path in (keeper.folder / "web/0").glob("last-*")}

    for run in range(1, 9):
        os.close(keeper.capture("web/0", run))
        keeper.wait_drained(f"web/0:{run}:output")
        keeper.end_run("web/0", run, 256)
    wait_for(lambda: "last-8.json" in kept())
    wait_for(lambda: kept() == {f"last-{run}.json" for run in (1, 4, 5, 6, 7, 8)})


def test_clear_rotate_and_usage(keeper: Keeper) -> None:
    end = keeper.capture("web/0")
    os.write(end, b"a" * 1000 + b"\n")
    wait_indexed(keeper, "web/0", 1001)
    with Client(keeper.folder) as client:
        assert client.ask({"do": "rotate", "instances": ["web/0", "nobody/0"]}) == {"id": 1, "rotated": 1}
        assert client.ask({"do": "rotate", "instances": ["web/0"]}) == {"id": 1, "rotated": 0}
        os.write(end, b"b\n")
        wait_indexed(keeper, "web/0", 1003)
        assert [start for start, _ in keeper.segments("web/0")] == [0, 1001]
        usage = client.ask({"do": "usage"})
        assert usage["instances"] == {"web/0": {"bytes": 1003, "segments": 2, "lost_bytes": 0}}
        assert client.ask({"do": "clear", "instances": ["web/0"]})["bytes"] >= 1003
        assert not keeper.segments("web/0")
        os.write(end, b"c\n")
        wait_indexed(keeper, "web/0", 1005)
    assert keeper.segments("web/0") == [(1003, b"c\n")]
    assert keeper.facts("cleared") == [{"fact": "cleared", "instance": "web/0"}]
    os.close(end)


def test_a_watcher_is_told_and_a_slow_one_waits_for_itself(keeper: Keeper) -> None:
    end = keeper.capture("web/0")
    with Client(keeper.folder) as quick, Client(keeper.folder) as slow:
        for client in (quick, slow):
            client.send({"do": "watch"})
            assert client.receive() == {"position": 0}
        size = 0
        for _ in range(2000):
            size += os.write(end, b"x" * 99 + b"\n")
        while quick.receive()["position"] != size:
            pass
        while slow.receive()["position"] != size:
            pass
    os.close(end)


@pytest.mark.parametrize("packet", [b"\xff", b"[1]", b"{", b'{"id":[]}', b"[" * 60000])
def test_who_sends_nonsense_is_told_and_dropped(keeper: Keeper, packet: bytes) -> None:
    with Client(keeper.folder) as client:
        client.send(packet)
        assert "cannot" in client.receive()["error"]
        with pytest.raises((EOFError, ConnectionResetError)):
            client.receive()
    end = keeper.capture("web/0")
    os.write(end, b"still here\n")
    wait_indexed(keeper, "web/0", 11)
    os.close(end)


@pytest.mark.parametrize(
    "request_",
    [
        {"do": "fly"},
        {"do": "rotate"},
        {"do": "clear", "instances": "web/0"},
        {"do": "settings", "total_bytes": -1},
        {"do": "settings", "policies": {"web/0": {"max_size": 1}}},
        {"do": "settings", "policies": {"web/0": {"keep": True}}},
        {"do": "own", "instance": "../x"},
        {"do": "own", "instance": "droned/log"},
    ],
)
def test_what_cannot_be_done_is_answered(keeper: Keeper, request_: dict[str, object]) -> None:
    with Client(keeper.folder) as client:
        assert "cannot" in client.ask(request_)["error"]
        assert "last" in client.ask({"do": "usage"})


def test_the_daemons_own_pipe_is_captured(keeper: Keeper) -> None:
    read_end, write_end = os.pipe()
    with Client(keeper.folder) as client:
        assert client.ask({"do": "own", "instance": "droned/log", "policy": {}}, (read_end,)) == {"id": 1}
    os.close(read_end)
    os.write(write_end, b"a line of the daemon\n")
    wait_indexed(keeper, "droned/log", 21)
    os.close(write_end)
    assert keeper.content("droned/log") == b"a line of the daemon\n"


def test_a_new_guardian_gets_everything_back(keeper: Keeper) -> None:
    end = keeper.capture("web/0", 3)
    os.write(end, b"before\n")
    wait_indexed(keeper, "web/0", 7)
    assert keeper.sock is not None
    keeper.sock.close()
    os.write(end, b"alone\n")
    wait_indexed(keeper, "web/0", 13)
    client = Client(keeper.folder)
    client.send({"do": "attach"})
    client.sock.setblocking(False)
    keeper.sock, keeper.messages = client.sock, []
    keeper.wait_message("ready")
    keeper.wait_message("captured_all")
    (captured,) = [message for message in keeper.messages if message["type"] == "captured"]
    assert captured["name"] == "web/0:3:output"
    assert json.loads(captured["policy"])["compress"] is False
    os.close(end)
    keeper.wait_drained("web/0:3:output")


def test_a_second_one_does_not_start(keeper: Keeper) -> None:
    """It waits for a predecessor that is about to go, and not for one that stays."""
    command = [sys.executable, "-I", "-S", "-E", *keeper.command()]
    second = subprocess.Popen(command)
    time.sleep(0.2)
    assert second.poll() is None
    assert keeper.go() == 0
    wait_for((keeper.folder / ".socket").exists)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.3)
    third = subprocess.run(command, capture_output=True)
    assert third.returncode == 75
    assert b"another process" in third.stderr
    second.terminate()
    assert second.wait(10) == 0


@pytest.mark.parametrize(
    "arguments", [[], ["--state"], ["--fly", "1"], ["--state", "/x", "--guardian-fd", "x"]]
)
def test_wrong_arguments_are_refused(keeper: Keeper, arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-I", keeper.command()[0], *arguments], capture_output=True)
    assert done.returncode == 64
    assert b"cannot" in done.stderr


def test_what_it_was_told_outlives_it(keeper: Keeper) -> None:
    """The cap, and how an instance is treated that nobody tells it of after a restart."""
    end = keeper.capture("web/0", max_size=10_000, keep=50)
    write_all(end, lines_of(5_000))
    os.close(end)
    keeper.wait_drained("web/0:1:output")
    before = keeper.segments("web/0")
    assert len(before) > 10
    with Client(keeper.folder) as client:
        client.ask({"do": "settings", "total_bytes": 400_000, "policies": {}})
    settings = keeper.folder / ".settings"
    wait_for(lambda: settings.exists() and b"400000" in settings.read_bytes())
    keeper.kill()
    keeper.start()
    other = keeper.capture("web/1", max_size=10_000, keep=50)
    os.write(other, b"x\n")
    wait_indexed(keeper, "web/1", 2)
    assert keeper.segments("web/0") == before
    write_all(other, lines_of(10_000))
    wait_indexed(keeper, "web/1", 2 + len(lines_of(10_000)))
    with Client(keeper.folder) as client:
        assert client.ask({"do": "usage"})["total_bytes"] < 450_000
    os.close(other)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"total_bytes": "x", "policies": []}', b"\xff"])
def test_settings_that_cannot_be_read_are_none(keeper: Keeper, content: bytes) -> None:
    keeper.kill()
    (keeper.folder / ".settings").write_bytes(content)
    keeper.start()
    end = keeper.capture("web/0")
    os.write(end, b"x\n")
    wait_indexed(keeper, "web/0", 2)
    os.close(end)


def test_what_others_have_put_there_is_left_alone(keeper: Keeper) -> None:
    """Logs of the time before, folders with odd names: nobody is kept from being captured by them."""
    assert keeper.go() == 0
    (keeper.folder / "web").mkdir()
    old = keeper.folder / "web" / "0.stdout.log"
    old.write_bytes(b"old\n")
    (keeper.folder / "web/1/odd.new").mkdir(parents=True)
    (keeper.folder / "notes").write_bytes(b"by hand\n")
    keeper.start()
    for number in (0, 1):
        end = keeper.capture(f"web/{number}", 1, "stdout")
        os.write(end, b"new\n")
        wait_indexed(keeper, f"web/{number}", 4, "stdout")
        os.close(end)
    assert old.read_bytes() == b"old\n"
    assert (keeper.folder / "notes").exists()

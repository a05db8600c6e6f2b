"""A disk that is full: what is dropped and told, what waits, and that it goes on."""

import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.logs.harness import Client, Keeper, keeper_in, wait_for

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(os.getuid() != 0 or shutil.which("mount") is None, reason="a small disk needs root"),
]
LINE = b"a line of a program that fills the disk\n"


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    """Its folder is a disk of two megabytes, not below those that another pytest may be tidying up."""
    disk = Path(tempfile.mkdtemp(prefix="droned-full-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)])
    if mounted.returncode:
        disk.rmdir()
        pytest.skip("nothing may be mounted here")
    try:
        with keeper_in(disk) as made:
            yield made
    finally:
        # The processes that it had started die with it, a moment later.
        wait_for(lambda: subprocess.run(["umount", str(disk)], capture_output=True).returncode == 0)
        disk.rmdir()


def fill(folder: Path) -> Path:
    """Take all the room there is."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                pass
    return path


def feed(end: int, lines: int) -> threading.Thread:
    """Write so many lines, from a thread: the pipe may be full for a while."""

    def write() -> None:
        for _ in range(lines):
            os.write(end, LINE)

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def usage_of(client: Client) -> dict[str, Any]:
    row: dict[str, Any] = client.ask({"do": "usage"})["instances"]["web/0"]
    return row


def test_rotated_segments_make_room(keeper: Keeper) -> None:
    """`drop`: of 8 MB on a disk of 2 the newest are there, and nothing was thrown away."""
    end = keeper.capture("web/0", max_size=100_000, keep=1000)
    count = 200_000
    feed(end, count).join(30)
    os.close(end)
    keeper.wait_drained("web/0:1:output")
    content = keeper.content("web/0")
    assert len(content) > 1_000_000
    assert content == LINE * (len(content) // len(LINE))
    (start, _), *_ = keeper.segments("web/0")
    assert start + len(content) == count * len(LINE)
    assert not keeper.facts("lost")


def test_what_is_dropped_is_counted_and_told(keeper: Keeper) -> None:
    end = keeper.capture("web/0")
    os.write(end, LINE)
    wait_for(lambda: keeper.content("web/0") == LINE)
    ballast = fill(keeper.state)
    count = 50_000
    thread = feed(end, count)
    thread.join(30)
    assert not thread.is_alive()
    with Client(keeper.folder) as client:
        row = wait_for(lambda: (each := usage_of(client)).get("lost_bytes") and each)
        assert (row["trouble"], row["lost_ago_s"] < 10) == ("disk full", True)
        ballast.unlink()
        wait_for(lambda: b"[droned: " in keeper.content("web/0"), "what was lost")
        row = wait_for(lambda: "trouble" not in (each := usage_of(client)) and each)
        assert row["lost_bytes"] > 0
    os.write(end, b"after\n")
    wait_for(lambda: keeper.content("web/0").endswith(b"after\n"))
    os.close(end)
    keeper.wait_drained("web/0:1:output")
    assert keeper.go() == 0
    content = keeper.content("web/0")
    told = re.findall(rb"\[droned: ([0-9]+) bytes lost, the disk was full\]\n", content)
    lost = sum(map(int, told))
    rest = re.sub(rb"\n?\[droned: [0-9]+ bytes lost, the disk was full\]\n", b"", content)
    facts = keeper.facts("lost")
    assert lost > 1_000_000
    assert sum(fact["bytes"] for fact in facts) == lost
    assert all(fact["reason"] == "disk full" for fact in facts)
    assert all(b"[droned: " in content[fact["offset"] : fact["offset"] + 12] for fact in facts)
    written = (count + 1) * len(LINE) + len(b"after\n")
    assert 0 <= written - lost - len(rest) <= len(told)  # a newline before a mark may be ours
    assert keeper.indexed() == {("web/0", "output"): len(content)}


def test_a_program_may_be_had_to_wait(keeper: Keeper) -> None:
    """`block`: no byte is lost, and no processor is used meanwhile."""
    end = keeper.capture("web/0", when_full="block")
    os.write(end, LINE)
    wait_for(lambda: keeper.content("web/0") == LINE)
    ballast = fill(keeper.state)
    count = 20_000
    thread = feed(end, count)
    assert keeper.process is not None
    time.sleep(0.5)
    before = cpu_ticks(keeper.process.pid)
    time.sleep(1.5)
    assert thread.is_alive()
    assert cpu_ticks(keeper.process.pid) - before <= 3
    ballast.unlink()
    thread.join(30)
    os.close(end)
    keeper.wait_drained("web/0:1:output")
    assert keeper.content("web/0") == LINE * (count + 1)
    assert keeper.go() == 0
    assert keeper.indexed() == {("web/0", "output"): (count + 1) * len(LINE)}


def test_others_are_captured_while_one_waits(keeper: Keeper, tmp_path: Path) -> None:
    """And a run may end on a full disk: nothing hangs, and it is told once there is room."""
    blocked = keeper.capture("web/0", when_full="block")
    other = keeper.capture("web/1")
    ballast = fill(keeper.state)
    os.write(blocked, LINE)
    feed(other, 10_000).join(30)
    keeper.end_run("web/0", 1, 256)
    keeper.send({"type": "ping", "n": 1})
    keeper.wait_message("pong", n=1)
    ballast.unlink()
    wait_for(lambda: keeper.content("web/0") == LINE)
    wait_for(lambda: keeper.facts("ended"))
    os.close(blocked)
    os.close(other)
    keeper.wait_drained("web/0:1:output")
    keeper.wait_drained("web/1:1:output")


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_another_format_waits_for_room_and_is_whole(keeper: Keeper) -> None:
    end = keeper.capture("web/0", format="json", max_size=10_000_000)
    os.write(end, b"first\n")
    path = keeper.folder / "web/0/output.jsonl"
    wait_for(lambda: path.exists() and path.read_bytes().count(b"\n") == 1)
    count = 9_000
    feed(end, count).join(30)  # its lines in JSON do not fit
    wait_for(lambda: keeper.indexed()["web/0", "output"] == count * len(LINE) + 6)
    ballast = fill(keeper.state)
    os.write(end, b"last\n")
    time.sleep(1.5)
    ballast.unlink()
    wait_for(lambda: path.read_bytes().count(b"\n") == count + 2, "all lines")
    os.close(end)

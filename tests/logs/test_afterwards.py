"""What is made of segments by processes of their own: compressed ones, and lines in other formats."""

import gzip
import json
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logs.harness import Client, Keeper, keeper_in, wait_for
from tests.logs.test_capture import lines_of, wait_indexed, write_all

pytestmark = pytest.mark.live


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with keeper_in(tmp_path) as made:
        yield made


def grow_old(folder: Path) -> None:
    """Have all segments that are there look as if they had been written long ago."""
    for path in folder.glob("output-*.log"):
        os.utime(path, (time.time() - 300, time.time() - 300))


def children_of(pid: int, program: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and program in (path / "cmdline").read_text():
                found.append(int(path.name))
        except (OSError, IndexError):
            pass
    return found


def test_segments_are_compressed_once_they_have_rested(keeper: Keeper) -> None:
    end = keeper.capture("web/0", max_size=50_000, keep=100, compress=True)
    write_all(end, lines_of(10_000))
    wait_indexed(keeper, "web/0", len(lines_of(10_000)))
    folder = keeper.folder / "web/0"
    assert not list(folder.glob("*.gz"))
    assert keeper.go() == 0
    grow_old(folder)
    keeper.start()
    wait_for(lambda: len(list(folder.glob("output-*.log"))) == 1, "all but the last compressed")
    assert keeper.content("web/0") == lines_of(10_000)
    os.write(end, b"more\n")
    wait_indexed(keeper, "web/0", len(lines_of(10_000)) + 5)
    with Client(keeper.folder) as client:
        size = sum(path.stat().st_size for path in folder.glob("output-*"))
        wait_for(lambda: client.ask({"do": "usage"})["instances"]["web/0"]["bytes"] == size)
    os.close(end)


def test_a_compression_that_was_cut_short_leaves_the_raw_one(keeper: Keeper) -> None:
    """A part of a file goes; a whole one beside its raw segment takes its place."""
    end = keeper.capture("web/0", max_size=50_000, keep=100)
    write_all(end, lines_of(5_000))
    wait_indexed(keeper, "web/0", len(lines_of(5_000)))
    keeper.kill()
    folder = keeper.folder / "web/0"
    first, second, *_ = sorted(folder.glob("output-*.log"))
    Path(f"{first}.gz.part").write_bytes(b"torn")
    Path(f"{second}.gz").write_bytes(gzip.compress(second.read_bytes()))
    keeper.start()
    assert not Path(f"{first}.gz.part").exists()
    assert first.exists()
    assert not second.exists()
    assert keeper.content("web/0") == lines_of(5_000)
    os.close(end)


def test_all_segments_may_be_compressed(keeper: Keeper) -> None:
    """The last one was rotated by hand: what comes next goes on at its end, with an index or without."""
    end = keeper.capture("web/0", compress=True)
    write_all(end, lines_of(50_000))
    size = len(lines_of(50_000))
    wait_indexed(keeper, "web/0", size)
    for is_index_lost in (False, True):
        with Client(keeper.folder) as client:
            client.ask({"do": "rotate", "instances": ["web/0"]})
        keeper.kill()
        folder = keeper.folder / "web/0"
        grow_old(folder)
        keeper.start()
        with Client(keeper.folder) as client:
            client.ask({"do": "rotate", "instances": ["web/0"]})
        keeper.kill()
        for path in folder.glob("output-*.log"):
            Path(f"{path}.gz").write_bytes(compressed(path.read_bytes()))
            path.unlink()
        if is_index_lost:
            for path in (keeper.folder / ".index").iterdir():
                path.unlink()
        keeper.start()
        os.write(end, b"more\n")
        size += 5
        wait_indexed(keeper, "web/0", size)
        assert len(keeper.content("web/0")) == size
    os.close(end)


def compressed(content: bytes) -> bytes:
    from droned.logs.format import MEMBER_TEXT_BYTES, gzip_member

    starts = range(0, len(content), MEMBER_TEXT_BYTES)
    return b"".join(gzip_member(content[at : at + MEMBER_TEXT_BYTES], 1) for at in starts)


def output_of(folder: Path, name: str) -> bytes:
    """All of a derived file, the older ones first; nothing where it was rotated meanwhile."""
    paths = sorted(
        folder.glob(f"{name}*"), key=lambda path: -int(path.suffix[1:] if path.suffix[1:].isdigit() else 0)
    )
    try:
        return b"".join(path.read_bytes() for path in paths if not path.name.endswith((".at", ".new")))
    except FileNotFoundError:
        return b""


def test_lines_are_written_in_another_format_as_well(keeper: Keeper) -> None:
    stamped = keeper.capture("web/0", format="stamped")
    as_json = keeper.capture("web/1", format="json")
    for end in (stamped, as_json):
        os.write(end, b'one "quoted"\ntwo \xff\n')
        os.write(end, b"no newline")
        os.close(end)
    for number in (0, 1):
        keeper.wait_drained(f"web/{number}:1:output")
        keeper.end_run(f"web/{number}")
    one, two = keeper.folder / "web/0/output.stamped.log", keeper.folder / "web/1/output.jsonl"
    wait_for(lambda: one.exists() and one.read_bytes().count(b"\n") == 3)
    wait_for(lambda: two.exists() and two.read_bytes().count(b"\n") == 3)
    texts = [line.split(b" ", 1) for line in one.read_bytes().splitlines()]
    assert [text for _, text in texts] == [b'one "quoted"', b"two \xff", b"no newline"]
    objects = [json.loads(line) for line in two.read_bytes().splitlines()]
    assert [line["line"] for line in objects] == ['one "quoted"', "two \udcff", "no newline"]
    assert {(line["instance"], line["run"], line["stream"]) for line in objects} == {("web/1", 1, "output")}
    assert (
        abs(
            time.time()
            - time.mktime(time.strptime(objects[0]["at"][:19], "%Y-%m-%dT%H:%M:%S"))
            + time.timezone
        )
        < 60
    )
    assert keeper.content("web/0") == b'one "quoted"\ntwo \xff\nno newline'


def test_derived_lines_are_there_once_whatever_is_killed(keeper: Keeper) -> None:
    """Kills of the formatter alone and of both, with many rotations."""
    end = keeper.capture("web/0", format="json", max_size=300_000, keep=1000)
    moments = random.Random(5)
    expected = []
    for step in range(20):
        lines = [b"step %d line %d" % (step, number) for number in range(1500)]
        expected += lines
        write_all(end, b"\n".join(lines) + b"\n")
        time.sleep(moments.uniform(0, 0.1))
        assert keeper.process is not None
        if step % 4 == 3:
            keeper.kill()
            keeper.start()
        else:
            for pid in children_of(keeper.process.pid, "formatter.py"):
                os.kill(pid, signal.SIGKILL)
    folder = keeper.folder / "web/0"
    wait_for(lambda: output_of(folder, "output.jsonl").count(b"\n") >= len(expected), "all lines")
    lines_found = [
        json.loads(line)["line"].encode() for line in output_of(folder, "output.jsonl").splitlines()
    ]
    assert lines_found == expected
    assert len(list(folder.glob("output.jsonl.*"))) > 3
    os.close(end)


def copies_in(folder: Path) -> list[Path]:
    return [path for path in folder.glob("output.jsonl*") if not path.name.endswith((".at", ".new"))]


def test_copies_are_counted_and_go_for_the_cap(keeper: Keeper) -> None:
    """The cap holds for all that a stream has, but for one file that nobody has looked at."""
    end = keeper.capture("web/0", format="json", max_size=50_000, keep=1000)
    folder = keeper.folder / "web/0"
    with Client(keeper.folder) as client:
        client.ask({"do": "settings", "total_bytes": 1_000_000})

        def size_on_disk() -> int:
            try:
                return sum(path.stat().st_size for path in copies_in(folder) + list(folder.glob("output-*")))
            except FileNotFoundError:
                return -1

        def is_counted() -> bool:
            return bool(client.ask({"do": "usage"})["instances"]["web/0"]["bytes"] == size_on_disk())

        for _ in range(3):
            write_all(end, lines_of(3_000))
        wait_for(lambda: len(copies_in(folder)) > 3)
        wait_for(is_counted)
        for _ in range(30):
            write_all(end, lines_of(3_000))
            wait_for(is_counted)
            assert size_on_disk() < 1_500_000
        wait_for(lambda: 500_000 < size_on_disk() < 1_050_000, "the cap to hold")
        assert len(copies_in(folder)) > 1
        assert len(keeper.segments("web/0")) > 1
    os.close(end)


def test_fewer_copies_are_kept_as_soon_as_fewer_are_asked_for(keeper: Keeper) -> None:
    end = keeper.capture("web/0", format="json", max_size=20_000, keep=1000)
    folder = keeper.folder / "web/0"
    write_all(end, lines_of(20_000))
    wait_for(lambda: output_of(folder, "output.jsonl").count(b"\n") == 20_000)
    assert len(copies_in(folder)) > 10
    policy = {"format": "json", "max_size": 20_000, "keep": 3, "compress": False}
    with Client(keeper.folder) as client:
        client.ask({"do": "settings", "total_bytes": None, "policies": {"web/0": policy}})
    newest = {"output.jsonl", "output.jsonl.1", "output.jsonl.2", "output.jsonl.3"}
    wait_for(lambda: {path.name for path in copies_in(folder)} == newest, "all but the newest to go")
    (folder / "output.jsonl.7").write_bytes(b"of before\n")
    write_all(end, lines_of(2_000))
    wait_for(lambda: {path.name for path in copies_in(folder)} == newest, "it to go at a rotation")
    os.close(end)

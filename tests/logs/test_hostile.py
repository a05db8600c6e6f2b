"""What programs, clients and people do to `droned-logs` that nobody should: it is nobody else's trouble."""

import fcntl
import os
import resource
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.logs.harness import PROGRAM, Client, Keeper, keeper_in, wait_for
from tests.logs.test_capture import lines_of, wait_indexed, write_all

pytestmark = pytest.mark.live


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    with keeper_in(tmp_path) as made:
        yield made


def test_a_program_that_makes_packets_of_its_output_holds_up_nobody(keeper: Keeper) -> None:
    """A pipe in packet mode gives one packet a read: what is looked at to find a line's end must all go."""
    rude = keeper.capture("rude/0", max_size=4096, keep=100)
    fcntl.fcntl(rude, fcntl.F_SETFL, fcntl.fcntl(rude, fcntl.F_GETFL) | os.O_DIRECT)
    good = keeper.capture("good/0", max_size=4096, keep=100)
    os.write(rude, b"x" * 4096)
    wait_indexed(keeper, "rude/0", 4096)
    for count in range(4096 + 6, 4096 + 600, 6):
        for _ in range(6):
            os.write(rude, b"x")
        wait_indexed(keeper, "rude/0", count)
    write_all(good, lines_of(2000))
    wait_indexed(keeper, "good/0", len(lines_of(2000)))
    assert keeper.content("good/0") == lines_of(2000)
    assert all(content.endswith(b"\n") for _, content in keeper.segments("good/0"))
    os.close(rude)
    os.close(good)


def test_without_descriptors_for_clients_it_waits_and_does_not_spin(keeper: Keeper) -> None:
    assert keeper.process is not None
    pid = keeper.process.pid
    end = keeper.capture("web/0")
    os.write(end, b"one\n")
    wait_indexed(keeper, "web/0", 4)
    most = max(int(name) for name in os.listdir(f"/proc/{pid}/fd")) + 1
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, most + 64))
    clients = [Client(keeper.folder) for _ in range(20)]
    started = _cpu_s(pid)
    time.sleep(1.0)
    assert _cpu_s(pid) - started < 0.3
    os.write(end, b"two\n")
    wait_indexed(keeper, "web/0", 8)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (most + 64, most + 64))
    assert clients[-1].ask({"do": "rotate", "instances": []})["rotated"] == 0
    for client in clients:
        client.sock.close()
    os.close(end)


class Poor(Keeper):
    """Of a `droned-logs` that may have 160 descriptors and no more."""

    def command(self) -> list[str]:
        program = (
            "import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160));"
            f"runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"
        )
        return ["-c", program, "--state", str(self.state)]


def test_no_pipe_is_lost_on_its_way_when_files_have_all_descriptors(tmp_path: Path) -> None:
    keeper = Poor(tmp_path)
    keeper.start()
    ends: list[int] = []
    for total in (650, 1950):
        ends += [keeper.capture(f"web/{number}") for number in range(len(ends), len(ends) + 65)]
        for end in ends:
            os.write(end, b"x" * 9 + b"\n")
        wait_for(partial(_has_in_all, keeper, total))
    for end in ends:
        os.close(end)
    keeper.close()


def _has_in_all(keeper: Keeper, total: int) -> bool:
    return sum(keeper.indexed().values()) == total


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("app", ["lock", "socket", "index"])
def test_apps_may_have_any_name(keeper: Keeper, app: str) -> None:
    end = keeper.capture(f"{app}/0")
    os.write(end, b"here\n")
    wait_indexed(keeper, f"{app}/0", 5)
    assert keeper.content(f"{app}/0") == b"here\n"
    keeper.kill()
    keeper.start()
    os.write(end, b"there\n")
    wait_indexed(keeper, f"{app}/0", 11)
    assert keeper.content(f"{app}/0") == b"here\nthere\n"
    os.close(end)


def test_what_is_cleared_begins_anew_in_other_formats_too(keeper: Keeper) -> None:
    end = keeper.capture("web/0", format="stamped")
    path = keeper.folder / "web/0/output.stamped.log"
    os.write(end, b"old\n")
    wait_for(lambda: path.exists() and path.read_bytes().endswith(b" old\n"))
    with Client(keeper.folder) as client:
        client.ask({"do": "clear", "instances": ["web/0"]})
    os.write(end, b"new\n")
    wait_for(lambda: path.exists() and path.read_bytes().endswith(b" new\n"))
    assert path.read_bytes().count(b"\n") == 1
    os.close(end)


def test_only_a_pipe_is_captured_as_the_daemons_own(keeper: Keeper, tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb+") as file, Client(keeper.folder) as client:
        answer = client.ask({"do": "own", "instance": "droned/log"}, (file.fileno(),))
        assert "pipe" in answer["error"]
        reader, writer = os.pipe()
        before = _descriptors(keeper)
        for _ in range(10):  # the daemon connects again
            assert "error" not in client.ask({"do": "own", "instance": "droned/log"}, (reader,))
        assert _descriptors(keeper) <= before + 2  # the pipe, and a file of the index
        os.write(writer, b"mine\n")
        wait_indexed(keeper, "droned/log", 5)
        os.close(reader)
        os.close(writer)


def _descriptors(keeper: Keeper) -> int:
    assert keeper.process is not None
    return len(os.listdir(f"/proc/{keeper.process.pid}/fd"))


def test_folders_and_files_of_others_keep_nobody_from_being_captured(keeper: Keeper) -> None:
    end = keeper.capture("web/0")
    os.write(end, b"one\n")
    wait_indexed(keeper, "web/0", 4)
    keeper.kill()
    (keeper.folder / "web/0/output-0000000000000000.log.gz.part").mkdir()
    (keeper.folder / "strange").mkdir()
    (keeper.folder / "strange" / "file").touch()
    with open(keeper.folder / "web/0/output-0000000000000000.log", "ab") as file:
        file.write(b"two\n")  # as one that was killed before it could tell
    keeper.start()
    os.write(end, b"three\n")
    wait_indexed(keeper, "web/0", 14)
    assert (keeper.folder / "web/0/output-0000000000000000.log").read_bytes() == b"one\ntwo\nthree\n"
    os.close(end)


def test_the_cap_holds_with_many_streams_that_each_have_little(keeper: Keeper) -> None:
    """What is written to can be begun anew for all of them, one after the other, however many they are."""
    ends = [keeper.capture(f"web/{number}") for number in range(400)]
    for end in ends:
        os.write(end, b"x" * 8191 + b"\n")
    for number in range(400):
        wait_indexed_soon(keeper, f"web/{number}")
    with Client(keeper.folder) as client:
        client.ask({"do": "settings", "total_bytes": 500_000})

        def total() -> int:
            os.write(ends[0], b"more\n")
            used = client.ask({"do": "usage"})
            return sum(row["bytes"] for row in used["instances"].values())

        wait_for(lambda: total() <= 500_000, "what is kept to come below the cap")
    assert keeper.process is not None
    assert keeper.process.poll() is None
    for end in ends:
        os.close(end)


def wait_indexed_soon(keeper: Keeper, instance: str) -> None:
    path = keeper.folder / instance / "output.log"
    wait_for(lambda: path.exists() and path.stat().st_size >= 8192)


def _has_ended(keeper: Keeper, run: int) -> bool:
    return [fact["run"] for fact in keeper.facts("ended")][-1:] == [run]


@pytest.mark.parametrize("is_killed", [False, True])
@pytest.mark.parametrize("is_told", [False, True])
def test_an_instance_that_comes_back_counts_its_runs_anew(
    keeper: Keeper, is_killed: bool, is_told: bool
) -> None:
    """It was removed and added again: what it wrote goes on, its runs begin with the first one."""
    for number, run in enumerate((4, 5, 1, 2)):
        if run == 1:
            if is_told:
                keeper.send({"type": "forget", "instance": "web/0"})
            if is_killed:
                keeper.kill()
                keeper.start()
        end = keeper.capture("web/0", run, at=1000.0 + 10 * number)
        os.write(end, b"of run %d\n" % run)
        keeper.end_run("web/0", run, 256, at=1001.0 + 10 * number)
        os.close(end)
        keeper.wait_drained(f"web/0:{run}:output")
        wait_for(partial(_has_ended, keeper, run))
    if is_killed:
        keeper.kill()
        keeper.start()
    end = keeper.capture("web/0", 3, at=2000.0)
    wait_for(lambda: len(keeper.facts("began")) == 5)
    assert [fact["run"] for fact in keeper.facts("began")] == [4, 5, 1, 2, 3]
    assert [fact["run"] for fact in keeper.facts("ended")] == [4, 5, 1, 2]
    assert keeper.content("web/0") == b"of run 4\nof run 5\nof run 1\nof run 2\n"
    lasts = sorted((keeper.folder / "web/0").glob("last-*.json"))
    assert [path.name for path in lasts] == ["last-1.json", "last-2.json"]
    assert "of run 1" in lasts[0].read_text()
    os.close(end)


def test_a_segment_that_was_deleted_while_it_is_written_is_followed_by_another(keeper: Keeper) -> None:
    end = keeper.capture("web/0")
    os.write(end, b"one\n")
    wait_indexed(keeper, "web/0", 4)
    (keeper.folder / "web/0/output-0000000000000000.log").unlink()
    with Client(keeper.folder) as client:
        client.ask({"do": "settings", "total_bytes": None})  # ages are looked at, as every minute
        os.write(end, b"two\n")
        wait_indexed(keeper, "web/0", 8)
        assert keeper.segments("web/0") == [(4, b"two\n")]
        assert client.ask({"do": "usage"})["instances"]["web/0"]["bytes"] == 4
    os.close(end)

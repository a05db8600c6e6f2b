"""The observer sees what lives and how it ended, by the process table alone."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.faults import processes, programs
from tests.faults.model import disturbed, doubled
from tests.faults.observer import Observer
from tests.faults.stamps import StampFile

pytestmark = pytest.mark.live


@pytest.fixture(name="tag")
def fresh_tag() -> Iterator[str]:
    tag = secrets.token_hex(4)
    yield tag
    for pid in processes.marked(tag):
        processes.send(pid, 9, lambda found: f"@{tag}" in " ".join(processes.arguments(found)))


def program(tag: str, name: str, *mode: str, stamps: str = "-") -> subprocess.Popen[bytes]:
    return subprocess.Popen([str(programs.child()), f"{name}@{tag}", stamps, *mode])


def lives_as_many(tag: str, count: int) -> bool:
    return len(processes.marked(tag)) == count


def has_seen(observer: Observer, count: int) -> bool:
    return len(observer.history().lives) == count


def test_births_and_deaths_are_seen_in_order(tag: str, tmp_path: Path) -> None:
    with Observer(tag, tmp_path / "seen") as observer:
        first = program(tag, "web/0", "pause")
        assert processes.until(lambda: len(observer.history().lives) == 1, 5.0)
        first.kill()
        first.wait()
        second = program(tag, "web/0", "pause")
        stranger = program("other", "web/0", "exit", "0", "200")
        assert processes.until(lambda: len(observer.history().lives) == 2, 5.0)
        history = observer.history()
        second.kill()
        second.wait()
        stranger.wait()
    assert [(life.pid, life.gone is None) for life in history.of("web/0")] == [
        (first.pid, False),
        (second.pid, True),
    ]
    gone = observer.history().of("web/0")[0]
    # Kernels before 6.15 do not tell the end of somebody else's child.
    assert gone.end in ("s9", None)
    assert gone.gone is not None
    assert gone.gone < history.of("web/0")[1].seen


def test_programs_stamp_their_start_and_their_intended_end(tag: str, tmp_path: Path) -> None:
    stamps = StampFile(tmp_path / "stamps")
    stamps.create()
    for end, status in (("7", 7), ("s9", -9), ("s6", -6)):
        assert program(tag, "loop/0", "exit", end, "1", stamps=str(stamps.path)).wait() == status
    assert program(tag, "loop/0", "segv", "1", stamps=str(stamps.path)).wait() == -11
    assert [stamp.end for stamp in stamps.new()] == ["7", "s9", "s6", "s11"]
    assert list(stamps.new()) == []


def test_a_tree_has_its_members_and_ignores_term(tag: str) -> None:
    main = program(tag, "tree/0", "tree", "4")
    assert processes.until(lambda: len(processes.marked(tag)) == 4, 5.0)
    main.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        main.wait(0.1)
    for pid in processes.marked(tag):
        assert processes.send(pid, 9, lambda found: processes.arguments(found)[1] == f"tree/0@{tag}")
    main.wait(5.0)
    assert processes.until(lambda: not processes.marked(tag), 5.0)


def test_a_supervisor_that_forgets_its_programs_is_found_to_double_them(tag: str, tmp_path: Path) -> None:
    stamps = StampFile(tmp_path / "stamps")
    stamps.create()
    limit = str(programs.compiled(programs.ROOT / "benchmarks" / "limit.c"))
    task = ["3", str(programs.child()), "web", tag, str(stamps.path), "pause"]
    with Observer(tag, tmp_path / "seen") as observer:
        for lives in (1, 2):
            yardstick = subprocess.Popen([limit, str(tmp_path / f"{lives}.sock"), *task])
            assert processes.until(partial(lives_as_many, tag, 3 * lives), 5.0)
            assert processes.until(partial(has_seen, observer, 3 * lives), 5.0)
            yardstick.kill()
            yardstick.wait()
        history = observer.history()
    assert len(doubled(history)) == 3
    assert len(disturbed(history, ("web/0", "web/1", "web/2"))) == 3

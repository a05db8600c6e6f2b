"""The pidfds that a daemon holds: of as many runs as there is room for, and never of the wrong process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from droned.drivers.successor import HeldRuns
from droned.guardian.wire import Spawned
from tests.guardian.harness import start_time

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="there are no pidfds here")


@pytest.fixture
def program() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def spawned(number: int, process: subprocess.Popen[bytes], late_by: int = 0) -> Spawned:
    return {
        "type": "spawned",
        "instance": f"web/{number}",
        "run": 1,
        "pid": process.pid,
        "start_time": (start_time(process.pid) or 0) + late_by,
        "at": 1.0,
    }


def held(runs: HeldRuns) -> list[str]:
    """The instances of whose runs there is a pidfd."""
    return [run["instance"] for part, _ in runs.batches() for run in part]


def test_no_more_pidfds_are_held_than_there_is_room_for(program: subprocess.Popen[bytes]) -> None:
    told: list[bool] = []
    runs = HeldRuns(2)
    runs.on_crowded = lambda: told.append(True)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(2):
        runs.hold(spawned(number, program), 1.0)
    assert told == []
    for number in range(2, 5):
        runs.hold(spawned(number, program), 1.0)
    assert len(os.listdir("/proc/self/fd")) == before + 2
    assert held(runs) == ["web/0", "web/1"]
    assert all((f"web/{number}", 1) in runs for number in range(5))
    assert told == [True]
    assert runs.is_crowded
    runs.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_run_that_had_to_wait_gets_the_place_of_one_that_ended(program: subprocess.Popen[bytes]) -> None:
    runs = HeldRuns(1)
    for number in range(3):
        runs.hold(spawned(number, program), 1.0)
    runs.let_go(("web/1", 1))
    assert held(runs) == ["web/0"]
    runs.let_go(("web/0", 1))
    assert held(runs) == ["web/2"]
    runs.let_go(("web/2", 1))
    assert held(runs) == []


def test_a_process_with_another_start_time_is_never_handed_on(program: subprocess.Popen[bytes]) -> None:
    runs = HeldRuns(None)
    runs.hold(spawned(0, program, late_by=1), 1.0)
    runs.hold(spawned(1, program), 1.0)
    assert held(runs) == ["web/1"]
    runs.close()


def test_a_row_whose_process_has_another_start_time_takes_no_room(program: subprocess.Popen[bytes]) -> None:
    runs = HeldRuns(1)
    row: Any = {**spawned(0, program, late_by=1), "state": "running"}
    runs.hold(row, 1.0)
    runs.hold(spawned(1, program), 1.0)
    assert held(runs) == ["web/1"]
    runs.close()


def test_there_may_be_room_for_none(program: subprocess.Popen[bytes]) -> None:
    runs = HeldRuns(0)
    runs.hold(spawned(0, program), 1.0)
    assert held(runs) == []
    assert ("web/0", 1) in runs

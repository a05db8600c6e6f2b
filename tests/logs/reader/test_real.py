"""A reader beside a real `droned-logs` that is killed, rotates and is compressed after."""

import os
from pathlib import Path

import pytest

from droned.logs.compressor import compress
from droned.logs.format import segment_named
from tests.logs.harness import Client, keeper_in
from tests.logs.reader.process import Reader, answered
from tests.logs.reader.written import lines

pytestmark = pytest.mark.live

INSTANCES = ("web/0", "web/1", "db/0")


def test_all_is_followed_through_kills_and_rotations_and_found_again(tmp_path: Path) -> None:
    written: dict[str, list[str]] = {instance: [] for instance in INSTANCES}
    with keeper_in(tmp_path) as keeper, Reader(keeper.folder) as reader:
        reader.until_caught_up()
        pipes = {instance: keeper.capture(instance) for instance in INSTANCES}
        for turn in range(12):
            for instance, pipe in pipes.items():
                texts = [f"{turn} {number} {'x' * (number % 70)}" for number in range(60)]
                os.write(pipe, "".join(f"{text}\n" for text in texts).encode())
                written[instance] += texts
            if turn % 4 == 3:
                keeper.kill()
                keeper.start()
            if turn % 3 == 1:
                with Client(keeper.folder) as client:
                    client.ask({"do": "rotate", "instances": list(INSTANCES)})
        total = sum(map(len, written.values()))
        followed = lines(reader.until(lambda objects: len(lines(objects)) >= total))
        for instance, texts in written.items():
            assert [one["line"] for one in followed if one["instance"] == instance] == texts
        for path in sorted(keeper.folder.glob("*/*/output-*.log")):
            named = segment_named(path.name)
            if named and any(later.name > path.name for later in path.parent.glob("output-*.log")):
                assert compress(str(path))
        assert lines(answered(keeper.folder)) == followed
        middle = followed[total // 2]["position"]
        assert lines(answered(keeper.folder, after=middle)) == followed[total // 2 + 1 :]
        assert lines(answered(keeper.folder, last=100)) == followed[-100:]
        for pipe in pipes.values():
            os.close(pipe)


def test_a_restart_has_its_place(tmp_path: Path) -> None:
    with keeper_in(tmp_path) as keeper, Reader(keeper.folder) as reader:
        for run in (1, 2):
            pipe = keeper.capture("web/0", run)
            os.write(pipe, b"whole\nnot whole")
            os.close(pipe)
            keeper.wait_drained(f"web/0:{run}:output")
            keeper.end_run("web/0", run, 256)
        wanted = [(run, what) for run in (1, 2) for what in ("began", "whole", "not whole", "ended")]
        objects = reader.until(lambda found: len([one for one in found if "run" in one]) >= len(wanted))
        told = [(one["run"], one.get("what") or one["line"]) for one in objects if "run" in one]
        assert told == wanted
        assert [one["status"] for one in objects if one.get("what") == "ended"] == [256, 256]
        assert [one["line"] for one in lines(answered(keeper.folder, is_previous=True))] == [
            "whole",
            "not whole",
        ]

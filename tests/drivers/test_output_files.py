"""Where the output of runs goes, where in the files that of each begins, and how a failed one ended."""

import json
import os
from pathlib import Path

import pytest

from droned.drivers.output_files import LAST_LINES_BYTES, RUNS_KEPT, OutputFiles, policy_text
from droned.logs.format import DEFAULT_POLICY
from droned.models.policy import LogFormat, LogPolicy, StderrTo, WhenFull
from droned.models.records import InstanceRecord
from droned.models.registry import Moment, Registry

MERGED = LogPolicy(stderr=StderrTo.MERGED)
DIRECT = LogPolicy(direct=True)


def test_captured_output_is_ordered_by_the_names_of_streams() -> None:
    output = OutputFiles("/state")
    text = policy_text(LogPolicy())
    assert output.order("web/0", LogPolicy()) == {"stdout": "stdout", "stderr": "stderr", "logs": text}
    assert output.order("web/0", MERGED) == {"stdout": "output", "stderr": "output", "logs": text}
    assert output.paths("web/0", LogPolicy()) == {
        "stdout": "/state/logs/web/0/stdout.log",
        "stderr": "/state/logs/web/0/stderr.log",
    }
    assert output.paths("web/0", MERGED) == {"output": "/state/logs/web/0/output.log"}


def test_direct_output_is_ordered_by_paths() -> None:
    output = OutputFiles("/state")
    paths = {"stdout": "/state/logs/web/0.stdout.log", "stderr": "/state/logs/web/0.stderr.log"}
    assert output.order("web/0", DIRECT) == output.paths("web/0", DIRECT) == paths
    merged = LogPolicy(direct=True, stderr=StderrTo.MERGED)
    one = "/state/logs/web/0.output.log"
    assert output.order("web/0", merged) == {"stdout": one, "stderr": one}
    assert output.paths("web/0", merged) == {"output": one}


def test_a_policy_travels_as_droned_logs_takes_it() -> None:
    assert json.loads(policy_text(LogPolicy())) == DEFAULT_POLICY
    other = LogPolicy(format=LogFormat.JSON, keep=0, max_age_s=None, when_full=WhenFull.BLOCK)
    told = json.loads(policy_text(other))
    assert (told["format"], told["keep"], told["max_age_s"], told["when_full"]) == ("json", 0, None, "block")


def last(folder: Path, run: int, content: str | bytes) -> None:
    (folder / "logs/web/0").mkdir(parents=True, exist_ok=True)
    path = folder / f"logs/web/0/last-{run}.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_the_last_lines_of_runs_that_failed(tmp_path: Path) -> None:
    lines = [{"stream": "stderr", "line": "Traceback \\udcff"}]
    last(tmp_path, 3, json.dumps({"lines": lines, "more": "of a later release"}))
    assert OutputFiles(str(tmp_path)).last_lines("web/0", [2, 3]) == {3: lines}


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "{}", '{"lines": 5}', '{"lines": [5]}', '{"lines": [{"line": "x"}]}', b"\xff"),
        *("[" * 5000, json.dumps({"lines": [{"stream": "stdout", "line": "x" * LAST_LINES_BYTES}]})),
    ],
)
def test_what_are_no_last_lines_is_none(tmp_path: Path, content: str | bytes) -> None:
    last(tmp_path, 3, content)
    assert OutputFiles(str(tmp_path)).last_lines("web/0", [3]) == {}


def test_last_lines_come_from_a_file_and_nothing_else(tmp_path: Path) -> None:
    last(tmp_path, 1, json.dumps({"lines": []}))
    folder = tmp_path / "logs/web/0"
    os.mkfifo(folder / "last-2.json")
    (folder / "last-3.json").symlink_to("last-1.json")
    (folder / "last-4.json").mkdir()
    assert OutputFiles(str(tmp_path)).last_lines("web/0", [1, 2, 3, 4]) == {1: []}


def test_each_run_begins_where_the_one_before_ended(tmp_path: Path) -> None:
    output = OutputFiles(str(tmp_path))
    for run, size in ((1, 0), (2, 4)):
        output.note("web/0", run, (0, size))
    assert output.begins("web/0") == [
        {"run": 1, "stdout": 0, "stderr": 0},
        {"run": 2, "stdout": 0, "stderr": 4},
    ]
    assert output.begins("web/1") == []


def test_an_order_that_is_given_twice_is_of_one_run(tmp_path: Path) -> None:
    output = OutputFiles(str(tmp_path))
    output.note("web/0", 1, (0, 0))
    output.note("web/0", 1, (4, 0))
    assert output.begins("web/0") == [{"run": 1, "stdout": 0, "stderr": 0}]


def test_a_run_that_never_began_has_written_nothing(tmp_path: Path) -> None:
    output = OutputFiles(str(tmp_path))
    output.note("web/0", 1, None)
    assert output.begins("web/0") == [{"run": 1, "stdout": None, "stderr": None}]


def test_only_the_last_runs_are_kept(tmp_path: Path) -> None:
    output = OutputFiles(str(tmp_path))
    for run in range(1, RUNS_KEPT + 3):
        output.note("web/0", run, (0, 0))
    assert [each["run"] for each in output.begins("web/0")] == [3, 4, 5, 6]


def test_an_instance_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    registry, output = Registry(failed=lambda subscriber: None), OutputFiles(str(tmp_path))
    registry.subscribe(output.follow)
    moment = Moment(wall=0.0, mono=0.0, draw=0.5)
    record = InstanceRecord(key="web/0", app="web", label="0")
    for after in (record, None):
        output.note("web/0", 1, (0, 0))
        registry.commit((("instance", "web/0", after),), (), moment=moment, actor="test", cause=0)
    assert output.begins("web/0") == []


def test_a_folder_that_cannot_be_made_is_an_error_each_time(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    output = OutputFiles(str(tmp_path))
    for _ in range(2):
        with pytest.raises(OSError, match="logs"):
            output.prepare("web")

"""Where the output of runs goes, and where in the files that of each begins."""

from pathlib import Path

import pytest

from droned.drivers.output_files import RUNS_KEPT, OutputFiles
from droned.models.records import InstanceRecord
from droned.models.registry import Moment, Registry


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

"""What a first start is refused for, before it has made anything."""

from pathlib import Path

import pytest

from droned.daemon.first_start import check_first, is_first
from droned.daemon.main import main
from droned.daemon.options import RunOptions
from droned.errors import CannotRun


@pytest.fixture
def options(tmp_path: Path) -> RunOptions:
    tmp_path.chmod(0o755)
    state = f"{tmp_path}/state"
    return RunOptions(
        config=f"{tmp_path}/droned.yaml", state_dir=state, socket=f"{state}/s", socket_is_given=False
    )


def configure(options: RunOptions, text: str) -> None:
    Path(options.config).write_text(text)
    Path(options.config).chmod(0o644)


def test_every_problem_is_told(options: RunOptions) -> None:
    configure(options, "version: 1\napps: {web: {comand: x}, db: {command: y, umask: 9}}\n")
    with pytest.raises(CannotRun) as refused:
        check_first(options, 0, {})
    assert str(refused.value).count("droned.yaml:2:") >= 3


def test_a_good_one_is_let_pass(options: RunOptions) -> None:
    configure(options, "version: 1\napps: {web: {command: '${WHAT}'}}\n")
    check_first(options, 0, {"WHAT": "sleep"})


def test_it_is_the_first_until_there_is_a_journal(options: RunOptions) -> None:
    assert is_first(options)
    Path(options.state_dir, "journal").mkdir(parents=True)
    assert not is_first(options)


def test_a_refused_first_start_leaves_nothing(
    options: RunOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    configure(options, "version: 1\napps: {web: {}}\n")
    assert main(["run", "-c", options.config, "--state", options.state_dir]) == 78
    assert "cannot run the app web: it has no command" in capsys.readouterr().err
    assert not Path(options.state_dir).exists()

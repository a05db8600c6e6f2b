"""What the tests of dronectl share: a stand-in for the daemon, and dronectl run against it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from droned.ctl import main
from tests.ctl.stub import StubDaemon, row


class Done(NamedTuple):
    """What a run of dronectl left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


Ctl = Callable[..., Done]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    made = Path(tempfile.mkdtemp(prefix="ctl-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def daemon(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubDaemon]:
    """A stand-in with two instances of web and one of db, found through the environment."""
    for name in [name for name in os.environ if name.startswith(("DRONED_", "XDG_"))] + ["NO_COLOR"]:
        monkeypatch.delenv(name, raising=False)
    stub = StubDaemon(folder / "droned.sock")
    stub.rows = [
        row("web/0"),
        row(
            "web/1",
            "backoff",
            restarts=7,
            exit={"code": 1, "signal": None, "at": "2026-11-22T12:04:30Z", "reason": "exited 1 after 0.4s"},
            next_start_at="2026-11-22T12:04:43.000000Z",
        ),
        row("db/0", "stopped"),
    ]
    stub.start()
    monkeypatch.setenv("DRONED_HOST", stub.host)
    yield stub
    stub.stop()


@pytest.fixture
def ctl(daemon: StubDaemon, capfd: pytest.CaptureFixture[str]) -> Ctl:
    """dronectl in this process, both streams being files and no terminals."""

    def run(*arguments: str) -> Done:
        status = main.run(arguments)
        out, err = capfd.readouterr()
        return Done(status, out, err)

    return run

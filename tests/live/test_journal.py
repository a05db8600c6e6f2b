"""The journal on real disks: killed, filled, failing, slow, taken away."""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from droned.drivers.journal_files import JournalFiles
from droned.drivers.journal_folder import Folder
from droned.journal.recovery import Opened
from droned.journal.segments import segments_in
from tests.journal.commits import World, state_of

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
ROUNDS, KILLS = 5, 10
PATIENCE_S = 60.0


class Writer:
    """A running `tests.journal.writer` and what it has said."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.said: list[str] = []
        self._rest = b""
        self._heard = 0

    @property
    def durable(self) -> int:
        """The last version that it told as durable (or found at its start)."""
        told = [line.split()[1] for line in self.said if line.startswith(("durable", "opened"))]
        return int(told[-1]) if told else 0

    def listen(self, seconds: float) -> None:
        """Take what it says for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._hear(left):
            pass

    def wait_for(self, word: str, seconds: float = PATIENCE_S) -> str:
        """The first line behind the one that was waited for last that begins with `word`."""
        until = time.monotonic() + seconds
        while True:
            for index in range(self._heard, len(self.said)):
                if self.said[index].startswith(word):
                    self._heard = index + 1
                    return self.said[index]
            self._heard = len(self.said)
            left = until - time.monotonic()
            assert left > 0, f"no {word!r} in {seconds} s, but {self.said[-5:]}"
            assert self._hear(left), f"it ended: {self.said[-5:]}"

    def kill(self) -> None:
        """SIGKILL, and take what it had said before."""
        self.process.kill()
        while self._hear(PATIENCE_S):
            pass
        self.process.wait()

    def kill_all(self) -> None:
        """SIGKILL to the writer and to what traces it, and take what it had said before."""
        with_group_gone(self.process.pid)
        while self._hear(PATIENCE_S):
            pass

    def _hear(self, seconds: float) -> bool:
        """Wait for something to be said, so long at most; whether it can still say something."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        if not select.select([descriptor], [], [], seconds)[0]:
            return True
        got = os.read(descriptor, 1 << 16)
        *lines, self._rest = (self._rest + got).split(b"\n")
        self.said += [line.decode() for line in lines]
        return bool(got)


@contextmanager
def writing(folder: Path, *before: str, pause_s: float = 0.002) -> Iterator[Writer]:
    """A writer on `folder`, started by the words `before`; killed in the end if it still runs."""
    command = [*before, sys.executable, "-m", "tests.journal.writer", str(folder), str(pause_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True)
    writer = Writer(process)
    try:
        yield writer
    finally:
        # A writer under strace is its child; both are in this session's group.
        with_group_gone(process.pid)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert not [line for line in writer.said if line.startswith("broken")]


def with_group_gone(group: int) -> None:
    """End a process group of ours."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def opened(folder: Path) -> Opened:
    """What the journal in `folder` holds; on a copy, so that nothing is changed."""
    copy = folder.with_name(folder.name + "-copy")
    shutil.copytree(folder, copy)
    try:
        opened_folder = Folder(str(copy))
        found = JournalFiles(opened_folder, "0.1.0").open(
            now=time.time(), remembered=None, progress=lambda text: None
        )
        opened_folder.leave()
        return found
    finally:
        shutil.rmtree(copy)


class Expected:
    """The one world that every writer lives through, as far as it is asked for."""

    def __init__(self) -> None:
        self._world = World()

    def at(self, version: int) -> object:
        self._world.steps(max(0, version - self._world.registry.version))
        return self._world.states[version]


@pytest.fixture(scope="module")
def expected() -> Expected:
    return Expected()


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_no_kill_loses_an_acknowledged_version(tmp_path: Path, expected: Expected, seed: int) -> None:
    folder = tmp_path / "journal"
    dice = random.Random(seed)
    acknowledged = 0
    for _ in range(KILLS):
        with writing(folder) as writer:
            line = writer.wait_for("opened")
            assert line == f"opened {line.split()[1]}", "damage"
            assert int(line.split()[1]) >= acknowledged
            writer.listen(dice.uniform(0.0, 0.25))
            writer.kill()
            acknowledged = writer.durable
    found = opened(folder)
    assert found.damage == ()
    assert found.version >= acknowledged > KILLS
    assert state_of(found.records) == expected.at(found.version)


def test_a_stop_closes_the_journal_with_a_snapshot(tmp_path: Path, expected: Expected) -> None:
    folder = tmp_path / "journal"
    with writing(folder) as writer:
        writer.wait_for("durable")
        writer.process.terminate()
        version = int(writer.wait_for("closed").split()[1])
        assert writer.process.wait(PATIENCE_S) == 0
    found = opened(folder)
    assert (found.version, found.replayed, found.unsaved, found.damage) == (version, 0, (), ())
    assert state_of(found.records) == expected.at(version)
    modes = {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert (folder.stat().st_mode & 0o777, modes) == (0o700, {0o600})


def in_own_mounts(options: str, folder: Path, then: str = "true") -> Sequence[str]:
    """The words that start a command with a small file system of its own at `folder`; it goes with it."""
    unshare = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-Urm"]
    script = f'mount -t tmpfs -o {options} tmpfs "$0" && cd "$0" && {then} && cd "$OLDPWD" && exec "$@"'
    return [*unshare, "sh", "-c", script, str(folder)]


def remount(writer: Writer, folder: Path, options: str) -> None:
    """Change the file system that the writer has at `folder`.

    Its source is named, for mount adds the options of before otherwise: among them our uid, which is nobody's
    in the namespace of a user.
    """
    enter = ["nsenter", "-t", str(writer.process.pid), "-m"]
    if os.getuid() != 0:
        enter += ["-U", "--preserve-credentials"]
    subprocess.run([*enter, "mount", "-o", f"remount,{options}", "tmpfs", str(folder)], check=True)


def seen_by(writer: Writer, path: Path) -> Path:
    """`path` as the writer sees it."""
    return Path(f"/proc/{writer.process.pid}/root{path}")


def test_a_full_disk_degrades_and_recovers_by_itself(tmp_path: Path, expected: Expected) -> None:
    with writing(tmp_path / "journal", *in_own_mounts("size=8m", tmp_path), pause_s=0.0005) as writer:
        writer.wait_for("durable")
        filler = seen_by(writer, tmp_path) / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(65536))
        before = writer.durable
        writer.wait_for("failed")
        assert writer.durable > before + 1000, "what is preallocated and reserved takes the next records"
        writer.listen(3.0)
        assert not writer.said[-1].startswith("durable")
        filler.unlink()
        began = time.monotonic()
        writer.wait_for("recovered", 5.0)
        assert time.monotonic() - began < 5.0
        writer.wait_for("durable")
        assert sum(line.startswith("failed") for line in writer.said) == 1
        copy = tmp_path / "taken"
        shutil.copytree(seen_by(writer, tmp_path) / "journal", copy)
        writer.kill()
    found = opened(copy)
    assert found.damage == ()
    assert state_of(found.records) == expected.at(found.version)


def test_a_disk_without_room_for_files_degrades_and_recovers(tmp_path: Path) -> None:
    with writing(tmp_path / "journal", *in_own_mounts("size=12m,nr_inodes=2", tmp_path)) as writer:
        assert "No space" in writer.wait_for("failed")
        remount(writer, tmp_path, "nr_inodes=100")
        writer.wait_for("recovered", 5.0)


def test_a_read_only_disk_is_opened_degraded_and_recovers(tmp_path: Path) -> None:
    mounts = in_own_mounts("size=12m", tmp_path, 'mkdir -m 700 journal && mount -o remount,ro tmpfs "$0"')
    with writing(tmp_path / "journal", *mounts) as writer:
        assert writer.wait_for("opened") == "opened 0"
        assert "Read-only" in writer.wait_for("failed")
        remount(writer, tmp_path, "rw")
        writer.wait_for("recovered", 5.0)
        writer.wait_for("durable")


def traced(inject: str) -> Sequence[str]:
    """The words that start a command in which system calls fail as `inject` says."""
    return [
        "strace",
        "-f",
        "-qqq",
        "-o",
        os.devnull,
        "-e",
        "trace=fdatasync,pwrite64",
        "-e",
        f"inject={inject}",
    ]


@pytest.mark.parametrize("error", ["EIO", "ENOSPC", "EDQUOT"])
def test_a_failed_sync_costs_a_segment_and_nothing_else(
    tmp_path: Path, expected: Expected, error: str
) -> None:
    folder = tmp_path / "journal"
    with writing(folder, *traced(f"fdatasync:error={error}:when=8")) as writer:
        while writer.durable < 300:
            writer.wait_for("durable")
        writer.kill_all()
    assert len(segments_in(path.name for path in folder.iterdir())) == 2
    assert not [line for line in writer.said if line.startswith("failed")]
    found = opened(folder)
    assert (found.damage, found.version >= writer.durable) == ((), True)
    assert state_of(found.records) == expected.at(found.version)


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_a_disk_that_fails_for_a_while_is_degraded_for_as_long(
    tmp_path: Path, expected: Expected, call: str
) -> None:
    """Calls 8 to 11 fail: the batch, its second try in a new segment, and the tries of the next seconds."""
    folder = tmp_path / "journal"
    with writing(folder, *traced(f"{call}:error=EIO:when=8..11")) as writer:
        assert "Input/output error" in writer.wait_for("failed")
        failed_at = writer.durable
        writer.wait_for("recovered", 10.0)
        while writer.durable < failed_at + 300:
            writer.wait_for("durable")
        writer.kill_all()
    said = [line.split()[0] for line in writer.said]
    assert said.count("failed") == said.count("recovered") == 1
    assert "durable" not in said[said.index("failed") : said.index("recovered") - 1]
    found = opened(folder)
    assert (found.damage, found.version >= writer.durable) == ((), True)
    assert state_of(found.records) == expected.at(found.version)


def test_a_kill_on_a_failing_disk_loses_nothing_that_was_acknowledged(
    tmp_path: Path, expected: Expected
) -> None:
    folder = tmp_path / "journal"
    with writing(folder, *traced("fdatasync:error=EIO:when=8+")) as writer:
        writer.wait_for("failed")
        writer.listen(2.5)
        writer.kill_all()
        acknowledged = writer.durable
    found = opened(folder)
    assert found.damage == ()
    assert found.version >= acknowledged > 0
    assert state_of(found.records) == expected.at(found.version)
    with writing(folder) as writer:
        assert writer.wait_for("opened") == f"opened {found.version}"
        writer.wait_for("durable")


def test_a_slow_disk_makes_answers_late_and_never_the_reactor(tmp_path: Path) -> None:
    """Each sync takes two seconds: the journal's thread waits, nobody else."""
    with writing(tmp_path / "journal", *traced("fdatasync:delay_enter=2000000")) as writer:
        began = time.monotonic()
        lags = [float(writer.wait_for("durable").split()[2]) for _ in range(3)]
        assert time.monotonic() - began > 4.0
        assert max(lags) < 0.2


def test_a_folder_that_is_deleted_or_moved_is_made_again(tmp_path: Path, expected: Expected) -> None:
    folder = tmp_path / "journal"
    with writing(folder) as writer:
        writer.wait_for("durable")
        shutil.rmtree(folder)
        assert "folder is gone" in writer.wait_for("failed")
        writer.wait_for("recovered", 5.0)
        writer.wait_for("durable")
        folder.rename(tmp_path / "elsewhere")
        writer.wait_for("failed")
        writer.wait_for("recovered", 5.0)
        writer.wait_for("durable")
        writer.kill()
    found = opened(folder)
    assert (found.damage, found.version >= writer.durable) == ((), True)
    assert state_of(found.records) == expected.at(found.version)

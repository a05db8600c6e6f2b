"""The folder in memory and the one on disk: the same behaviour; and what only a disk can hold."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from droned.drivers.journal_files import Batch, JournalFiles
from droned.drivers.journal_folder import FilesLost, Folder, IFolder
from droned.errors import CannotRun
from droned.journal.format import GENESIS, STEP_BYTES
from droned.journal.recovery import Opened
from droned.journal.segments import RESERVE, segment_name, snapshot_name
from tests.journal.folders import MemoryFolder


@pytest.fixture(params=["memory", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[IFolder]:
    if request.param == "memory":
        yield MemoryFolder()
    else:
        on_disk = Folder(str(tmp_path / "state" / "journal"))
        on_disk.make()
        yield on_disk
        on_disk.leave()


def put(folder: IFolder, name: str, content: bytes) -> int:
    descriptor = folder.create(name)
    folder.write(descriptor, content, 0)
    folder.sync(descriptor)
    return descriptor


def test_files_are_written_where_they_are_told(folder: IFolder) -> None:
    descriptor = put(folder, "a", b"hello")
    folder.write(descriptor, b"p!", 3)
    assert folder.read("a", 100) == b"help!"
    folder.allocate(descriptor, 8)
    assert folder.read("a", 100) == b"help!\0\0\0"
    assert folder.size("a") == 8
    folder.allocate(descriptor, 4)
    assert folder.size("a") == 8, "nothing is cut off"
    folder.truncate(descriptor, 2)
    assert folder.read("a", 100) == b"he"
    folder.check(descriptor)
    folder.check(None)
    folder.close(descriptor)


def test_names_are_given_and_taken(folder: IFolder) -> None:
    for name, content in (("a", b"1"), ("b", b"2")):
        folder.close(put(folder, name, content))
    folder.keep_as("a", "kept")
    folder.rename("b", "a")
    folder.sync_names()
    assert sorted(folder.names()) == ["a", "kept"]
    assert (folder.read("a", 9), folder.read("kept", 9)) == (b"2", b"1")
    folder.trim("kept", 0)
    assert folder.read("kept", 9) == b""
    folder.remove("a")
    with pytest.raises(OSError, match=r"(?i)no such file"):
        folder.read("a", 9)
    with pytest.raises(OSError, match=r"(?i)no such file"):
        folder.remove("a")


def test_a_new_file_takes_the_place_of_an_old_one(folder: IFolder) -> None:
    folder.close(put(folder, "a", b"old"))
    folder.close(folder.create("a"))
    assert folder.read("a", 9) == b""


def test_a_file_that_was_deleted_is_noticed(folder: IFolder) -> None:
    descriptor = put(folder, "a", b"1")
    folder.remove("a")
    with pytest.raises(FilesLost):
        folder.check(descriptor)
    folder.close(descriptor)


def test_a_folder_that_is_not_open_is_lost(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "journal"))
    with pytest.raises(FilesLost):
        folder.names()
    assert folder.path == str(tmp_path / "journal")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    folder.make()
    (tmp_path / "big").write_bytes(bytes(100))
    with pytest.raises(OSError, match="larger than 99 bytes"):
        folder.read("big", 99)
    folder.leave()


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL])
def test_room_is_held_by_zeros_where_it_cannot_be_reserved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*arguments: object) -> None:
        raise OSError(number, "not on this file system")

    monkeypatch.setattr(os, "posix_fallocate", refused)
    folder = Folder(str(tmp_path))
    folder.make()
    descriptor = put(folder, "a", b"x")
    folder.allocate(descriptor, 3 * STEP_BYTES + 1)
    folder.close(descriptor)
    found = tmp_path / "a"
    assert found.stat().st_size == 3 * STEP_BYTES + 1
    assert found.stat().st_blocks * 512 >= 3 * STEP_BYTES
    assert found.read_bytes()[:2] == b"x\0"
    folder.leave()


def test_a_full_disk_is_not_taken_for_one_that_cannot_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "posix_fallocate", full)
    folder = Folder(str(tmp_path))
    folder.make()
    descriptor = folder.create("a")
    with pytest.raises(OSError, match="no space"):
        folder.allocate(descriptor, 10)
    folder.close(descriptor)
    folder.leave()


def opened(path: Path) -> Opened:
    folder = Folder(str(path))
    try:
        return JournalFiles(folder, "0.1.0").open(now=1e9, remembered=None, progress=lambda text: None)
    finally:
        folder.leave()


def test_what_is_no_regular_file_is_set_aside(tmp_path: Path) -> None:
    """A pipe that nobody writes, a folder, a link to elsewhere: none holds the opening up or is followed."""
    os.mkfifo(tmp_path / segment_name(1))
    (tmp_path / segment_name(5)).mkdir()
    (tmp_path / segment_name(9)).symlink_to("/dev/zero")
    (tmp_path / snapshot_name(3)).symlink_to("/etc/passwd")
    found = opened(tmp_path)
    assert len([text for text in found.damage if "the disk does not give it" in text]) == 4
    assert opened(tmp_path).damage == ()
    asides = [name for name in os.listdir(tmp_path) if ".damaged-" in name]
    assert len(asides) == 4


def test_a_foreign_file_of_any_size_is_set_aside_quickly(tmp_path: Path) -> None:
    with (tmp_path / segment_name(1)).open("wb") as file:
        file.truncate(1 << 30)
    assert "the disk does not give it" in opened(tmp_path).damage[0]
    assert opened(tmp_path).damage == ()


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(CannotRun, match="cannot use the journal's folder"):
        opened(tmp_path / "journal")


def test_a_journal_takes_room_when_it_is_first_written_to(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    files = JournalFiles(folder, "0.1.0")
    assert files.open(now=1e9, remembered=None, progress=lambda text: None).version == 0
    assert os.listdir(tmp_path) == []
    files.write(Batch(first=1, last=1, previous=GENESIS, content=b"x", at=1e9))
    assert sorted(os.listdir(tmp_path)) == [segment_name(1), RESERVE]
    assert (tmp_path / RESERVE).stat().st_mode & 0o777 == 0o600
    folder.leave()

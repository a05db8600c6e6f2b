"""The reader of configuration files: which files, in which order, and what root does not trust."""

import errno
import os
from pathlib import Path

import pytest

from droned.config.loader import MOST_BYTES
from droned.drivers import config_files
from droned.drivers.config_files import MOST_FILES, read_sources
from droned.errors import ConfigurationError

SOMEBODY = 4_000_000_001


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that only its owner can write to."""
    tmp_path.chmod(0o755)
    return tmp_path


def write(path: Path, text: str = "x", mode: int = 0o644) -> Path:
    path.parent.mkdir(exist_ok=True, mode=0o755)
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def names(path: Path, uid: int = SOMEBODY) -> list[str]:
    return [Path(name).name for name, _ in read_sources(str(path), uid=uid)]


def refusal(path: Path, uid: int = SOMEBODY) -> str:
    with pytest.raises(ConfigurationError) as caught:
        read_sources(str(path), uid=uid)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0] in str(caught.value)
    return caught.value.problems[0]


def test_a_file_is_read_as_it_is(folder: Path) -> None:
    path = write(folder / "any.conf", "a: ü\n")
    assert read_sources(str(path), uid=SOMEBODY) == [(str(path), "a: ü\n".encode())]


def test_a_folder_has_its_main_file_and_then_its_fragments(folder: Path) -> None:
    for name in ("droned.yaml", "other.yaml", "droned.d/20.yaml", "droned.d/10.yaml", "droned.d/x.txt"):
        write(folder / name)
    write(folder / "droned.d/.hidden.yaml")
    assert names(folder) == ["droned.yaml", "10.yaml", "20.yaml"]


def test_a_folder_without_a_main_file_has_all_of_its_files(folder: Path) -> None:
    for name in ("b.yaml", "a.yaml", ".c.yaml", "d.yml"):
        write(folder / name)
    assert names(folder) == ["a.yaml", "b.yaml"]


def test_paths_stay_as_they_are_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "etc/droned.yaml")
    monkeypatch.chdir(folder)
    assert read_sources("etc", uid=SOMEBODY)[0][0] == "etc/droned.yaml"
    monkeypatch.chdir(folder / "etc")
    assert read_sources("droned.yaml", uid=SOMEBODY)[0][0] == "droned.yaml"


def test_what_is_missing_is_told(folder: Path) -> None:
    assert refusal(folder / "none") == f"{folder / 'none'}: cannot read it: No such file or directory"
    assert "there is no droned.yaml and no other *.yaml in this folder" in refusal(folder)


def test_all_that_cannot_be_read_is_told_at_once(folder: Path) -> None:
    (folder / "droned.yaml").mkdir()
    write(folder / "droned.d/a.yaml")
    os.mkfifo(folder / "droned.d/b.yaml")
    (folder / "droned.d/c.yaml").symlink_to("none")
    (folder / "droned.d/d.yaml").symlink_to("d.yaml")
    with pytest.raises(ConfigurationError) as caught:
        read_sources(str(folder), uid=SOMEBODY)
    assert [line.removeprefix(f"{folder}/") for line in caught.value.problems] == [
        "droned.yaml: cannot read it: it is not a regular file",
        "droned.d/b.yaml: cannot read it: it is not a regular file",
        "droned.d/c.yaml: cannot read it: No such file or directory",
        "droned.d/d.yaml: cannot read it: more than 16 links lead from one to the next",
    ]


def test_an_unreadable_file_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    path = write(folder / "a.yaml")
    monkeypatch.setattr(os, "open", refuse)
    assert refusal(path) == f"{path}: cannot read it: Permission denied"


def test_an_odd_path_is_told_on_one_line(folder: Path) -> None:
    assert "a\\nb: cannot read it" in refusal(folder / "a\nb")


def test_a_long_file_is_read_just_far_enough_to_be_refused(folder: Path) -> None:
    path = write(folder / "a.yaml", "x" * (2 * MOST_BYTES))
    assert len(read_sources(str(path), uid=SOMEBODY)[0][1]) == MOST_BYTES + 1


def test_many_long_files_are_not_all_read(folder: Path) -> None:
    for number in range(20):
        write(folder / f"{number:02}.yaml", "x" * MOST_BYTES)
    assert "16.yaml: cannot read more than" in refusal(folder)


def test_too_many_files_are_refused(folder: Path) -> None:
    for number in range(MOST_FILES + 1):
        (folder / f"{number}.yaml").touch()
    assert "are more than 1000" in refusal(folder)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> int:
    """The user who runs the tests, taken for root."""
    monkeypatch.setattr(config_files, "ROOT", os.geteuid())
    return os.geteuid()


def test_root_reads_what_is_roots_alone(folder: Path, root: int) -> None:
    write(folder / "droned.yaml")
    write(folder / "droned.d/a.yaml", mode=0o600)
    (folder / "droned.d/b.yaml").symlink_to("a.yaml")
    assert names(folder, root) == ["droned.yaml", "a.yaml", "b.yaml"]


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_root_reads_no_file_that_others_can_write(folder: Path, root: int, mode: int) -> None:
    path = write(folder / "droned.yaml", mode=mode)
    assert refusal(path, root) == (
        f"{path}: cannot read it: others can write to it (mode {mode:04o}), and droned runs as root: chmod"
        " go-w"
    )
    assert names(path) == ["droned.yaml"]


def test_root_reads_nothing_of_somebody_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder / "droned.yaml")
    monkeypatch.setattr(config_files, "ROOT", SOMEBODY)
    assert f"belongs to user {os.geteuid()}, and droned runs as root: chown root" in refusal(path)


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777])
def test_root_reads_nothing_from_a_folder_that_others_can_write(folder: Path, root: int, mode: int) -> None:
    path = write(folder / "etc/droned.yaml")
    path.parent.chmod(mode)
    assert "others can write to the folder" in refusal(path, root)
    path.rename(path.with_name("web.yaml"))
    assert "others can write to the folder" in refusal(path.parent, root)


def test_root_reads_a_named_file_of_its_own_from_a_sticky_folder(folder: Path, root: int) -> None:
    path = write(folder / "tmp/a.yaml")
    path.parent.chmod(0o1777)
    assert names(path, root) == ["a.yaml"]
    assert "others can write to the folder" in refusal(path.parent, root)


def test_the_owner_of_a_sticky_folder_is_not_stopped_by_that(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder / "tmp/a.yaml")
    path.parent.chmod(0o1777)
    monkeypatch.setattr(config_files, "ROOT", SOMEBODY)
    assert f"the folder {path.parent} belongs to user" in refusal(path)


def test_root_follows_no_link_into_a_folder_that_others_can_write(folder: Path, root: int) -> None:
    real = write(folder / "open/real.yaml")
    real.parent.chmod(0o777)
    link = folder / "droned.yaml"
    link.symlink_to("open/real.yaml")
    assert f"others can write to the folder {real.parent}" in refusal(link, root)


def test_root_follows_no_chain_of_links_through_such_a_folder(folder: Path, root: int) -> None:
    real = write(folder / "safe/real.yaml")
    (folder / "open").mkdir()
    (folder / "open/next.yaml").symlink_to(real)
    (folder / "open").chmod(0o777)
    (folder / "droned.yaml").symlink_to("open/next.yaml")
    assert "others can write to the folder" in refusal(folder / "droned.yaml", root)

"""A reader that follows shows all that is captured, once and in order, whatever happens to files."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.logs.reader.process import COMMAND, LONGEST_S, Reader, Socket, shown
from tests.logs.reader.written import Written

pytestmark = pytest.mark.live

WEB = ("web/0", "stdout")


@pytest.fixture
def written() -> Iterator[Written]:
    with tempfile.TemporaryDirectory() as folder:
        yield Written(Path(folder))


@pytest.fixture
def socket(written: Written) -> Iterator[Socket]:
    made = Socket(written.folder)
    yield made
    made.close()


def test_history_then_what_comes(written: Written, socket: Socket) -> None:
    written.tick((*WEB, b"one\ntw"))
    with Reader(written.folder) as reader:
        reader.until_caught_up()
        socket.accept()
        written.tick((*WEB, b"o\nthree\n"), ("db/0", "stderr", b"new\n"))
        socket.tell(written.position)
        assert reader.until_shown(4) == written.objects


def test_it_is_seen_without_droned_logs_too(written: Written) -> None:
    with Reader(written.folder) as reader:
        reader.until_caught_up()
        written.tick((*WEB, b"alone\n"))
        assert reader.until_shown(1) == written.objects


def test_a_new_droned_logs_is_found(written: Written, socket: Socket) -> None:
    with Reader(written.folder) as reader:
        socket.accept()
        reader.until_caught_up()
        socket.close()
        written.tick((*WEB, b"between\n"))
        reader.until_shown(1)
        socket.open()
        socket.accept()
        written.tick((*WEB, b"after\n"))
        socket.tell(written.position)
        assert reader.until_shown(2) == written.objects


def test_a_folder_may_have_a_longer_path_than_a_socket_can_have() -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = Written(Path(folder, *["long" * 12] * 3))
        socket = Socket(written.folder)
        with Reader(written.folder) as reader:
            socket.accept()
            reader.until_caught_up()
            written.tick((*WEB, b"one\n"))
            socket.tell(written.position)
            assert reader.until_shown(1) == written.objects
        socket.close()


def test_restart_rotation_compression_and_a_new_index(written: Written, socket: Socket) -> None:
    written.began("web/0", 1, "stdout")
    written.tick((*WEB, b"first\nno newline"))
    with Reader(written.folder, apps=["web"]) as reader:
        reader.until_caught_up()
        socket.accept()
        written.ended("web/0", 256)
        socket.tell(written.position)
        reader.until_shown(4)
        written.rotate(WEB)
        written.began("web/0", 2, "stdout")
        written.tick((*WEB, b"second\n"))
        written.compress(WEB)
        written.new_index()
        written.tick((*WEB, b"third\n"), ("web/1", "output", b"one more instance\n"))
        written.rotate(WEB)
        written.compress(WEB)
        socket.tell(written.position)
        assert reader.until_shown(8) == written.objects


def test_what_was_deleted_before_it_was_read_leaves_a_gap(written: Written, socket: Socket) -> None:
    written.tick((*WEB, b"first\n"))
    with Reader(written.folder, last=0) as reader:
        reader.until_caught_up()
        socket.accept()
        written.tick((*WEB, b"gone\n"))
        written.rotate(WEB)
        written.tick((*WEB, b"kept\n"))
        written.delete_oldest(WEB)
        socket.tell(written.position)
        gap, line = reader.until_shown(2)
        assert gap["event"] == "gap"
        assert line == written.objects[-1]


def test_a_position_of_a_follower_resumes_exactly(written: Written) -> None:
    for number in range(50):
        written.tick((*WEB, b"%d\npart" % number), ("db/0", "stdout", b"x%d\n" % number))
    with Reader(written.folder, last=10) as reader:
        caught = reader.until_caught_up()[-1]
    written.tick((*WEB, b" whole\n"))
    with Reader(written.folder, after=caught["position"]) as again:
        again.until_caught_up()
        assert shown(again.objects) == written.objects[-1:]


def test_a_line_that_is_cut_off_where_a_follower_was_is_told_to_who_goes_on(written: Written) -> None:
    written.began("web/0", 1, "stdout")
    written.tick((*WEB, b"whole\npart"))
    with Reader(written.folder) as reader:
        caught = reader.until_caught_up()[-1]
    assert caught["position"] == written.position
    with Reader(written.folder, after=caught["position"]) as again:
        again.until_caught_up()
        written.ended("web/0", 256)
        assert again.until_shown(2) == written.objects[-2:]
    with Reader(written.folder, after=caught["position"]) as again:
        assert again.until_shown(2) == written.objects[-2:]


def test_it_ends_when_nobody_reads(written: Written) -> None:
    with Reader(written.folder) as reader:
        reader.until_caught_up()
        assert reader.process.stdout is not None
        reader.process.stdout.close()
        assert reader.process.wait(LONGEST_S) == 0


def test_a_question_that_cannot_be_answered(written: Written) -> None:
    text = f'{{"folder": "{written.folder}", "grep": "("}}'.encode()
    done = subprocess.run(COMMAND, input=text, capture_output=True, timeout=LONGEST_S)
    assert (done.returncode, done.stderr) == (2, b"")
    assert b"cannot search for '('" in done.stdout

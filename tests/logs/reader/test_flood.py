"""The last lines are found while segments are deleted faster than a reader can open them."""

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.logs.reader.process import Reader, answered
from tests.logs.reader.written import Key, Written

pytestmark = pytest.mark.live

WEB: Key = ("web/0", "stdout")
ANSWERS = 12


@pytest.fixture
def written() -> Iterator[Written]:
    with tempfile.TemporaryDirectory() as folder:
        yield Written(Path(folder))


@contextmanager
def flooded(written: Written) -> Iterator[None]:
    """A line a segment, of which two are there at any time, as fast as can be."""
    is_over = threading.Event()

    def flood() -> None:
        while not is_over.is_set():
            written.tick((*WEB, b"%d\n" % written.position))
            written.rotate(WEB)
            if len(written.segments[WEB]) > 2:
                written.delete_oldest(WEB)

    written.tick((*WEB, b"first\n"))
    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def test_there_is_always_a_last_line(written: Written) -> None:
    with flooded(written):
        told = [answered(written.folder, last=1) for _number in range(ANSWERS)]
    positions = [line["position"] for line, _end in told]
    assert positions == sorted(positions)
    known = {one["position"]: one for one in written.objects}
    assert all(known[line["position"]] == line for line, _end in told)


def test_a_follow_goes_on_behind_the_last_line_and_keeps_nothing_deleted(written: Written) -> None:
    with flooded(written), Reader(written.folder, last=1) as reader:
        seen = reader.until_caught_up()
        assert "line" in seen[0]
        reader.until(lambda objects: sum("line" in one for one in objects) > 20)
    positions = [one["position"] for one in reader.objects if "line" in one]
    assert positions == sorted(set(positions)), json.dumps(positions)

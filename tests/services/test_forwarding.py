"""Forwarding to one sink: order, positions, slow and failing sinks, readers that end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from droned.models.sinks import Address, Sink, SinkFailed, SinkKind
from droned.protocols.captured import CapturedLine
from droned.services.backlog import MOST_BATCH_BYTES, MOST_LINES, Backlog
from droned.services.forwarding import LONGEST_WAIT_S, OVERDUE_S, SAVE_S, Forwarding
from tests.fakes.clock import FakeClock
from tests.fakes.pools import InlinePool
from tests.fakes.sinks import FakePositions, FakeReader, FakeSinkLink
from tests.protocols.wire import lines

SINK = Sink(
    name="far", kind=SinkKind.SYSLOG, address=Address(scheme="tcp", host="far", port=514), apps=("web",)
)


class Bench:
    """One forwarding over fakes."""

    def __init__(
        self, positions: FakePositions | None = None, link: FakeSinkLink | None = None, since: float = 77.0
    ) -> None:
        self.clock = FakeClock()
        self.link = link or FakeSinkLink()
        self.positions = positions or FakePositions()
        self.readers: list[FakeReader] = []
        self.told: list[str] = []
        self.failing_readers = 0
        self.forwarding = Forwarding(
            SINK,
            link=self.link,
            new_reader=self._reader,
            folder="/logs",
            since=since,
            positions=self.positions,
            pool=InlinePool(),
            timers=self.clock,
            clock=self.clock,
            run=lambda work, what: work if isinstance(work, Deferred) else Deferred.fromCoroutine(work),  # type: ignore[arg-type]  # an Awaitable of ours is a coroutine
            overdue=self.told.append,
            recovered=lambda: self.told.append("well"),
        )
        Deferred.fromCoroutine(self.forwarding.begin())

    def _reader(self, received: Callable[[bytes], None], ended: Callable[[int], None]) -> FakeReader:
        made = FakeReader(received, ended)
        made.fails = self.failing_readers > 0
        self.failing_readers -= 1
        self.readers.append(made)
        return made

    @property
    def reader(self) -> FakeReader:
        return self.readers[-1]

    @property
    def taken(self) -> list[int]:
        return [line.position for line in self.link.taken]

    def turn(self) -> None:
        """A turn of the reactor."""
        self.clock.advance(0)

    def stop(self) -> None:
        done = Deferred.fromCoroutine(self.forwarding.stop())
        assert done.called
        assert self.clock.pending == 0


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.stop()


def test_a_new_sink_begins_when_it_is_new(bench: Bench) -> None:
    asked = bench.reader.question
    assert (asked["since"], asked["after"], asked["follow"], asked["apps"]) == (77.0, None, True, ["web"])


def test_lines_come_in_order_and_the_position_is_remembered_once_a_second(bench: Bench) -> None:
    bench.reader.prints_lines(1, 5)
    bench.turn()
    bench.reader.prints_lines(6, 250)
    for _ in range(4):
        bench.turn()
    assert bench.taken == list(range(1, 251))
    assert bench.positions.positions == {"far": None}
    bench.clock.advance(SAVE_S)
    assert bench.positions.positions == {"far": 250}
    assert bench.positions.writes == 2  # the first one says where it began
    assert bench.forwarding.note == "far: 250 lines"


def test_one_that_comes_later_goes_on_where_the_sink_is() -> None:
    first = Bench()
    first.reader.prints_lines(1, 10)
    first.turn()
    first.link.is_taking = False
    first.reader.prints_lines(11, 20)
    first.turn()
    first.stop()
    assert first.taken == list(range(1, 11))
    second = Bench(positions=first.positions)
    assert (second.reader.question["after"], second.reader.question["since"]) == (10, None)
    second.stop()


def test_a_sink_that_took_nothing_yet_still_begins_where_it_began() -> None:
    first = Bench()
    first.link.is_taking = False
    first.reader.prints_lines(1, 10)
    first.stop()
    second = Bench(positions=first.positions, since=99.0)
    assert (second.reader.question["after"], second.reader.question["since"]) == (None, 77.0)
    second.stop()


def test_a_sink_that_has_all_is_as_far_as_the_reader(bench: Bench) -> None:
    bench.reader.prints_lines(1, 2)
    bench.reader.prints({"event": "run", "position": 5}, {"event": "caught_up", "position": 9})
    bench.turn()
    bench.clock.advance(SAVE_S)
    assert bench.positions.positions == {"far": 9}


def test_nothing_is_remembered_that_was_not_taken(bench: Bench) -> None:
    bench.link.is_taking = False
    bench.reader.prints_lines(1, 2)
    bench.reader.prints({"event": "caught_up", "position": 9})
    bench.clock.advance(10 * SAVE_S)
    assert bench.positions.positions == {"far": None}


def test_a_slow_sink_holds_up_the_reader_and_loses_nothing(bench: Bench) -> None:
    bench.link.is_taking = False
    bench.reader.prints_lines(1, MOST_LINES)
    assert bench.reader.is_paused
    for _ in range(MOST_LINES // 100 // 2 - 1):
        bench.link.answer(0)
        bench.turn()
    assert bench.reader.is_paused
    bench.link.answer(0)
    bench.turn()
    resumed = not bench.reader.is_paused
    assert resumed
    bench.link.is_taking = True
    bench.link.answer(0)
    while bench.clock.pending > 1:
        bench.turn()
    assert bench.taken == list(range(1, MOST_LINES + 1))


def test_few_bytes_are_held(bench: Bench) -> None:
    bench.link.is_taking = False
    bench.reader.prints_lines(1, 20, size=64_000)
    assert bench.reader.is_paused


def test_what_failed_is_sent_again_later_and_later(bench: Bench) -> None:
    bench.link.is_taking = False
    bench.reader.prints_lines(1, 3)
    waits = []
    for _ in range(9):
        bench.link.answer(SinkFailed("nobody listens"))
        waited = 0.0
        while not bench.link.is_asked:
            bench.clock.advance(0.5)
            waited += 0.5
        waits.append(waited)
    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *[LONGEST_WAIT_S] * 3]
    assert bench.forwarding.note == "far: 0 lines; nobody listens"
    bench.link.answer(0)
    assert bench.taken == [1, 2, 3]
    assert bench.forwarding.note == "far: 3 lines"


def test_a_sink_says_when_it_is_to_be_tried_again(bench: Bench) -> None:
    bench.link.is_taking = False
    bench.reader.prints_lines(1, 1)
    bench.link.answer(SinkFailed("429", 40.0))
    bench.clock.advance(39.9)
    assert not bench.link.is_asked
    bench.clock.advance(0.1)
    assert bench.link.is_asked


def test_a_fault_of_ours_is_a_failure_like_any_other(bench: Bench) -> None:
    bench.link.is_taking = False
    bench.reader.prints_lines(1, 1)
    bench.link.answer(RuntimeError("a bug"))
    assert bench.forwarding.note == "far: 0 lines; RuntimeError: a bug"
    bench.link.is_taking = True
    bench.clock.advance(1.0)
    assert bench.taken == [1]


@pytest.mark.parametrize("failure", ["refuses", "stalls"])
def test_a_minute_without_anything_taken_is_told_and_its_end_too(bench: Bench, failure: str) -> None:
    bench.reader.prints_lines(1, 1)
    bench.turn()
    assert bench.told == ["well"]
    bench.link.is_taking = False
    bench.reader.prints_lines(2, 2)
    bench.turn()
    if failure == "refuses":
        bench.link.answer(SinkFailed("it is full", 100.0))
    bench.clock.advance(OVERDUE_S - 1)
    assert bench.told == ["well"]
    bench.clock.advance(1)
    why = "it is full" if failure == "refuses" else "it takes nothing of what it is sent"
    assert bench.told == ["well", why]
    bench.clock.advance(50.0)
    bench.link.answer(0)
    assert bench.told == ["well", why, "well"]
    assert bench.taken == [1, 2]


def test_what_is_refused_for_good_is_given_up_and_told_when_it_goes_on(bench: Bench) -> None:
    bench.link.is_taking = False
    bench.link.refusal = "400: no such label"
    bench.reader.prints_lines(1, 3)
    bench.link.answer(3)
    bench.turn()
    assert bench.forwarding.note == "far: 0 lines, 3 given up; it refuses what it is sent: 400: no such label"
    bench.clock.advance(OVERDUE_S)
    assert bench.told == ["it refuses what it is sent: 400: no such label"]
    assert bench.positions.positions == {"far": 3}
    bench.reader.prints_lines(4, 5)
    bench.link.answer(1)
    assert bench.told[-1] == "well"
    assert bench.forwarding.note == "far: 1 line, 4 given up"


def test_a_gap_is_counted(bench: Bench) -> None:
    bench.reader.prints({"event": "gap", "position": 100})
    bench.reader.prints_lines(101, 101)
    assert bench.forwarding.note == "far: 1 line, 1 gap"


def test_lines_wait_a_little_for_more() -> None:
    class Lingering(FakeSinkLink):
        linger_s = 1.0

    bench = Bench(link=Lingering())
    bench.reader.prints_lines(1, 1)
    bench.clock.advance(0.5)
    bench.reader.prints_lines(2, 2)
    bench.clock.advance(0.4)
    assert bench.link.asked == []
    bench.clock.advance(0.1)
    assert bench.taken == [1, 2]
    bench.turn()
    # As much as can be sent at once does not wait.
    bench.reader.prints_lines(3, 102)
    assert bench.taken[-1] == 102
    bench.stop()


def test_a_reader_that_ends_is_followed_by_another(bench: Bench) -> None:
    bench.reader.prints_lines(1, 7)
    bench.reader.ended(9)
    assert bench.forwarding.note == "far: 7 lines; the reader of logs has ended"
    assert len(bench.readers) == 1
    bench.clock.advance(0.5)
    assert bench.reader.question["after"] == 7
    # What an earlier one still prints is of no meaning.
    bench.readers[0].prints_lines(8, 8)
    bench.reader.prints_lines(8, 9)
    bench.turn()
    bench.turn()
    assert bench.taken == list(range(1, 10))
    assert bench.forwarding.note == "far: 9 lines"


@pytest.mark.parametrize("piece", [b"no JSON\n", b'{"position": 1}\n', b"x" * 2_000_000])
def test_a_reader_that_prints_anything_else_is_ended(bench: Bench, piece: bytes) -> None:
    bench.reader.received(piece)
    assert bench.readers[0].is_killed
    assert "cannot" in bench.forwarding.note
    bench.clock.advance(0.5)
    assert len(bench.readers) == 2


def test_a_question_that_cannot_be_answered_is_told(bench: Bench) -> None:
    bench.reader.prints({"error": "no index"})
    bench.reader.ended(512)
    assert bench.forwarding.note == "far: 0 lines; cannot read logs: no index"
    for _ in range(20):
        bench.clock.advance(LONGEST_WAIT_S)
        bench.reader.ended(512)
    assert len(bench.readers) == 21
    assert bench.told[0] == "cannot read logs: no index"
    bench.clock.advance(LONGEST_WAIT_S)
    bench.reader.prints({"event": "caught_up", "position": 3})
    assert bench.told[-1] == "well"


def test_a_reader_that_cannot_be_begun_is_tried_again() -> None:
    bench = Bench()
    bench.failing_readers = 2
    bench.reader.ended(9)
    bench.clock.advance(0.5)
    assert "no room" in bench.forwarding.note
    bench.clock.advance(1.0)
    bench.clock.advance(2.0)
    bench.reader.prints_lines(1, 1)
    assert bench.taken == [1]
    bench.stop()


def test_a_position_that_cannot_be_written_stops_nothing(bench: Bench) -> None:
    bench.positions.is_failing = True
    bench.reader.prints_lines(1, 1)
    bench.clock.advance(SAVE_S)
    bench.positions.is_failing = False
    bench.reader.prints_lines(2, 2)
    bench.clock.advance(SAVE_S)
    assert bench.positions.positions == {"far": 2}


@pytest.mark.parametrize("moment", ["idle", "sending", "waiting"])
def test_a_stop_leaves_nothing_behind(moment: str) -> None:
    bench = Bench()
    bench.reader.prints_lines(1, 1)
    bench.turn()
    if moment != "idle":
        bench.link.is_taking = False
        bench.reader.prints_lines(2, 2)
    if moment == "waiting":
        bench.link.answer(SinkFailed("no"))
    bench.stop()
    assert bench.link.is_closed
    assert bench.reader.is_killed
    assert bench.positions.positions == {"far": 1}


@given(st.lists(lines), st.lists(st.integers(1, 5)))
def test_a_backlog_gives_back_what_was_put(sent: list[CapturedLine], sizes: list[int]) -> None:
    backlog = Backlog()
    for line in sent:
        backlog.put(line)
    for size in sizes:
        batch = backlog.first(size)
        assert batch == sent[:size]
        backlog.drop(len(batch))
        sent = sent[size:]
        assert len(backlog) == len(sent)
        assert backlog.size_bytes == sum(line.size_bytes for line in sent)
        assert not backlog.is_full


def test_a_batch_has_as_many_bytes_as_it_may_but_one_line_at_least() -> None:
    backlog = Backlog()
    line = CapturedLine(1, "", "web/0", 1, "stdout", "x" * (MOST_BATCH_BYTES - 1))
    for text in ("x", line.text, line.text + "yy"):
        backlog.put(line._replace(text=text))
    assert [len(each.text) for each in backlog.first(10)] == [1, MOST_BATCH_BYTES - 1]
    backlog.drop(2)
    assert len(backlog.first(10)) == 1

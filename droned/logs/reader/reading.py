"""Lines out of bytes: what was captured between two positions, merged into the order of capture.

A walk gives pages; each is read in windows of so many bytes of the streams asked for. In a window each stream
is read on its own, its lines are found and filtered, and only what is to be shown gets its position and is
sorted. What has begun and not ended is carried into the next window.

A line of 64 KiB and more comes in pieces of 64 KiB; each is searched for itself. Where a run begins or ends a
line ends too: it has the position at which that was told, as nobody knew before.
"""

from collections.abc import Iterator
from operator import itemgetter
from typing import Any, NamedTuple

from droned.logs.reader.blocks import Fact
from droned.logs.reader.extents import Extents
from droned.logs.reader.index import Index
from droned.logs.reader.question import Question
from droned.logs.reader.runs import BORDERS, Runs, Wanted, borders_after, borders_before
from droned.logs.reader.search import Search, every_line
from droned.logs.reader.streams import Stream, Streams
from droned.logs.reader.walk import Page

PIECE_BYTES = 64 * 1024


class Line(NamedTuple):
    """One line to be shown. `time_us` is when its end was captured."""

    position: int
    order: int
    """Among what has the same position."""
    time_us: int
    instance: str
    stream: str
    run: int | None
    text: bytes
    has_more: bool = False
    is_partial: bool = False


class Event(NamedTuple):
    """Something else to be shown: `what` is its object but for position and time."""

    position: int
    order: int
    time_us: int | None
    what: dict[str, Any]


Item = Line | Event


class Part(NamedTuple):
    """What a window has of one stream: pieces, each with its offset, from `start` to `end`."""

    stream: Stream
    extents: Extents
    start: int
    end: int
    pieces: list[tuple[int, bytes]]


class CutOff(NamedTuple):
    """What a run's beginning or end had cut off a line, told again with it: `fact` is number `order`."""

    stream: Stream
    text: bytes
    start: int
    fact: Fact
    order: int


class Window(NamedTuple):
    """What is read at once. Facts are in the order of the index."""

    start: int
    end: int
    parts: list[Part]
    facts: list[Fact]
    again: list[CutOff]


class Reading:
    """The lines of one walk from `begin` on, position None: from the oldest that is kept."""

    def __init__(self, question: Question, index: Index, streams: Streams, begin: int | None) -> None:
        self._question = question
        self._index = index
        self._streams = streams
        self._begin = begin
        goes_on = begin is not None and begin == question.after
        self._runs = Runs(index, begin - 1 if begin is not None and goes_on else begin)
        self.search = (
            Search(question.grep, is_inverted=question.is_inverted, ignore_case=question.ignore_case)
            if question.grep is not None
            else None
        )
        self.wanted: Wanted | None = None
        self.shows_begun_lines = False
        """Are the last lines of streams to be shown even without newline?"""
        self.tells_gaps = False
        self.has_read = False
        self.has_missed = False
        """Was anything deleted before it was read?"""

    def windows(self, page: Page, after: int | None, until: int | None, size: int) -> Iterator[Window]:
        """The page between two positions, in parts of about `size` bytes. Reads them.

        Facts at the position that a client goes on from are told again, with the lines that they cut off: it
        may have seen only some of that.
        """
        at = page.start if after is None else max(page.start, after)
        end = page.end if until is None else min(page.end, until)
        facts = [
            fact
            for fact in page.facts
            if (after is None or fact.position > after or fact.position == after == self._question.after)
            and (until is None or fact.position <= until)
        ]
        while True:
            stop = self._stop(page, at, end, size)
            here = [fact for fact in facts if fact.position <= stop]
            facts = facts[len(here) :]
            parts = [
                Part(stream, extents, first, last, [])
                for stream, extents in page.extents.items()
                if (last := extents.offset_at(stop)) > (first := extents.offset_at(at))
            ]
            for part in parts:
                self._begin_at(part.stream, part.start)
                part.pieces.extend(part.stream.segments.read(part.start, part.end))
                self.has_read |= bool(part.pieces)
            again: list[CutOff] = []
            for order, fact in enumerate(here):
                for stream, offset in self._borders(fact):
                    self._begin_at(stream, offset)
                    if fact.position == after == self._question.after:
                        again.append(self._cut_off(stream, offset, fact, order))
            if parts or here:
                yield Window(at, stop, parts, here, again)
            at = stop
            if at >= end:
                return

    def _stop(self, page: Page, at: int, end: int, size: int) -> int:
        stop = end
        while stop - at > 1:
            total = sum(extents.offset_at(stop) - extents.offset_at(at) for extents in page.extents.values())
            if total <= 2 * size:
                break
            stop = at + max(1, (stop - at) * size // total)
        return stop

    def _begin_at(self, stream: Stream, offset: int) -> None:
        """Find the line that had begun at this offset, when the stream is come by for the first time."""
        if stream.is_begun:
            return
        stream.is_begun = True
        if self._begin is not None:
            stream.carry = self._line_before(stream, offset, self._begin, self._begin)
        stream.carry_start = offset - len(stream.carry)

    def _cut_off(self, stream: Stream, offset: int, fact: Fact, order: int) -> CutOff:
        text = self._line_before(stream, offset, fact.position - 1, fact.position)
        return CutOff(stream, text, offset - len(text), fact, order)

    def _line_before(self, stream: Stream, offset: int, told: int, told_before: int) -> bytes:
        """What has no newline before this offset, and is no whole piece.

        It goes back to where a run began or ended: at the offset as told up to the position `told`, before it
        as told up to `told_before`.
        """
        start = stream.segments.line_start(offset, 0)
        if start < offset:
            key = (stream.instance, stream.name)
            borders = [at for at in borders_before(self._index, key, start, told) if at == offset]
            earlier = borders_before(self._index, key, start, told_before)
            start = max([start, *borders, *(at for at in earlier if at < offset)])
        start += (offset - start) // PIECE_BYTES * PIECE_BYTES
        return b"".join(data for _at, data in stream.segments.read(start, offset))

    def _borders(self, fact: Fact) -> Iterator[tuple[Stream, int]]:
        """The streams of which a run begins or ends with this fact, and where."""
        if fact.told.get("fact") in BORDERS:
            for stream in self._streams.of(str(fact.told.get("instance"))):
                offset = _offset(fact, stream)
                if offset is not None:
                    yield stream, offset

    def items(self, window: Window) -> list[Item]:
        """What a window has to show, in the order of capture."""
        found: list[Item] = []
        for fact in window.facts:
            if fact.told.get("fact") == "began":
                self._runs.add(fact)
        closings: dict[tuple[str, str], list[tuple[int, Fact, int]]] = {}
        for order, fact in enumerate(window.facts):
            self._event(found, fact, 2 * order + 2)
            for stream, offset in self._borders(fact):
                key = (stream.instance, stream.name)
                closings.setdefault(key, []).append((offset, fact, 2 * order + 1))
        shown: set[tuple[Stream, int]] = set()
        for stream, text, start, fact, order in window.again:
            if (stream, start) not in shown:  # a run's end and the beginning of the next may tell of the same
                shown.add((stream, start))
                self._end_line(found, stream, text, start, fact.position, fact.time_us, 2 * order + 1)
        for part in window.parts:
            self._part(found, window, part, closings.pop((part.stream.instance, part.stream.name), []))
        for (instance, name), closing in closings.items():
            closed = self._streams.get(instance, name)
            for offset, fact, order in closing:
                if closed is not None and offset >= closed.carry_end:
                    self._close(found, closed, fact.position, fact.time_us, order)
        found.sort(key=itemgetter(0, 1))
        return found

    def _part(
        self, found: list[Item], window: Window, part: Part, closing: list[tuple[int, Fact, int]]
    ) -> None:
        stream = part.stream
        for at, data in part.pieces:
            if at != stream.carry_end:
                self._gap(found, window, stream, at)
            end = at + len(data)
            done = at
            while closing and closing[0][0] <= end:
                offset, fact, order = closing.pop(0)
                if offset >= done:
                    self._feed(found, stream, data[done - at : offset - at], part.extents)
                    self._close(found, stream, fact.position, fact.time_us, order)
                    done = offset
            self._feed(found, stream, data[done - at :] if done > at else data, part.extents)
        if stream.carry_end < part.end:
            self._gap(found, window, stream, part.end)
        for _offset, fact, order in closing:
            self._close(found, stream, fact.position, fact.time_us, order)
        if self._is_last(window, stream, part.end):
            position, time_us = part.extents.place_of(part.end)
            self._close(found, stream, position, time_us, 0)

    def _is_last(self, window: Window, stream: Stream, end: int) -> bool:
        """Is what is carried the end of its stream, and no end of a run that is told of later?"""
        if not self.shows_begun_lines or not stream.carry or end < stream.segments.end(end):
            return False
        return end not in borders_after(self._index, (stream.instance, stream.name), window.start)

    def _gap(self, found: list[Item], window: Window, stream: Stream, offset: int) -> None:
        """What lay before this offset is gone."""
        stream.carry, stream.carry_start = b"", offset
        self.has_missed = True
        if self.tells_gaps:
            found.append(Event(window.start, -1, None, {"event": "gap"}))
            self.tells_gaps = False

    def _feed(self, found: list[Item], stream: Stream, data: bytes, extents: Extents) -> None:
        text = stream.carry + data if stream.carry else data
        base = stream.carry_start
        whole = text.rfind(b"\n") + 1
        at = 0
        while at < whole:  # short lines up to `stop`, then perhaps a long one
            stop = at
            while stop < whole and (last := text.rfind(b"\n", stop, min(stop + PIECE_BYTES, whole))) >= 0:
                stop = last + 1
            if stop > at:
                lines = self.search.lines(text, at, stop) if self.search else every_line(text, at, stop)
                for begin, end in lines:
                    self._show(found, stream, text[begin:end], base + begin, base + end + 1, extents)
                at = stop
            if at < whole:
                at = self._pieces(found, stream, text, at, extents, text.find(b"\n", at))
        at = self._pieces(found, stream, text, at, extents, -1)
        stream.carry, stream.carry_start = text[at:], base + at

    def _pieces(
        self, found: list[Item], stream: Stream, text: bytes, at: int, extents: Extents, newline: int
    ) -> int:
        """Show what there is of a long line up to `newline`, -1: not yet there; gives how far it came."""
        base = stream.carry_start
        end = newline if newline >= 0 else len(text)
        while end - at >= PIECE_BYTES:
            piece = text[at : at + PIECE_BYTES]
            if self.search is None or self.search.is_in(piece):
                stop = base + at + PIECE_BYTES
                self._show(found, stream, piece, base + at, stop, extents, has_more=True)
            at += PIECE_BYTES
        if newline < 0:
            return at
        piece = text[at:end]
        if self.search is None or self.search.is_in(piece):
            self._show(found, stream, piece, base + at, base + end + 1, extents)
        return newline + 1

    def _show(
        self,
        found: list[Item],
        stream: Stream,
        text: bytes,
        start: int,
        end: int,
        extents: Extents,
        *,
        has_more: bool = False,
    ) -> None:
        position, time_us = extents.place_of(end)
        self._line(
            found, Line(position, 0, time_us, stream.instance, stream.name, None, text, has_more), start
        )

    def _close(self, found: list[Item], stream: Stream, position: int, time_us: int, order: int) -> None:
        """A line ends without newline."""
        text, start = stream.carry, stream.carry_start
        stream.carry, stream.carry_start = b"", stream.carry_end
        self._end_line(found, stream, text, start, position, time_us, order)

    def _end_line(
        self,
        found: list[Item],
        stream: Stream,
        text: bytes,
        start: int,
        position: int,
        time_us: int,
        order: int,
    ) -> None:
        if text and (self.search is None or self.search.is_in(text)):
            line = Line(position, order, time_us, stream.instance, stream.name, None, text, is_partial=True)
            self._line(found, line, start)

    def _line(self, found: list[Item], line: Line, start: int) -> None:
        question = self._question
        if question.since_us is not None and question.after is None and line.time_us < question.since_us:
            return
        if question.until_us is not None and line.time_us > question.until_us:
            return
        run = self._runs.at(line.instance, line.stream, start)
        if self.wanted is None or self.wanted.has(line.instance, run):
            found.append(line._replace(run=run))

    def _event(self, found: list[Item], fact: Fact, order: int) -> None:
        told, question = fact.told, self._question
        if question.since_us is not None and question.after is None and fact.time_us < question.since_us:
            return
        if question.until_us is not None and fact.time_us > question.until_us:
            return
        kind = told.get("fact")
        if kind in BORDERS and self.search is None:
            if self.wanted is None or self.wanted.has(told["instance"], told["run"]):
                what = {"event": "run", "instance": told["instance"], "run": told["run"], "what": kind}
                if kind == "ended":
                    what["status"] = told.get("status")
                found.append(Event(fact.position, order, fact.time_us, what))
        elif kind == "lost" and told["stream"] in question.streams:
            what = {"event": "lost", "instance": told["instance"], "stream": told["stream"]}
            what |= {"bytes": told["bytes"], "reason": told["reason"]}
            found.append(Event(fact.position, order, None, what))


def _offset(fact: Fact, stream: Stream) -> int | None:
    offsets = fact.told.get("offsets")
    offset = offsets.get(stream.name) if isinstance(offsets, dict) else None
    return offset if isinstance(offset, int) else None

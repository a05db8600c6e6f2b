"""A walk along the index: page by page, what was captured of the streams that are asked for, and where.

A page is some blocks of one file. The walk knows how far each stream has come; what a file of the index says
at its head beyond that has been captured without an entry, and is told of at that place. What is older than
all of the index comes first, ordered by the times of its segments.
"""

from bisect import bisect_left, bisect_right

from droned.logs.reader.blocks import Blocks, Fact
from droned.logs.reader.extents import Extents
from droned.logs.reader.index import Index, streams_told
from droned.logs.reader.question import Question
from droned.logs.reader.streams import Stream, Streams

_FIRST_BYTES = 128 * 1024
_MOST_BYTES = 1024 * 1024
"""So much of the index is a page: less at first, for the sake of the first lines."""
_DAMAGED = 2**62
_FEW = 4
"""Up to so many streams are each looked for in a tick; of more, all pairs are gone through."""


class Page:
    """What was captured between two positions of the streams that are asked for, and the facts in it."""

    __slots__ = ("end", "extents", "facts", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.end = start
        self.extents: dict[Stream, Extents] = {}
        self.facts: list[Fact] = []

    def of(self, stream: Stream) -> Extents:
        """The extents of a stream, from where it has come to so far."""
        found = self.extents.get(stream)
        if found is None:
            found = self.extents[stream] = Extents(stream.offset)
        return found


class _Row:
    """The extents of a stream while they are filled: millions of times where many streams are asked for."""

    __slots__ = ("add_offset", "add_position", "add_time", "offset")

    def __init__(self, extents: Extents) -> None:
        self.offset = extents.end
        self.add_offset = extents.offsets.append
        self.add_position = extents.positions.append
        self.add_time = extents.times.append


class Walk:
    """From one position on to the end of the index, and on from there when more is written."""

    def __init__(self, question: Question, index: Index, streams: Streams) -> None:
        self._question = question
        self._index = index
        self._streams = streams
        self._numbers: dict[int, Stream] = {}
        self._file: int | None = None
        self._at = 0
        self._size = _FIRST_BYTES
        self._is_fresh = False
        self.position = 0

    @property
    def file(self) -> int | None:
        """The file of the index in which it is."""
        return self._file

    def begin(self, position: int | None) -> list[Page]:
        """Go to a position, None: to the oldest that is kept. Gives what is older than the index."""
        starts = self._index.starts
        first = starts[0] if starts else None
        if position is not None and first is not None and position >= first:
            self._is_fresh = True
            self._file = starts[max(0, bisect_left(starts, position) - 1)]  # facts at it end the file before
            self.position = self._file
            return []
        page = self._unindexed(first)
        self._file = first
        return [page] if page.extents else []

    def page(self, until: int | None = None, skip_to: int | None = None) -> Page | None:
        """The next page of what the index has by now; None at its end, or at position `until`.

        What lies before `skip_to` may be left out of it.
        """
        while self._file is not None:
            if until is not None and self.position > until:
                return None
            if self._at == 0 and (passed := self._passed_by()) is not None:
                self._next_file()
                return passed
            blocks = self._index.blocks(self._file)
            first = bisect_right(blocks.stops, self._at)
            if first == len(blocks):
                if not self._next_file():
                    return None
                continue
            last = max(first + 1, bisect_right(blocks.stops, self._at + self._size))
            self._size = min(2 * self._size, _MOST_BYTES)
            self._at = blocks.stops[last - 1]
            end = blocks.positions[last] if last < len(blocks) else blocks.end_position
            if skip_to is not None and end < skip_to:
                self._pass_by(blocks, first, last)
                self.position = end
                continue
            return self._page_of(blocks, first, last, end)
        return None

    def more(self) -> Page | None:
        """What has been written to the index since; None when there is nothing new."""
        while True:
            if self._file is not None:
                content = self._index.content(self._file, max(self._at, 0))
                blocks = Blocks(content, self.position)
                if len(blocks):
                    self._at = max(self._at, 0) + blocks.end
                    return self._page_of(blocks, 0, len(blocks), blocks.end_position)
            self._index.look()
            if not self._next_file():
                return None

    def _next_file(self) -> bool:
        later = [start for start in self._index.starts if self._file is None or start > self._file]
        if not later:
            return False
        self._file, self._at, self._numbers = later[0], 0, {}
        return True

    def _passed_by(self) -> Page | None:
        """The whole file as facts alone, where the head of the next file shows that it has nothing else."""
        at = bisect_right(self._index.starts, self._file or 0)
        if self._file is None or at == len(self._index.starts):
            return None
        following = self._index.starts[at]
        before, after = self._asked_at(self._file), self._asked_at(following)
        if before is None or before != after:
            return None
        page = Page(self.position)
        if (head := self._index.head(self._file)) is not None:
            self._take(page, head)
        if page.extents:
            return None
        for instance, facts in self._index.facts_of(self._file).items():
            page.facts += facts if self._question.asks_about(instance) else []
        page.facts.sort(key=lambda fact: fact.position)
        page.end = self.position = following
        return page

    def _asked_at(self, start: int) -> dict[tuple[str, str], int] | None:
        if self._index.head(start) is None:
            return None
        asks = self._question.asks_for
        return {
            (instance, stream): offset
            for _number, instance, stream, offset in self._index.streams(start)
            if offset and asks(instance, stream)
        }

    def _page_of(self, blocks: Blocks, first: int, last: int, end: int) -> Page:
        page = Page(min(self.position, blocks.positions[first]))
        sound = blocks.sound(first, last)
        if sound < last:  # what is behind it cannot be trusted: the next file knows how far streams had come
            last, end, self._at = sound, blocks.positions[sound], _DAMAGED
        at = first
        for number in [*blocks.fact_numbers(first, last), last]:
            self._ticks(page, blocks, at, number)
            if number < last and (fact := blocks.fact(number)):
                self._take(page, fact)
            at = number + 1
        page.end = self.position = max(end, page.start)
        return page

    def _ticks(self, page: Page, blocks: Blocks, first: int, last: int) -> None:
        numbers = self._numbers
        if first >= last or not numbers:
            return
        if len(numbers) <= _FEW:
            for number, stream in numbers.items():
                for tick, position, length in blocks.pairs_of(number, first, last):
                    page.of(stream).add(length, position, blocks.times[tick])
                    stream.offset += length
            return
        rows: dict[int, _Row] = {}
        for tick in range(first, last):
            position, time_us = blocks.positions[tick], blocks.times[tick]
            for number, length in blocks.pairs(tick):
                position += length
                row = rows.get(number)
                if row is None:
                    if number not in numbers:
                        continue
                    row = rows[number] = _Row(page.of(numbers[number]))
                row.offset = offset = row.offset + length
                row.add_offset(offset)
                row.add_position(position)
                row.add_time(time_us)
        for number, row in rows.items():
            numbers[number].offset = row.offset

    def _pass_by(self, blocks: Blocks, first: int, last: int) -> None:
        """Go over these blocks and know only how far streams come in them."""
        at = first
        for number in [*blocks.fact_numbers(first, last), last]:
            if at < number:
                self._pass_by_ticks(blocks, at, number)
            if number < last and (fact := blocks.fact(number)):
                self._take(Page(fact.position), fact)
            at = number + 1

    def _pass_by_ticks(self, blocks: Blocks, first: int, last: int) -> None:
        numbers = self._numbers
        if len(numbers) <= _FEW:
            for number, stream in numbers.items():
                stream.offset += sum(length for _tick, _end, length in blocks.pairs_of(number, first, last))
            return
        for tick in range(first, last):
            for number, length in blocks.pairs(tick):
                found = numbers.get(number)
                if found is not None:
                    found.offset += length

    def _take(self, page: Page, fact: Fact) -> None:
        kind = fact.told.get("fact")
        if kind == "streams":
            self._take_streams(page, fact)
        elif self._question.asks_about(str(fact.told.get("instance"))):
            page.facts.append(fact)

    def _take_streams(self, page: Page, fact: Fact) -> None:
        grown: list[tuple[Stream, int]] = []
        for number, instance, name, offset in streams_told(fact.told):
            if not self._question.asks_for(instance, name):
                continue
            stream = self._streams.get(instance, name)
            if stream is None:
                stream = self._streams.new(instance, name)
                stream.offset = offset if self._is_fresh else stream.segments.kept_from(offset)
            self._numbers[number] = stream
            if offset > stream.offset:
                grown.append((stream, offset - stream.offset))
            else:
                stream.offset = offset
        self._is_fresh = False
        position = fact.position - sum(length for _stream, length in grown)
        page.start = min(page.start, position) if grown else page.start
        for stream, length in grown:
            position += length
            page.of(stream).add(length, position, fact.time_us)
            stream.offset += length

    def _unindexed(self, first: int | None) -> Page:
        """What is kept of the time before the first file of the index; all there is where there is none."""
        told = (
            {(name[1], name[2]): name[3] for name in self._index.streams(first)} if first is not None else {}
        )
        spans: list[tuple[int, str, int, int, Stream]] = []
        for instance, name in self._streams.on_disk():
            if not self._question.asks_for(instance, name) or (
                first is not None and (instance, name) not in told
            ):
                continue
            stream = self._streams.get(instance, name) or self._streams.new(instance, name)
            end = told.get((instance, name))
            stream.offset = stream.segments.kept_from(end)
            for start, stop, time_us in stream.segments.spans(end):
                spans.append((time_us, instance + "/" + name, start, stop, stream))
        spans.sort(key=lambda span: span[:4])
        total = sum(stop - start for _time, _name, start, stop, _stream in spans)
        position = first - total if first is not None else 0
        page = Page(position)
        for time_us, _name, start, stop, stream in spans:
            position += stop - start
            page.of(stream).add(stop - start, position, time_us)
            stream.offset = stop
        page.end = self.position = position
        return page

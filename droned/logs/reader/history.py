"""History: from which position to which a question reaches, and all that lies between."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from droned.logs.reader.ahead import ahead
from droned.logs.reader.index import Index
from droned.logs.reader.output import Output
from droned.logs.reader.question import Question
from droned.logs.reader.reading import Item, Line, Reading, Window
from droned.logs.reader.runs import Wanted
from droned.logs.reader.segments import AllSegments
from droned.logs.reader.streams import Streams
from droned.logs.reader.walk import Page, Walk

_FIRST_BYTES = 128 * 1024
_MOST_BYTES = 1024 * 1024
_MANY_BYTES = 4 * 1024 * 1024
_EACH_BYTES = 16 * 1024
"""A window has so much of each stream where there are many, but never more than `_MANY_BYTES`."""
_LAST_BYTES = 128 * 1024
_LAST_FACTOR = 8
_TOLD_S = 0.25
_LOOK_S = 0.01
"""How long it may be until the index tells of what is in a segment, and how often it is looked at then."""
_TRIES = 8
"""So often the last lines are looked for where they are deleted meanwhile."""


class Range:
    """A walk from one position to another and what is read on it; None: the oldest that is kept, the end."""

    def __init__(self, history: "History", begin: int | None, until: int | None) -> None:
        question, index = history.question, history.index
        streams = Streams(question.folder, history.segments)
        self._begin = begin
        self._until = until
        self.walk = Walk(question, index, streams)
        self.reading = Reading(question, index, streams, begin)
        self.reading.wanted = history.wanted
        self.reading.shows_begun_lines = not question.follow
        self.oldest: int | None = None
        self._first = self.walk.begin(begin)
        if self._first:
            self.oldest = self._first[0].start

    def windows(self) -> Iterator[Window]:
        """All of it, small windows first."""
        size = _FIRST_BYTES
        for page in self._pages():
            for window in self.reading.windows(page, self._begin, self._until, size):
                yield window
                size = min(2 * size, max(_MOST_BYTES, min(len(page.extents) * _EACH_BYTES, _MANY_BYTES)))

    def items(self, windows: Iterable[Window]) -> Iterator[list[Item]]:
        """What each window has to show."""
        return map(self.reading.items, windows)

    def _pages(self) -> Iterator[Page]:
        yield from self._first
        while (page := self.walk.page(self._until, self._begin)) is not None:
            yield page


class Last(NamedTuple):
    """The last lines, and what else lies between them, oldest first.

    `newest` is the last part that was read; `is_missed`: there is no line, as all had been deleted.
    """

    newest: Range
    groups: list[list[Item]]
    is_missed: bool


class History:
    """Answers the part of a question that lies in the past."""

    def __init__(self, question: Question, output: Output) -> None:
        self.question = question
        self._output = output
        self.index = Index(question.folder)
        self.segments = AllSegments(question.folder)
        self.wanted: Wanted | None = None
        self.end = self._look_at_the_end()

    def show(self) -> Range:
        """Print it. Gives the range that ends where the future begins."""
        if self.question.last is not None and self.question.after is None:
            return self._show_last(self.question.last)
        begin, until = self._reach()
        found = Range(self, begin, until)
        if self.question.after is not None:
            self._tell_gap(found, begin)
        for items in found.items(ahead(found.windows())):
            self._output.add(items)
        return found

    def _look_at_the_end(self) -> int:
        starts = self.index.starts
        if starts:
            return self.index.blocks(starts[-1]).end_position
        walk = Walk(self.question, self.index, Streams(self.question.folder, self.segments))
        walk.begin(None)
        return walk.position

    def _reach(self) -> tuple[int | None, int | None]:
        """From where to where, None: from the oldest, to the end."""
        question, index = self.question, self.index
        begin: int | None = None
        until: int | None = None
        if question.until_us is not None and not question.follow:
            until = index.end_at(question.until_us)
        if question.run is not None or question.is_previous:
            self.wanted = Wanted(question, index)
            if self.wanted.begin is None:
                begin = self.end
            elif not index.starts or self.wanted.begin > index.starts[0]:
                begin = self.wanted.begin - 1
            if self.wanted.end is not None and not question.follow:
                until = self.wanted.end if until is None else min(until, self.wanted.end)
        if question.after is not None:
            return (None if question.after > self.end else question.after), until
        if question.since_us is not None:
            since = index.position_at(question.since_us)
            if since is None:
                begin = self.end
            elif since > index.starts[0]:
                begin = since - 1 if begin is None else max(begin, since - 1)
        return begin, until

    def _tell_gap(self, found: Range, begin: int | None) -> None:
        """Say so when what follows `after` is kept no more, or was never here."""
        found.reading.tells_gaps = True
        oldest = found.oldest
        if oldest is None and self.index.starts:
            oldest = self.index.starts[0]
        if begin is None or (oldest is not None and begin < oldest):
            gap: dict[str, object] = {"event": "gap", "position": max(0, oldest or 0)}
            is_ahead = self.question.after is not None and self.question.after > self.end
            self._output.tell({**gap, "reason": "ahead"} if is_ahead else gap)

    def _show_last(self, number: int) -> Range:
        """The last so many lines, and what else lies between them.

        Where all of it was deleted before it was read, those that there are by now.
        """
        if number == 0:
            return self._finished(Range(self, self.end, None))
        last = self._last(number)
        before: object = None
        for _number in range(_TRIES):
            if not last.is_missed:
                break
            held = self._hold_newest()
            if held == before:
                break
            before = held
            last = self._last(number)
        self.segments.release()
        for items in last.groups:
            self._output.add(items)
        return last.newest

    def _hold_newest(self) -> object:
        """Look again, so that the newest can be read even if it is deleted. Gives what it is."""
        question = self.question
        on_disk = Streams(question.folder, self.segments).on_disk()
        held = self.segments.hold(key for key in on_disk if question.asks_for(*key))
        before = Index(question.folder).state()
        stop = time.monotonic() + _TOLD_S
        while (index := Index(question.folder)).state() == before and time.monotonic() < stop:
            time.sleep(_LOOK_S)
        self.index = index
        self.end = self._look_at_the_end()
        return held

    def _last(self, number: int) -> "Last":
        """What is to be shown: back from the end in growing steps."""
        begin, until = self._reach()
        first = self.index.starts[0] if self.index.starts else None
        oldest = begin if begin is not None else first
        stop, size = until, _LAST_BYTES
        newest: Range | None = None
        kept: list[list[Item]] = []
        lines = 0
        has_missed = has_read = False
        while True:
            at: int | None = (self.end if stop is None else stop) - size
            if oldest is None or (at is not None and at <= oldest):
                at = begin
            part = Range(self, at, stop)
            newest = newest or part
            items = last_of(part.items(part.windows()), number - lines)
            kept.append(items)
            has_missed |= part.reading.has_missed
            has_read |= part.reading.has_read
            lines += sum(isinstance(item, Line) for item in items)
            if lines >= number or at == begin:
                break
            stop, size = at, size * _LAST_FACTOR
        # A search that has read something may have found nothing in it.
        is_missed = not lines and has_missed and not (has_read and self.question.grep is not None)
        return Last(newest, kept[::-1], is_missed)

    def _finished(self, found: Range) -> Range:
        for _window in found.windows():
            pass
        return found


def last_of(groups: Iterable[list[Item]], number: int) -> list[Item]:
    """The last `number` lines of all, and what else comes after the first of them; all if there are fewer."""
    kept: list[Item] = []
    lines = 0
    for group in groups:
        kept += group
        lines += sum(isinstance(item, Line) for item in group)
        if lines > 2 * number:
            kept, lines = _shortened(kept, number), number
    return _shortened(kept, number) if lines > number else kept


def _shortened(items: list[Item], number: int) -> list[Item]:
    left = number
    for at in range(len(items) - 1, -1, -1):
        if isinstance(items[at], Line):
            left -= 1
            if left == 0:
                return items[at:]
    return items

"""A sink, a reader and positions in memory, moved by the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from twisted.internet.defer import Deferred
from zope.interface import implementer

from droned.errors import CannotRun
from droned.models.ports import ISinkLink
from droned.models.sinks import SinkFailed, SinkPlace
from droned.protocols.captured import CapturedLine


@implementer(ISinkLink)
class FakeSinkLink:
    """Holds what it is sent until the test answers."""

    linger_s = 0.0
    most_lines = 100

    def __init__(self) -> None:
        self.asked: list[list[CapturedLine]] = []
        self.taken: list[CapturedLine] = []
        self.is_taking = True
        self.is_closed = False
        self.refusal = ""
        self._held: Deferred[int] | None = None

    async def send(self, lines: Sequence[CapturedLine]) -> int:
        """Taken at once while `is_taking`, else as the test says."""
        self.asked.append(list(lines))
        given_up = 0
        if not self.is_taking:
            self._held = Deferred()
            given_up = await self._held
        self.taken += lines[given_up:]
        return given_up

    def answer(self, result: int | Exception) -> None:
        """Answer what is held: so many lines were given up, or it failed."""
        held, self._held = self._held, None
        assert held is not None
        if isinstance(result, Exception):
            held.errback(result)
        else:
            held.callback(result)

    @property
    def is_asked(self) -> bool:
        """Whether something is held."""
        return self._held is not None

    def close(self) -> None:
        """What is held fails."""
        self.is_closed = True
        if self._held is not None:
            self.answer(SinkFailed("closed"))


class FakeReader:
    """Prints what the test says."""

    def __init__(self, received: Callable[[bytes], None], ended: Callable[[int], None]) -> None:
        self.received = received
        self.ended = ended
        self.question: Mapping[str, object] = {}
        self.is_paused = self.is_killed = False
        self.fails = False

    def begin(self, question: Mapping[str, object]) -> None:
        """Remember what is asked."""
        if self.fails:
            raise CannotRun("cannot start a reader of logs: no room")
        self.question = question

    def pause(self) -> None:
        """Nothing is to be printed."""
        self.is_paused = True

    def resume(self) -> None:
        """Something can be printed again."""
        self.is_paused = False

    def kill(self) -> None:
        """Its end is told, as of the real one, once."""
        if not self.is_killed:
            self.is_killed = True
            self.ended(9)

    def prints(self, *objects: Mapping[str, object]) -> None:
        """Print these, in one piece."""
        self.received(b"".join(json.dumps(each).encode() + b"\n" for each in objects))

    def prints_lines(self, first: int, last: int, size: int = 1) -> None:
        """Print lines whose positions are `first` to `last`."""
        self.prints(
            *(
                {
                    "position": position,
                    "at": "2026-11-27T04:31:02.123456Z",
                    "instance": "web/0",
                    "run": 1,
                    "stream": "stdout",
                    "line": f"{position:0{size}d}",
                }
                for position in range(first, last + 1)
            )
        )


class FakePositions:
    """Remembers in memory; fails while `is_failing`."""

    def __init__(self) -> None:
        self.kept: dict[str, SinkPlace] = {}
        self.writes = 0
        self.is_failing = False

    @property
    def positions(self) -> dict[str, int | None]:
        """The position alone, by the name of the sink."""
        return {name: place.position for name, place in self.kept.items()}

    def read(self, name: str) -> SinkPlace | None:
        """Where a sink is."""
        return self.kept.get(name)

    def write(self, name: str, place: SinkPlace) -> None:
        """Remember it."""
        self.writes += 1
        if self.is_failing:
            raise OSError(28, "No space left on device")
        self.kept[name] = place

"""One sink: lines from a reader of captured logs, to the sink, in the order of capture, at least once.

Rules of this module:

* The position that is remembered is that of the last line that the sink has
  taken, and never one before which a line is still to be sent. A daemon that
  comes later goes on from there: what was taken after the last time that the
  position was written is sent once more.
* Few lines are held. While a sink is slow the reader is not read, waits, and
  holds nobody up; the lines stay in their files. What retention removes there
  before the sink has taken it is a gap, and counted.
* A sink that fails is tried again, later and later. Only what it refuses for
  good is given up, and counted.
* A sink that took nothing of what was sent for a minute is an issue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from droned.errors import CannotRun, DronedError
from droned.models.ports import IClock, IPool, ISinkLink, ITimers, Runner
from droned.models.sinks import Sink, SinkFailed, SinkPlace
from droned.protocols.captured import CapturedLine, Pieces, told
from droned.services.backlog import MOST_BATCH_BYTES, Backlog

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0
SAVE_S = 1.0
OVERDUE_S = 60.0


class Reader(Protocol):
    """One reader process."""

    def begin(self, question: Mapping[str, object]) -> None:
        """Start it. CannotRun when that cannot be."""
        ...

    def pause(self) -> None:
        """Read nothing until `resume`."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def kill(self) -> None:
        """Nobody wants the answer any more."""
        ...


class Positions(Protocol):
    """Where it is kept how far sinks are; both calls can block."""

    def read(self, name: str) -> SinkPlace | None:
        """Where a sink is; None when that is not known."""
        ...

    def write(self, name: str, place: SinkPlace) -> None:
        """Remember it. Raises OSError."""
        ...


NewReader = Callable[[Callable[[bytes], None], Callable[[int], None]], Reader]
"""Makes a reader of whoever takes what it prints, and whoever is told its wait status."""


class Forwarding:
    """Brings lines to one sink, from `begin` to `stop`."""

    log = Logger()

    def __init__(
        self,
        sink: Sink,
        *,
        link: ISinkLink,
        new_reader: NewReader,
        folder: str,
        since: float,
        positions: Positions,
        pool: IPool,
        timers: ITimers,
        clock: IClock,
        run: Runner,
        overdue: Callable[[str], None],
        recovered: Callable[[], None],
    ) -> None:
        """`folder` is that of the logs; `since` is where a sink begins of which no position is known.

        `overdue` is told, in words, that the sink took nothing for a minute; `recovered` that it took
        something, once at first and after each time that it was overdue.
        """
        self.sink = sink
        self._link = link
        self._new_reader = new_reader
        self._folder = folder
        self._since = since
        self._positions = positions
        self._pool = pool
        self._timers = timers
        self._clock = clock
        self._run = run
        self._overdue = overdue
        self._recovered = recovered
        self._backlog = Backlog()
        self._reader: Reader | None = None
        self._is_paused = False
        self._read_to: int | None = None
        self._taken_to: int | None = None
        self._saved: SinkPlace | None = None
        self._save_timer: Any = None
        self._overdue_timer: Any = None
        self._reader_timer: Any = None
        self._reader_tries = self._tries = 0
        self._waiting: Deferred[None] | None = None
        self._pumping: Deferred[None] | None = None
        self._is_stopped = False
        self._is_told_well = False
        self._why = self._reader_why = ""
        self.sent = self.given_up = self.gaps = 0

    @property
    def note(self) -> str:
        """How it stands, in a few words."""
        counted = [f"{self.sent} line{'' if self.sent == 1 else 's'}"]
        counted += [f"{self.given_up} given up"] if self.given_up else []
        counted += [f"{self.gaps} gap{'' if self.gaps == 1 else 's'}"] if self.gaps else []
        why = self._why or self._reader_why
        return f"{self.sink.name}: {', '.join(counted)}" + (f"; {why}" if why else "")

    async def begin(self) -> None:
        """Go on from where the sink is."""
        self._saved = await self._pool.run(self._positions.read, self.sink.name)
        if self._saved is None:
            await self._save()  # a daemon that comes before anything was taken begins here as well
        else:
            self._taken_to = self._read_to = self._saved.position
            self._since = self._saved.since
        if not self._is_stopped:
            self._begin_reading()
            self._pumping = Deferred()
            self._run(self._pump(), f"forwarding to {self.sink.name}")

    async def stop(self) -> None:
        """Send nothing more, and remember where the sink is."""
        self._is_stopped = True
        for timer in (self._save_timer, self._overdue_timer, self._reader_timer):
            if timer is not None:
                timer.cancel()
        if self._reader is not None:
            self._reader.kill()
        self._link.close()
        self._wake()
        if self._pumping is not None:
            await self._pumping
        await self._save()

    # ---- from the reader

    def _begin_reading(self) -> None:
        self._reader_timer = None
        pieces = Pieces()
        reader = self._new_reader(
            lambda piece: self._received(reader, pieces, piece), lambda status: self._reader_ended(reader)
        )
        try:
            reader.begin(self._question())
        except CannotRun as error:
            self._read_again_later(str(error))
            return
        self._reader = reader
        self._is_paused = False
        if not self._backlog.has_room:
            self._pause()

    def _question(self) -> dict[str, object]:
        return {
            "folder": self._folder,
            "instances": [],
            "apps": list(self.sink.apps or ()),
            "streams": ["stdout", "stderr", "output"],
            "since": self._since if self._read_to is None else None,
            "until": None,
            "after": self._read_to,
            "last": None,
            "run": None,
            "is_previous": False,
            "grep": None,
            "is_inverted": False,
            "ignore_case": False,
            "follow": True,
        }

    def _received(self, reader: Reader, pieces: Pieces, piece: bytes) -> None:
        if reader is not self._reader:
            return
        try:
            for line in pieces.take(piece):
                self._take(line)
        except ValueError as error:
            self._reader_why = str(error)
            reader.kill()
        if self._backlog.is_full:
            self._pause()
        if not self._backlog:
            self._all_taken()
        self._wake()

    def _take(self, line: bytes) -> None:
        """One line of the reader's. ValueError when it is none."""
        said = told(line)
        if isinstance(said, CapturedLine):
            self._backlog.put(said)
        elif said.event == "error":
            self._reader_why = f"cannot read logs: {said.text}"
            return
        elif said.event == "gap":
            self.gaps += 1
            self._warn("lines that were to be sent to {sink} are gone: they were too old")
        if said.position is not None:
            self._read_to = said.position
        self._reader_tries = 0
        if self._reader_why:
            self._reader_why = ""
            if not self._why:
                self._well()

    def _reader_ended(self, reader: Reader) -> None:
        if reader is self._reader:
            self._reader = None
            if not self._is_stopped:
                self._read_again_later(self._reader_why or "the reader of logs has ended")

    def _read_again_later(self, why: str) -> None:
        if not self._reader_tries:
            self._warn("{why}; another begins for {sink}", why=why)
        self._reader_why = why
        self._watch()
        self._reader_timer = self._timers.call_later(_wait_s(self._reader_tries), self._begin_reading)
        self._reader_tries += 1

    def _pause(self) -> None:
        if self._reader is not None and not self._is_paused:
            self._is_paused = True
            self._reader.pause()

    def _resume(self) -> None:
        if self._reader is not None and self._is_paused and self._backlog.has_room:
            self._is_paused = False
            self._reader.resume()

    # ---- to the sink

    async def _pump(self) -> None:
        assert self._pumping is not None
        try:
            while await self._some():
                await self._send(self._backlog.first(self._link.most_lines))
        finally:
            self._pumping.callback(None)

    async def _some(self) -> bool:
        """Wait until there are lines to send, and a little for more; whether there are."""
        while not self._backlog and not self._is_stopped:
            await self._wait(None)
        until = self._clock.mono() + self._link.linger_s
        while not self._is_stopped and not self._is_batch() and (left_s := until - self._clock.mono()) > 0:
            await self._wait(left_s)
        return not self._is_stopped

    def _is_batch(self) -> bool:
        return len(self._backlog) >= self._link.most_lines or self._backlog.size_bytes >= MOST_BATCH_BYTES

    async def _send(self, lines: list[CapturedLine]) -> None:
        self._watch()
        try:
            given_up = await self._link.send(lines)
        except SinkFailed as error:
            await self._failed(str(error), error.retry_after_s)
        except Exception as error:  # noqa: BLE001  # a named border: a sink's fault is not the daemon's
            self.log.failure("failed: {what}", what=f"sending to {self.sink.name}")
            await self._failed(f"{type(error).__name__}: {error}", None)
        else:
            self._were_taken(lines, given_up)
            await self._wait(0.0, is_waked=False)

    def _were_taken(self, lines: list[CapturedLine], given_up: int) -> None:
        self._backlog.drop(len(lines))
        self._taken_to = lines[-1].position
        self.sent += len(lines) - given_up
        self.given_up += given_up
        self._tries = 0
        if given_up < len(lines):
            self._well()
        else:
            self._why = f"it refuses what it is sent: {getattr(self._link, 'refusal', '')}".removesuffix(": ")
        if not self._backlog:
            self._all_taken()
        self._save_soon()
        self._resume()

    def _all_taken(self) -> None:
        """Nothing is left to be sent before the place that the reader has come to."""
        if self._read_to is not None and self._read_to != self._taken_to:
            self._taken_to = self._read_to
            self._save_soon()

    def _watch(self) -> None:
        """From now on it is overdue that something is taken."""
        if self._overdue_timer is None:
            self._overdue_timer = self._timers.call_later(OVERDUE_S, self._is_overdue)

    def _well(self) -> None:
        if self._overdue_timer is not None:
            self._overdue_timer.cancel()
            self._overdue_timer = None
        if self._why:
            self.log.info("{sink} takes lines again", sink=self.sink.name)
            self._why = ""
        if not self._is_told_well:
            self._is_told_well = True
            self._recovered()

    async def _failed(self, why: str, retry_after_s: float | None) -> None:
        if self._is_stopped:
            return
        if not self._why:
            self._warn("{why}; it is tried again", why=why)
        self._why = why
        wait_s = _wait_s(self._tries) * (0.75 + 0.5 * self._clock.draw())
        self._tries += 1
        await self._wait(max(wait_s, retry_after_s or 0.0), is_waked=False)

    def _is_overdue(self) -> None:
        self._overdue_timer = self._timers.call_later(OVERDUE_S, self._is_overdue)
        self._is_told_well = False
        if not self._why and not self._reader_why:
            self._why = "it takes nothing of what it is sent"
        self._overdue(self._why or self._reader_why)

    # ---- waiting and remembering

    def _wait(self, limit_s: float | None, *, is_waked: bool = True) -> Awaitable[None]:
        """Wait so long, None for ever, or until new lines come; a stop ends every wait."""
        done: Deferred[None] = Deferred()
        self._waiting, self._is_waked = done, is_waked
        if self._is_stopped:
            self._wake()
        elif limit_s is not None:
            call = self._timers.call_later(limit_s, lambda: None if done.called else done.callback(None))
            done.addBoth(lambda _: call.cancel())
        return done

    def _wake(self) -> None:
        waiting = self._waiting
        if waiting is not None and (self._is_waked or self._is_stopped):
            self._waiting = None
            if not waiting.called:
                waiting.callback(None)

    def _save_soon(self) -> None:
        if self._save_timer is None and not self._is_stopped:
            self._save_timer = self._timers.call_later(SAVE_S, self._save_now)

    def _save_now(self) -> None:
        self._save_timer = None
        self._run(self._save(), f"remembering how far {self.sink.name} is")

    async def _save(self) -> None:
        place = SinkPlace(self._taken_to, self._since)
        if place == self._saved:
            return
        try:
            await self._pool.run(self._positions.write, self.sink.name, place)
            self._saved = place
        except (OSError, DronedError) as error:
            self._warn("cannot remember how far {sink} is: {error}", error=str(error))

    def _warn(self, text: str, **facts: str) -> None:
        self.log.warn(text, sink=self.sink.name, **facts)  # noqa: G010  # the name of Twisted's Logger


def _wait_s(tries: int) -> float:
    return float(min(FIRST_WAIT_S * 2.0 ** min(tries, 16), LONGEST_WAIT_S))

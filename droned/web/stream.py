"""One client's stream of events: the past from the journal, then whatever happens.

Rules of this module:

* Nothing is queued for a client but what its socket takes: while that is
  full, the stream stands at its place in the feed. When the feed has moved
  past that place, the client was too slow: it gets a `gap` and the stream
  ends. The `gap` has no id, so that the client's next request, from the last
  id that it saw, misses nothing.
* A place before all that the journal keeps, or one that this droned never
  reached (its last moments before a crash were not on disk), is told by a
  `gap` as well; then the stream goes on from what there is.
* Streams are never compressed: an encoder would hold events back.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.web.server import Request
from zope.interface import implementer

from droned.commands.arguments import WHOLE_VERSION, Position
from droned.errors import DronedError
from droned.models.events import Event
from droned.web.feed import EventFeed, Told
from droned.web.framing import Framing
from droned.web.past import Past, Wants

BATCH = 500
"""Events that are framed and written at once."""

_log = Logger()


@implementer(IPushProducer)
class EventStream:
    """Feeds one request with events until it ends."""

    def __init__(
        self,
        request: Request,
        feed: EventFeed,
        past: Past,
        framing: Framing,
        wants: Wants,
        position: Position | None,
        left: Callable[[EventStream], None],
    ) -> None:
        """`position` None is now; `left` is called once when the stream is over."""
        self._request = request
        self._feed = feed
        self._past = past
        self._framing = framing
        self._wants = wants
        self._is_from_now = position is None
        self._position = (feed.version, WHOLE_VERSION) if position is None else position
        self._left = left
        self._is_paused = False
        self._is_over = False
        self._resumed: Deferred[None] | None = None
        self._stop_listening: Callable[[], None] | None = None

    async def run(self) -> None:
        """Open the stream and bring it up to now; from there on it lives by the feed's calls."""
        self._request.notifyFinish().addBoth(lambda _: self._end())
        self._request.setHeader(b"Content-Type", self._framing.content_type)
        self._request.setHeader(b"Cache-Control", b"no-store")
        self._request.registerProducer(self, True)
        event_id = str(self._feed.version) if self._is_from_now else None
        opening = self._framing.opening
        self._write(opening + self._framing.notice("sync", {"version": self._feed.version}, event_id))
        try:
            reached = self._feed.committed_version
            if self._position[0] > reached:
                self._tell_gap_in_front(self._position[0], reached)
                self._position = (reached, WHOLE_VERSION)
            while not self._feed.covers(self._position) and not self._is_over:
                await self._catch_up()
        except (DronedError, OSError):
            _log.failure("cannot stream what happened after version {version}", version=self._position[0])
            self._finish_with_gap()
        if not self._is_over:
            self._stop_listening = self._feed.listen(self._pump)
            self._pump()

    def heartbeat(self) -> None:
        """Tell the client that we are there, unless its socket is full."""
        if not self._is_paused and not self._is_over and self._stop_listening is not None:
            self._write(self._framing.heartbeat)

    def finish(self) -> None:
        """End the stream in order."""
        if not self._is_over:
            self._request.unregisterProducer()
            self._request.finish()
            self._end()

    def pauseProducing(self) -> None:
        """The client's socket is full."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """The client's socket takes more."""
        self._is_paused = False
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed.callback(None)
        elif self._stop_listening is not None:
            self._pump()

    def stopProducing(self) -> None:
        """The client is gone."""
        self._end()

    async def _catch_up(self) -> None:
        until = self._feed.version
        reader = self._past.reader(self._position, until)
        is_first = True
        while not reader.is_over and not self._is_over:
            events = await reader.batch(BATCH)
            first = reader.first_version
            if is_first and first is not None and first > self._position[0] + 1:
                self._tell_gap_in_front(self._position[0], first - 1)
            is_first = False
            await self._take(events)
        self._position = max(self._position, (until, WHOLE_VERSION))

    async def _take(self, events: list[Event]) -> None:
        told = [Told(event) for event in events if self._wants(event)]
        self._write(b"".join(self._framing.event(each.id, each.body) for each in told))
        if events:
            self._position = (events[-1].version, events[-1].index)
        if self._is_paused and not self._is_over:
            self._resumed = Deferred()
            await self._resumed

    def _pump(self) -> None:
        while not self._is_paused and not self._is_over:
            if not self._feed.covers(self._position):
                self._finish_with_gap()
                return
            batch = self._feed.after(self._position, BATCH)
            if not batch:
                return
            self._position = batch[-1].position
            self._write(
                b"".join(self._framing.event(told.id, told.body) for told in batch if self._wants(told.event))
            )

    def _write(self, content: bytes) -> None:
        if content and not self._is_over:
            self._request.write(content)

    def _tell_gap_in_front(self, after: int, until: int) -> None:
        facts = {"after": after, "until": until, "version": self._feed.version}
        self._write(self._framing.notice("gap", facts, str(until)))

    def _finish_with_gap(self) -> None:
        facts = {"after": self._position[0], "until": None, "version": self._feed.version}
        self._write(self._framing.notice("gap", facts, None))
        self.finish()

    def _end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._stop_listening is not None:
            self._stop_listening()
        if self._resumed is not None:
            resumed, self._resumed = self._resumed, None
            resumed.callback(None)
        self._left(self)

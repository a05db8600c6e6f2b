"""What is kept and what goes: by number and age within a stream, by size over the whole host.

The rules, all of them only about what is done with:

* a stream has at most `keep` of them, and none that was done with more than `max_age_s` ago;
* but of a stream of before nothing goes until its policy is told, or an hour is over;
* all of what lies here, lines in other formats with it, has at most
  `total_bytes`. Who takes most pays first: of the stream with the most bytes the
  oldest goes, again and again, so that a stream with less than its fair share
  (all bytes by the number of streams that have some) never pays for one with more.
  Where that has only what it writes to, this is begun anew and goes;
* the index has at most a tenth of that, and at least 8 MiB.
"""

import heapq
from collections.abc import Iterable, Sequence

from droned.logs.streams import Segment, Stream

_LEAST_INDEX_BYTES = 8 * 1024 * 1024
_INDEX_SHARE = 10
SPARED_S = 3600.0
"""How long a stream of before is spared: its policy comes with its pipe, or from the daemon."""
_LEAST_CUT_BYTES = 1024 * 1024


def surplus(stream: Stream, now: float) -> list[Segment]:
    """The segments of a stream that are too many or too old at `now`, oldest first."""
    if now < stream.spared_until:
        return []
    policy = stream.policy
    too_many = len(stream.kept) - policy.keep
    oldest = -1.0 if policy.max_age_s is None else now - policy.max_age_s
    return [
        segment
        for number, segment in enumerate(stream.kept)
        if number < too_many or 0.0 < segment.done_at < oldest
    ]


def index_limit(total_bytes: int | None) -> int | None:
    """How large the index may become; None: without limit."""
    return None if total_bytes is None else max(_LEAST_INDEX_BYTES, total_bytes // _INDEX_SHARE)


class Payers:
    """Whose turn it is to give something away: the streams with bytes, the largest first.

    Made where there is too much, for as long as it takes to delete that.
    """

    __slots__ = ("_by_size", "_bytes", "_count", "_is_larger_spared")

    def __init__(self, streams: Iterable[Stream]) -> None:
        self._by_size = [
            (-stream.held_bytes, stream.number, stream) for stream in streams if stream.held_bytes > 0
        ]
        heapq.heapify(self._by_size)
        self._bytes = -sum(size for size, _, _ in self._by_size)
        self._count = len(self._by_size)
        self._is_larger_spared = False

    def first(self) -> Stream | None:
        """The largest; None where there is none, or only less than a share while a larger one is spared."""
        if not self._by_size:
            return None
        size, _, stream = self._by_size[0]
        return None if self._is_larger_spared and -size * self._count < self._bytes else stream

    def paid(self) -> None:
        """The first one has given something: it stands where it belongs now."""
        size, number, stream = self._by_size[0]
        self._bytes += stream.held_bytes + size
        if stream.held_bytes > 0:
            heapq.heapreplace(self._by_size, (-stream.held_bytes, number, stream))
        else:
            heapq.heappop(self._by_size)
            self._count -= 1

    def spare(self) -> None:
        """The first one has nothing that can go."""
        heapq.heappop(self._by_size)
        self._is_larger_spared = True

    def may_cut(self, stream: Stream, total_bytes: int) -> bool:
        """Whether what this stream writes to is to be begun anew: not for crumbs, nor for the index alone."""
        least = min(_LEAST_CUT_BYTES, total_bytes // 4, total_bytes // (2 * max(self._count, 1)))
        return self._bytes > total_bytes * 3 // 4 and stream.active_bytes >= max(least, 1)


def needs(bounds: dict[tuple[str, str], int], streams: Sequence[Stream]) -> bool:
    """Whether a byte that is kept was captured before every stream had come as far as `bounds` say."""
    return any(
        stream.oldest < bounds.get((stream.instance.name, stream.name), 0)
        for stream in streams
        if stream.oldest < stream.offset
    )

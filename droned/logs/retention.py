"""What is kept and what goes: by number and age within a stream, by size over the whole host.

The rules, all of them only about segments that are done with:

* a stream has at most `keep` of them, and none that was done with more than `max_age_s` ago;
* but of a stream of before nothing goes until its policy is told, or an hour is over;
* all of what lies here has at most `total_bytes`: the segment of the host that
  was done with first goes first. Where only segments that are written to are
  left to blame, the largest of them is begun anew, so that the next look finds it;
* the index has at most a tenth of that, and at least 8 MiB.
"""

from collections.abc import Sequence

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


def to_cut(streams: Sequence[Stream], total_bytes: int) -> Stream | None:
    """The stream whose segment is to be begun anew, because what is written to takes too much of the cap."""
    active = sum(stream.offset - stream.segment for stream in streams)
    if active <= total_bytes * 3 // 4:
        return None
    largest = max(streams, key=lambda stream: stream.offset - stream.segment)
    least = min(_LEAST_CUT_BYTES, total_bytes // 4, total_bytes // (2 * len(streams)))
    return largest if largest.offset - largest.segment >= least else None


def needs(bounds: dict[tuple[str, str], int], streams: Sequence[Stream]) -> bool:
    """Whether a byte that is kept was captured before every stream had come as far as `bounds` say."""
    return any(
        stream.oldest < bounds.get((stream.instance.name, stream.name), 0)
        for stream in streams
        if stream.oldest < stream.offset
    )

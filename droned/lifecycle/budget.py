"""The host-wide start budget: a bucket of tokens against crash storms.

Only automatic restarts take from it; starts by a command, a reload, a
schedule or the start of droned never do. The bucket is one number, the
"theoretical arrival time" of the generic cell rate algorithm (ITU-T I.371):
nothing has to be refilled by a timer.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from droned.models.policy import StartBudget


class Bucket(Struct, frozen=True, kw_only=True):
    """How far ahead of the clock the starts of the past have run, by the monotonic clock."""

    ahead_until_mono: float = 0.0


def wait_s(budget: StartBudget | None, bucket: Bucket, now_mono: float) -> float:
    """Seconds until the next automatic start may happen; 0 is now. No budget never waits."""
    if budget is None:
        return 0.0
    slack_s = (budget.burst - 1) / budget.per_second
    return max(0.0, bucket.ahead_until_mono - slack_s - now_mono)


def take(budget: StartBudget | None, bucket: Bucket, now_mono: float) -> Bucket:
    """The bucket after one automatic start at `now_mono`."""
    if budget is None:
        return bucket
    return replace(bucket, ahead_until_mono=max(bucket.ahead_until_mono, now_mono) + 1.0 / budget.per_second)

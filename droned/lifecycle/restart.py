"""The restart decision: what follows when an instance has ended by itself.

Rules, in this order:

1. A permanent exit code fails the instance for good: only a command helps.
2. The policy says which ends are followed by a start. `success` is an exit
   code in `success_exit` or, as in systemd, death by HUP, INT, TERM or PIPE;
   an end that nobody saw is a failure.
3. An instance that is not enabled is left as it is.
4. More than `limit.count` automatic restarts within `limit.within_s` fail it.
5. A run of at least `reset_after_s` forgets what was before it and starts
   again at once; otherwise the delay doubles with each try.

Pure: the caller gives the clock and the dice.
"""

from __future__ import annotations

from msgspec import Struct

from droned.lifecycle.words import seconds
from droned.models.policy import RestartPolicy, RestartWhen
from droned.models.records import Exit, InstanceRecord
from droned.models.registry import Moment

CLEAN_SIGNALS = frozenset({1, 2, 13, 15})
"""HUP, INT, PIPE, TERM: systemd's clean signals."""


class Again(Struct, frozen=True, kw_only=True):
    """Start again after `delay_s`; `tries` and `recent_mono` are the record's new ones."""

    delay_s: float
    tries: int
    recent_mono: tuple[float, ...]


class Leave(Struct, frozen=True, kw_only=True):
    """The policy leaves it so; `reason` says why."""

    reason: str


class GiveUp(Struct, frozen=True, kw_only=True):
    """It has failed; `reason` says why, `failed_starts.due_of_failed` when it is tried again."""

    reason: str


Decision = Again | Leave | GiveUp


def next_delay(tries: int, first_s: float, limit_s: float, jitter: float, draw: float) -> float:
    """Seconds to wait before start number `tries + 1`.

    Doubles from `first_s`, never above `limit_s`, then moves by at most the
    share `jitter` (0.25) either way: `draw` is 0.0-1.0, and 0.5 means no move.
    Raises ValueError for a negative `tries`.
    """
    if tries < 0:
        raise ValueError(f"cannot count {tries} tries")
    plain = min(first_s * 2.0 ** min(tries, 32), limit_s)
    return plain * (1.0 + jitter * (2.0 * draw - 1.0))


def is_success(policy: RestartPolicy, exit_: Exit) -> bool:
    """Whether this end is one that the policy calls a success."""
    if exit_.signal is not None:
        return exit_.signal in CLEAN_SIGNALS
    return exit_.code is not None and exit_.code in policy.success_exit


def is_permanent(policy: RestartPolicy, exit_: Exit) -> bool:
    """Whether this end fails the instance for good."""
    return exit_.code is not None and exit_.code in policy.permanent_exit


def is_followed(policy: RestartPolicy, exit_: Exit) -> bool:
    """Whether the policy wants a start after this end."""
    succeeded = is_success(policy, exit_)
    match policy.policy:
        case RestartWhen.ALWAYS:
            return True
        case RestartWhen.ON_FAILURE:
            return not succeeded
        case RestartWhen.ON_SUCCESS:
            return succeeded
        case RestartWhen.NEVER:
            return False


def ran_s(record: InstanceRecord, exit_: Exit, moment: Moment) -> float:
    """Seconds that the run lasted; 0 when its program was never seen to run.

    It ended at `exit_.at`, which can be long before `moment`: its leftovers
    were ended meanwhile, or no daemon was there to hear of it. Durations are
    of the monotonic clock; only that delay is of the wall clock's.
    """
    if record.started_mono is None:
        return 0.0
    delay_s = max(0.0, moment.wall - exit_.at)
    return max(0.0, moment.mono - delay_s - record.started_mono)


def decide(policy: RestartPolicy, record: InstanceRecord, exit_: Exit, moment: Moment) -> Decision:
    """What follows after `exit_` of a wanted instance (`record` is as it was while it ran)."""
    if is_permanent(policy, exit_):
        return GiveUp(reason=f"exit code {exit_.code} is permanent")
    if not is_followed(policy, exit_):
        return Leave(reason=f"restart policy is {policy.policy}")
    if not record.enabled:
        return Leave(reason="it is not enabled")
    recent = record.recent_mono
    limit = policy.limit
    if limit is not None:
        recent = tuple(at for at in recent if moment.mono - at < limit.within_s)
        if len(recent) >= limit.count:
            return GiveUp(reason=f"{limit.count} restarts in {seconds(limit.within_s)}")
        recent = (*recent, moment.mono)
    if record.started_mono is not None and ran_s(record, exit_, moment) >= policy.reset_after_s:
        return Again(delay_s=0.0, tries=0, recent_mono=recent)
    delay = next_delay(record.tries, policy.delay_s, policy.max_delay_s, policy.jitter, moment.draw)
    return Again(delay_s=delay, tries=record.tries + 1, recent_mono=recent)

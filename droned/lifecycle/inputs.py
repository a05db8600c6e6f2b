"""What an instance can be given, and what a step may ask for: two closed unions.

Inputs are commands (a person, a file, the daemon's own start and stop) and
observations (what the guardian, a timer or a look at the host has told).
A new input or effect is a new class here, a row in `table.TABLE`, and a case
wherever `assert_never` then fails the type check.
"""

from __future__ import annotations

from dataclasses import dataclass

from droned.models.records import DueKind

# --- commands


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Be up: wanted from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Be down: not wanted from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restart:
    """Stop while still wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendSignal:
    """Send one signal (its number) to `main`, `group` or `tree`; what it leads to is observed."""

    number: int
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enable:
    """droned may restart it by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disable:
    """droned may not restart it by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Its app changed in a way that only a new process can follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Its app or label left the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejoin:
    """Its app or label is back in the configuration before it was gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """droned begins its work on this host: what is wanted comes up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutDown:
    """droned ends its work on this host: everything stops, what is wanted stays wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebooted:
    """The host was started anew: no process of before is left, the monotonic clock began again."""


# --- observations


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """The run's process has executed its program."""

    run: int
    pid: int
    start_time: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFailed:
    """The run's process never executed its program; `stage` of the set-up and errno say why.

    The stage is one of the guardian's, `timeout at STAGE` where it took too
    long, or `refused` where the guardian did not take the order.
    """

    run: int
    stage: str
    errno: int
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The run's main process is gone; `status` is the wait status, None if nobody saw it."""

    run: int
    status: int | None
    at: float
    leftovers: int
    """Processes of its tree that live on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeGone:
    """Nothing is left of what the run started."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The guardian holds a living process for the instance: seen when a daemon takes over."""

    run: int
    pid: int
    start_time: int
    spawned_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenOver:
    """The guardian holds something of the run that the record names: seen when a daemon takes over."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vanished:
    """The guardian knows nothing of the run that the record on disk names: seen when a daemon takes over."""

    run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Elapsed:
    """The time of the record's `due` of this kind has come."""

    kind: DueKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """The user, folder or executable that was missing is there now."""


Command = (
    Start
    | Stop
    | Restart
    | SendSignal
    | Enable
    | Disable
    | Replace
    | Remove
    | Rejoin
    | Begin
    | ShutDown
    | Rebooted
)
Observation = Spawned | StartFailed | Ended | TreeGone | Found | TakenOver | Vanished | Elapsed | Cleared
Input = Command | Observation


# --- effects


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Have the guardian start run number `run`; `automatic` ones count against the start budget."""

    instance: str
    run: int
    automatic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Have the guardian send signal `number` to `main`, `group` or `tree` of the run."""

    instance: str
    run: int
    number: int
    to: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Look whether what the start failed for is there now; if so, `Cleared` follows."""

    instance: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """The instance is gone for good; let the guardian forget its runs."""

    instance: str


Effect = Spawn | Signal | Look | Forget

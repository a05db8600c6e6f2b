"""What an instance can be given, and what a step may ask for: two closed unions.

Inputs are commands (a person, a file, the daemon's own start and stop) and
observations (what the guardian, a timer or a look at the host has told).
A new input or effect is a new class here, a row in `table.TABLE`, and a case
wherever `assert_never` then fails the type check.
"""

from __future__ import annotations

from msgspec import Struct

from droned.models.records import DueKind

# --- commands


class Start(Struct, frozen=True, kw_only=True):
    """Be up: wanted from now on."""


class Stop(Struct, frozen=True, kw_only=True):
    """Be down: not wanted from now on."""


class Restart(Struct, frozen=True, kw_only=True):
    """Stop while still wanted."""


class SendSignal(Struct, frozen=True, kw_only=True):
    """Send one signal (its number) to `main`, `group` or `tree`; what it leads to is observed."""

    number: int
    to: str


class Enable(Struct, frozen=True, kw_only=True):
    """droned may restart it by itself."""


class Disable(Struct, frozen=True, kw_only=True):
    """droned may not restart it by itself."""


class Replace(Struct, frozen=True, kw_only=True):
    """Its app changed in a way that only a new process can follow."""


class Remove(Struct, frozen=True, kw_only=True):
    """Its app or label left the configuration."""


class Rejoin(Struct, frozen=True, kw_only=True):
    """Its app or label is back in the configuration before it was gone."""


class Begin(Struct, frozen=True, kw_only=True):
    """droned begins its work on this host: what is wanted comes up."""


class ShutDown(Struct, frozen=True, kw_only=True):
    """droned ends its work on this host: everything stops, what is wanted stays wanted."""


class Rebooted(Struct, frozen=True, kw_only=True):
    """The host was started anew: no process of before is left, the monotonic clock began again."""


# --- observations


class Spawned(Struct, frozen=True, kw_only=True):
    """The run's process has executed its program."""

    run: int
    pid: int
    start_time: int
    at: float


class StartFailed(Struct, frozen=True, kw_only=True):
    """The run's process never executed its program; `stage` of the set-up and errno say why.

    The stage is one of the guardian's, `timeout at STAGE` where it took too
    long, or `refused` where the guardian did not take the order.
    """

    run: int
    stage: str
    errno: int
    at: float


class Ended(Struct, frozen=True, kw_only=True):
    """The run's main process is gone; `status` is the wait status, None if nobody saw it."""

    run: int
    status: int | None
    at: float
    leftovers: int
    """Processes of its tree that live on."""


class TreeGone(Struct, frozen=True, kw_only=True):
    """Nothing is left of what the run started."""

    run: int


class Found(Struct, frozen=True, kw_only=True):
    """The guardian holds a living process for the instance: seen when a daemon takes over."""

    run: int
    pid: int
    start_time: int
    spawned_at: float


class TakenOver(Struct, frozen=True, kw_only=True):
    """The guardian holds something of the run that the record names: seen when a daemon takes over."""

    run: int


class Vanished(Struct, frozen=True, kw_only=True):
    """The guardian knows nothing of the run that the record on disk names: seen when a daemon takes over."""

    run: int


class Elapsed(Struct, frozen=True, kw_only=True):
    """The time of the record's `due` of this kind has come."""

    kind: DueKind


class Cleared(Struct, frozen=True, kw_only=True):
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


class Spawn(Struct, frozen=True, kw_only=True):
    """Have the guardian start run number `run`; `automatic` ones count against the start budget."""

    instance: str
    run: int
    automatic: bool


class Signal(Struct, frozen=True, kw_only=True):
    """Have the guardian send signal `number` to `main`, `group` or `tree` of the run."""

    instance: str
    run: int
    number: int
    to: str


class Look(Struct, frozen=True, kw_only=True):
    """Look whether what the start failed for is there now; if so, `Cleared` follows."""

    instance: str


class Forget(Struct, frozen=True, kw_only=True):
    """The instance is gone for good; let the guardian forget its runs."""

    instance: str


Effect = Spawn | Signal | Look | Forget

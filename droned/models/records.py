"""The frozen records of what is: one per instance, app, issue, action and server.

A record is the whole truth about its subject at one version of the registry.
Four facts about an instance stand apart and are never derived from each
other: `wanted` (only a command changes it), `state`, `ready` and `enabled`.
Times ending in `_mono` are seconds of the machine's monotonic clock and mean
nothing after a reboot; all others are wall seconds since the epoch.
"""

from __future__ import annotations

import enum

from msgspec import Struct

from droned.models.policy import AppSpec, DaemonSettings


class Wanted(enum.StrEnum):
    """What a person asked for."""

    UP = "up"
    DOWN = "down"


class State(enum.StrEnum):
    """Where an instance is in its life; the words are those of the documentation's table."""

    STOPPED = "stopped"
    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    BACKOFF = "backoff"
    EXITED = "exited"
    FAILED = "failed"
    UNKNOWN = "unknown"


class DueKind(enum.StrEnum):
    """What happens when an instance's time has come."""

    GRACE = "grace"
    """It has been up long enough to count as running."""
    STOP = "stop"
    """The stop step's time is over."""
    START = "start"
    """The back-off is over."""
    RETRY = "retry"
    """A failed instance gets another chance."""
    LOOK = "look"
    """Look whether the missing user, folder or executable is there now."""


class Then(enum.StrEnum):
    """What follows once the tree of a stopping instance is gone."""

    REST = "rest"
    START = "start"
    POLICY = "policy"
    """It ended by itself; what was left of its tree is being ended; the restart policy decides."""
    REMOVE = "remove"
    """Its app or label left the configuration."""


class Due(Struct, frozen=True, kw_only=True):
    """The one thing an instance waits for, by both clocks."""

    kind: DueKind
    at_mono: float
    at: float


class Exit(Struct, frozen=True, kw_only=True):
    """How a run ended; `reason` says it in words.

    Exactly one of these is told: `code` (it exited), `signal` (its number: it
    was killed), `stage` (the start failed there, with `errno`), or none of
    them: nobody saw the end.
    """

    run: int
    at: float
    reason: str
    code: int | None = None
    signal: int | None = None
    core_dumped: bool = False
    stage: str | None = None
    errno: int | None = None

    @property
    def is_unseen(self) -> bool:
        """Whether the process is gone and nobody can say how."""
        return self.code is None and self.signal is None and self.stage is None


class InstanceRecord(Struct, frozen=True, kw_only=True):
    """One copy of an app on this server."""

    key: str
    """`app/label`."""
    app: str
    label: str
    wanted: Wanted = Wanted.UP
    enabled: bool = True
    state: State = State.STOPPED
    ready: bool | None = False
    run: int = 0
    """Number of the last run that was ordered; 0 is none yet."""
    pid: int | None = None
    start_time: int | None = None
    """Field 22 of /proc/PID/stat, in clock ticks since the boot: with the pid, the identity."""
    revision: int | None = None
    """The app's revision that the last run was started with."""
    started_at: float | None = None
    started_mono: float | None = None
    since: float = 0.0
    """When `state` became what it is."""
    restarts: int = 0
    """Automatic restarts since the instance exists."""
    tries: int = 0
    """Position in the back-off: automatic restarts in a row without `reset_after` of running."""
    recent_mono: tuple[float, ...] = ()
    """When the automatic restarts that the limit counts were decided, oldest first."""
    exit: Exit | None = None
    due: Due | None = None
    stop_step: int | None = None
    then: Then = Then.REST
    note: str = ""
    cause: int = 0
    """The version at which this record became what it is."""


class AppRecord(Struct, frozen=True, kw_only=True):
    """An app as configured now."""

    name: str
    spec: AppSpec
    revision: int
    """The version at which `spec` last changed."""
    launch_revision: int = 0
    """The version at which what is executed last changed: runs of an older revision are outdated."""
    scaled_to: int | None = None
    """Number of instances asked for by `scale`; None: as the configuration says."""
    is_removed: bool = False
    """It left the configuration; its record goes with the last of its instances."""
    cause: int = 0


class IssueKind(enum.StrEnum):
    """Why a person must look."""

    INSTANCE_FAILED = "instance-failed"
    CONFIGURATION_REFUSED = "configuration-refused"
    JOURNAL_DAMAGED = "journal-damaged"
    JOURNAL_CANNOT_WRITE = "journal-cannot-write"
    SERVICE_FAILED = "service-failed"
    ORPHANS = "orphans"
    GUARDIAN = "guardian"
    DESCRIPTORS = "descriptors"
    LOGS = "logs"
    FORWARDING = "forwarding"


class IssueRecord(Struct, frozen=True, kw_only=True):
    """Something that a person must look at; it is dropped when its cause is gone."""

    key: str
    """`kind:subject`: one issue a subject and kind."""
    kind: IssueKind
    subject: str
    text: str
    remedy: str
    opened_at: float
    cause: int = 0


class ActionState(enum.StrEnum):
    """How far an action is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Goal(enum.StrEnum):
    """What an action wants of one instance."""

    RUNNING = "running"
    STOPPED = "stopped"
    NONE = "none"
    """Done with the commit itself (enable, disable, kill)."""


class ActionItem(Struct, frozen=True, kw_only=True):
    """An action's part on one instance."""

    instance: str
    goal: Goal
    after_run: int
    """Only a run with a higher number fulfils the goal `running`."""
    state: ActionState = ActionState.RUNNING
    text: str = ""


class ActionRecord(Struct, frozen=True, kw_only=True):
    """The execution of one command, which can be waited for and listed."""

    key: str
    command: str
    targets: tuple[str, ...]
    actor: str
    reason: str
    began_at: float
    items: tuple[ActionItem, ...] = ()
    state: ActionState = ActionState.RUNNING
    ended_at: float | None = None
    idempotency_key: str | None = None
    request_digest: str | None = None
    """SHA-256 of the command, its targets and its arguments, hexadecimal."""
    durable: bool = True
    """False when the journal could not take it before the answer was given."""
    cause: int = 0


class ServerRecord(Struct, frozen=True, kw_only=True):
    """This host's droned itself; there is one, under the key `server`."""

    key: str
    name: str
    boot_id: str = ""
    is_down: bool = True
    """Whether everything was stopped in order: the next start begins what is wanted."""
    is_stopping: bool = False
    """Whether everything is being stopped in order: a daemon that takes over goes on with it."""
    stopping_under: str = ""
    """The guardian, as `pid.start time`, that had this to do: one that was started anew begins again."""
    stopping_code: int = 0
    """What droned is to end with after that."""
    settings: DaemonSettings = DaemonSettings()
    """The last good ones."""
    sources: tuple[str, ...] = ()
    """The files of the last good configuration."""
    cause: int = 0


Record = InstanceRecord | AppRecord | IssueRecord | ActionRecord | ServerRecord

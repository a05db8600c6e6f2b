"""What a configuration says about an app, as checked values.

Rules of this module: every value here has passed the configuration's checks,
so nothing is checked again; seconds are floats and end in `_s`, sizes are
bytes; a missing bound is None, never a magic number. Defaults are those of
the documentation's table and are stated here only.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

from droned.models.daemon_log import OwnLogSettings
from droned.models.sinks import Sink

NO_NAMES: Mapping[str, str] = MappingProxyType({})


class RestartWhen(enum.StrEnum):
    """When an instance that ended by itself is started again (systemd's words and meanings)."""

    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    ON_SUCCESS = "on-success"
    NEVER = "never"


class SignalTo(enum.StrEnum):
    """Whom a signal reaches: the main process, its process group, or all that it started."""

    MAIN = "main"
    GROUP = "group"
    TREE = "tree"


class Leftovers(enum.StrEnum):
    """What happens to the rest of the tree when the main process ends by itself."""

    STOP = "stop"
    KEEP = "keep"


class LogFormat(enum.StrEnum):
    """How captured lines are written beside the segments: as they are, with a time before each, as JSON."""

    RAW = "raw"
    STAMPED = "stamped"
    JSON = "json"


class StderrTo(enum.StrEnum):
    """Whether what is written to stderr stays apart, or is one stream with stdout."""

    APART = "apart"
    MERGED = "merged"


class WhenFull(enum.StrEnum):
    """What becomes of output that no file can take: it is dropped and counted, or the program waits."""

    DROP = "drop"
    BLOCK = "block"


class RestartLimit(Struct, frozen=True, kw_only=True):
    """At most `count` automatic restarts within `within_s` seconds, then the instance has failed."""

    count: int
    within_s: float


class RestartPolicy(Struct, frozen=True, kw_only=True):
    """When and how soon an instance is started again without a person."""

    policy: RestartWhen = RestartWhen.ON_FAILURE
    delay_s: float = 0.5
    max_delay_s: float = 30.0
    jitter: float = 0.25
    """Share by which a delay may move either way, 0.0-1.0."""
    reset_after_s: float = 30.0
    """A run of at least this long forgets the tries before it; its restart is at once."""
    limit: RestartLimit | None = RestartLimit(count=10, within_s=600.0)
    retry_failed_after_s: float | None = 300.0
    success_exit: tuple[int, ...] = (0,)
    permanent_exit: tuple[int, ...] = ()


class StopStep(Struct, frozen=True, kw_only=True):
    """One step of a stop: a signal (its number), whom it goes to, and how long it is given."""

    signal: int
    to: SignalTo
    for_s: float | None
    """Seconds until the next step; None in the last one."""


DEFAULT_STOP: tuple[StopStep, ...] = (
    StopStep(signal=15, to=SignalTo.MAIN, for_s=10.0),
    StopStep(signal=15, to=SignalTo.TREE, for_s=2.0),
    StopStep(signal=9, to=SignalTo.TREE, for_s=None),
)


class StartPolicy(Struct, frozen=True, kw_only=True):
    """How long a process must stay up to count as running, and how long it may take to be ready."""

    grace_s: float = 1.0
    timeout_s: float = 60.0
    """Of the readiness to come: no key sets it yet. It stays because journals hold it, and lose no field."""


class LogPolicy(Struct, frozen=True, kw_only=True):
    """What becomes of the output of an app's instances."""

    format: LogFormat = LogFormat.RAW
    """Another than `RAW` is written in addition: the segments always hold the bytes as they came."""
    stderr: StderrTo = StderrTo.APART
    max_size_bytes: int = 50 * 1024 * 1024
    """The size at which a stream goes on in a new segment."""
    keep: int = 5
    """Segments of a stream that are kept beside the one that is written."""
    max_age_s: float | None = 30 * 86400.0
    """Segments older than this go, however few there are."""
    compress: bool = True
    """Whether segments that are done with are compressed."""
    when_full: WhenFull = WhenFull.DROP
    direct: bool = False
    """Not captured: programs write to one file a stream, which droned never cuts and cannot search."""


class ResourceLimit(Struct, frozen=True, kw_only=True):
    """One rlimit: its name as in `ulimit` and `prlimit` (`nofile`), soft and hard; None is unlimited."""

    name: str
    soft: int | None
    hard: int | None


class Launch(Struct, frozen=True, kw_only=True):
    """What is executed and in which world; texts may still hold the instance's ${DRONED_…} names."""

    command: tuple[str, ...]
    directory: str | None = None
    env: Mapping[str, str] = field(default_factory=lambda: NO_NAMES)
    user: str | int | None = None
    group: str | int | None = None
    groups: tuple[str | int, ...] | None = None
    umask: int | None = None
    limits: tuple[ResourceLimit, ...] = ()
    nice: int | None = None
    oom_score_adj: int | None = None
    no_new_privs: bool = False


class AppSpec(Struct, frozen=True, kw_only=True):
    """Everything that the configuration says about one app."""

    name: str
    launch: Launch
    labels: tuple[str, ...] = ("0",)
    """The instances' labels, in the order of the file; `instances: 2` is ("0", "1")."""
    restart: RestartPolicy = RestartPolicy()
    start: StartPolicy = StartPolicy()
    stop: tuple[StopStep, ...] = DEFAULT_STOP
    leftovers: Leftovers = Leftovers.STOP
    logs: LogPolicy = LogPolicy()
    origin: str = ""
    """Where it stands: `droned.yaml:14:3`; a new place alone makes no new revision."""


class StartBudget(Struct, frozen=True, kw_only=True):
    """Host-wide brake on automatic restarts: a bucket of `burst` that refills at `per_second`."""

    burst: int = 300
    per_second: float = 50.0


class JournalSettings(Struct, frozen=True, kw_only=True):
    """How long and how much of the journal is kept."""

    keep_s: float = 90 * 86400.0


class LogSettings(Struct, frozen=True, kw_only=True):
    """What captured output may take on this host."""

    total_bytes: int | None = 2 * 1024 * 1024 * 1024
    """All segments and copies of all instances; the oldest of the stream with most bytes goes first."""


class DaemonSettings(Struct, frozen=True, kw_only=True):
    """The `droned:` part of a configuration."""

    socket: str | None = None
    start_budget: StartBudget | None = StartBudget()
    journal: JournalSettings = JournalSettings()
    logs: LogSettings = LogSettings()
    log: OwnLogSettings = OwnLogSettings()
    forward: tuple[Sink, ...] = ()


class Configuration(Struct, frozen=True, kw_only=True):
    """One whole, valid configuration."""

    apps: Mapping[str, AppSpec]
    settings: DaemonSettings = DaemonSettings()
    sources: tuple[str, ...] = ()
    """The files it was read from, in the order of their layers."""


def needs_restart(old: AppSpec, new: AppSpec) -> bool:
    """Whether a running process of `old` must be replaced for `new` to hold (else it applies live)."""
    return old.launch != new.launch or _output(old.logs) != _output(new.logs)


def _output(policy: LogPolicy) -> tuple[bool, StderrTo]:
    """What of a policy is in the descriptors of a process; all else is up to whoever reads them."""
    return policy.direct, policy.stderr

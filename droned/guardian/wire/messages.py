"""The messages between guardian and daemon.

One packet of a SOCK_SEQPACKET pair is an ASCII JSON array of messages, at
most `PACKET_BYTES` long. A message is an object with a "type"; each shape is
a TypedDict below, which is its constructor (`Spawn(type="spawn", ...)`), its
type for mypy, and the source of the check that is made when one arrives.

Rules that keep two releases able to talk: a type or a field that is not known
is ignored (types are counted); a field is never renamed or retyped; `protocol`
in `hello` and `welcome` grows with a change that cannot be ignored, and each
side understands the version before its own.

Text is UTF-8 with surrogateescape, so any byte survives. Times are wall
seconds; `start_time` is field 22 of /proc/PID/stat in clock ticks; `status`
is the raw wait status. Descriptors travel beside a message that says how many
are its own in "fds". A launch too large for a packet travels in a sealed
memfd: its `spawn` carries `launch: null` and one descriptor.
"""

from typing import Any, Literal, NotRequired, TypedDict

PROTOCOL = 1
PACKET_BYTES = 65_536
PACKET_FDS = 250  # the kernel's limit is 253
LAUNCH_BYTES = 8 * 1024 * 1024  # above the largest argv and environment that exec takes
ROWS_IN_MESSAGE = 64

Pair = list[Any]  # [instance, run]; JSON has no tuples


class Head(TypedDict):
    """The head of the daemon's journal: its last version and that record's digest."""

    version: int
    digest: str


class Launch(TypedDict):
    """Everything that a child is made of. Users and groups are looked up in the child."""

    argv: list[str]
    env: dict[str, str]
    directory: str | None  # null: "/"
    user: str | int | None
    group: str | int | None
    groups: list[str | int] | None
    umask: int | None
    limits: dict[str, list[int]]  # "nofile" -> [soft, hard]; -1 is unlimited
    nice: int | None
    oom_score_adj: int | None
    no_new_privs: bool
    stdout: str  # a path, or with `logs` the name of a stream
    stderr: str
    logs: NotRequired[str]  # the output is captured: the policy, as JSON text for `droned-logs`


class Failure(TypedDict):
    """Why a start failed: the stage of the set-up and its errno (0 where there is none)."""

    stage: str
    errno: int


class Row(TypedDict):
    """One run in the guardian's table."""

    instance: str
    run: int
    pid: int
    start_time: int
    spawned_at: float
    state: Literal["setup", "running", "ended"]
    status: int | None
    seen: bool
    ended_at: float | None
    failure: Failure | None
    cpu_s: float | None
    max_rss_bytes: int | None
    leftovers: int
    adopted: bool


class Stranger(TypedDict):
    """A process under the guardian that no run claims."""

    pid: int
    start_time: int
    name: str


# ---- daemon -> guardian


class Hello(TypedDict):
    """First message of a daemon. `handing`: copies of descriptors follow, then `handed`."""

    type: Literal["hello"]
    protocol: int
    release: str
    pid: int
    head: Head | None
    handing: NotRequired[bool]


class Progress(TypedDict):
    """The start-up goes on: its deadline begins anew."""

    type: Literal["progress"]
    text: str


class Ready(TypedDict):
    """The daemon is in control (after its start and after each reload)."""

    type: Literal["ready"]


class Pong(TypedDict):
    """Answer to `ping`."""

    type: Literal["pong"]
    n: int


class Status(TypedDict):
    """One line for the service manager's STATUS."""

    type: Literal["status"]
    text: str


class Spawn(TypedDict):
    """Start this run; answered by `spawned`, `spawn_failed` or `refused`."""

    type: Literal["spawn"]
    instance: str
    run: int
    launch: Launch | None
    fds: NotRequired[int]


class Signal(TypedDict):
    """Send a signal to the main process, its group, or the whole tree of a run."""

    type: Literal["signal"]
    instance: str
    run: int
    signal: int
    to: Literal["main", "group", "tree"]


class Ack(TypedDict):
    """These ends are in the journal, whose head is now `head`."""

    type: Literal["ack"]
    ended: list[Pair]
    head: Head | None


class Forget(TypedDict):
    """The instance is gone for good: its folder and its last run number go."""

    type: Literal["forget"]
    instance: str


class Watchdog(TypedDict):
    """Suspend the watchdog for so long (0: resume)."""

    type: Literal["watchdog"]
    pause_s: float


class Leave(TypedDict):
    """The daemon is about to stop on purpose and shall not be started again."""

    type: Literal["leave"]


class Restart(TypedDict):
    """The daemon is about to exit and shall be started again at once."""

    type: Literal["restart"]


class Exit(TypedDict):
    """All is stopped: exit with this code once the daemon is gone."""

    type: Literal["exit"]
    code: int


class Park(TypedDict):
    """Keep the descriptor beside this message under `name`."""

    type: Literal["park"]
    name: str
    fds: int


class Unpark(TypedDict):
    """Close what is parked under `name`."""

    type: Literal["unpark"]
    name: str


class Fetch(TypedDict):
    """Send a copy of what is parked under `name`."""

    type: Literal["fetch"]
    name: str


class Reexec(TypedDict):
    """Execute the installed guardian in place, as SIGUSR2 does."""

    type: Literal["reexec"]


class Held(TypedDict):
    """A run as the daemon knows it, beside the pidfd that it has held since the start."""

    instance: str
    run: int
    pid: int
    start_time: int
    spawned_at: float


class Pidfds(TypedDict):
    """To a successor: a pidfd for each of these runs. It is believed over a damaged ledger."""

    type: Literal["pidfds"]
    runs: list[Held]
    fds: int


class Handed(TypedDict):
    """To a successor: all copies have been sent."""

    type: Literal["handed"]


# ---- guardian -> daemon


class Welcome(TypedDict):
    """Answer to `hello`; `table` follows. `head` is the newest journal head acknowledged."""

    type: Literal["welcome"]
    protocol: int
    release: str
    pid: int
    start_time: int
    boot_id: str
    state_id: str
    head: Head | None
    shutdown: bool
    parked: list[str]
    lacking: list[str]  # of "cgroup", "pidfd", "posix_spawn", "subreaper"
    logs_pid: NotRequired[int | None]


class Table(TypedDict):
    """A part of the table; `last` ends it."""

    type: Literal["table"]
    rows: list[Row]
    last: bool


class Spawned(TypedDict):
    """The program of this run is being executed. `output`: sizes of the files of its output before it."""

    type: Literal["spawned"]
    instance: str
    run: int
    pid: int
    start_time: int
    at: float
    output: NotRequired[list[int]]  # stdout, stderr


class SpawnFailed(TypedDict):
    """The run never came to its program. Kept as an ended row until acknowledged."""

    type: Literal["spawn_failed"]
    instance: str
    run: int
    stage: str
    errno: int
    at: float


class Refused(TypedDict):
    """A `spawn` that was not done: the instance lives, or the run number is not new."""

    type: Literal["refused"]
    instance: str
    run: int
    live_run: int | None
    last_run: int


class Ended(TypedDict):
    """The main process of a run is gone; `leftovers` of its tree are not.

    `status` is null when its end could not be seen, usage when it was not our child.
    """

    type: Literal["ended"]
    instance: str
    run: int
    status: int | None
    at: float
    cpu_s: float | None
    max_rss_bytes: int | None
    leftovers: int


class TreeGone(TypedDict):
    """Nothing of the tree of this run is left (after an `ended` with leftovers)."""

    type: Literal["tree_gone"]
    instance: str
    run: int


class Signalled(TypedDict):
    """Answer to `signal`: how many processes it reached."""

    type: Literal["signalled"]
    instance: str
    run: int
    signal: int
    to: str
    delivered: int


class Strangers(TypedDict):
    """All living strangers; sent when they change."""

    type: Literal["strangers"]
    processes: list[Stranger]


class Ping(TypedDict):
    """Sent every two seconds; to be answered with `pong`."""

    type: Literal["ping"]
    n: int
    at: NotRequired[float]  # seconds of the monotonic clock; since 0.1


class Shutdown(TypedDict):
    """Stop everything in order, then say `exit`."""

    type: Literal["shutdown"]
    reason: str


class Reload(TypedDict):
    """Read the configuration again, then say `ready`."""

    type: Literal["reload"]


class Replace(TypedDict):
    """Close the journal and exit, touching no app: the installed daemon is started next."""

    type: Literal["replace"]
    reason: str


class Parked(TypedDict):
    """Answer to `fetch`; without a descriptor when nothing is parked under `name`."""

    type: Literal["parked"]
    name: str
    fds: int


class LogsProcess(TypedDict):
    """`droned-logs` has begun (its pid) or ended (null)."""

    type: Literal["logs"]
    pid: int | None


class Trouble(TypedDict):
    """Counters of the guardian that should be 0; sent after `welcome` and on change."""

    type: Literal["trouble"]
    ledger_errors: int
    dropped_records: int
    ignored_messages: int


ToGuardian = (
    Hello | Progress | Ready | Pong | Status | Spawn | Signal | Ack | Forget | Watchdog | Leave | Restart
    | Exit | Park | Unpark | Fetch | Reexec | Pidfds | Handed
)  # fmt: skip
ToDaemon = (
    Welcome | Table | Spawned | SpawnFailed | Refused | Ended | TreeGone | Signalled | Strangers | Ping
    | Shutdown | Reload | Replace | Parked | LogsProcess | Trouble
)  # fmt: skip
Message = dict[str, Any]

"""The messages between guardian and `droned-logs`, over a pair like that of the daemon and by the same rules.

The guardian keeps a copy of the read end of every pipe until `droned-logs` has
said that all of it is in its files; `droned-logs` keeps its own. Whichever of
the two is lost gets them back from the other. Where both are, the pipe of a
program that lives is found again at /proc/PID/fd.
"""

from typing import Literal, NotRequired, TypedDict

CAPTURES_PROTOCOL = 1

# ---- guardian -> droned-logs


class Capture(TypedDict):
    """Capture from the read end beside this message (one that is known already is only checked).

    `name` is unique over all runs: `web/0:3:stdout`. `policy` is the JSON text
    of a policy (`droned.logs.format`), passed on from the launch unread. `at`
    is when the run began, 0 where nobody knows.
    """

    type: Literal["capture"]
    name: str
    instance: str
    run: int
    stream: str  # stdout, stderr, or output for both in one
    policy: str
    at: float
    fds: int


class RunEnded(TypedDict):
    """The main process of this run is gone: take what is in its pipes, and remember where it ended."""

    type: Literal["run_ended"]
    instance: str
    run: int
    status: int | None
    at: float


class CapturesForget(TypedDict):
    """The instance left the configuration: what it wrote is kept only as long as policies say."""

    type: Literal["forget"]
    instance: str


class CapturesPing(TypedDict):
    """To be answered with `pong`."""

    type: Literal["ping"]
    n: int


class CapturesGo(TypedDict):
    """Take what is in the pipes, and exit: another `droned-logs` is started next (an upgrade, a stop)."""

    type: Literal["go"]


# ---- droned-logs -> guardian


class CapturesReady(TypedDict):
    """First message: the files are in order, bytes are moved. `protocol` is CAPTURES_PROTOCOL."""

    type: Literal["ready"]
    protocol: int
    pid: int


class Captured(TypedDict):
    """To a guardian that has come after it: what it captures, with a copy of the read end."""

    type: Literal["captured"]
    name: str
    instance: str
    run: int
    stream: str
    policy: str
    at: float
    fds: int


class CapturedAll(TypedDict):
    """All that it captures has been told: whatever the guardian has beyond that is to be sent now."""

    type: Literal["captured_all"]


class Drained(TypedDict):
    """Nobody can write to these pipes any more, and all of it is in the files: copies can be closed."""

    type: Literal["drained"]
    names: list[str]


class CapturesPong(TypedDict):
    """Answer to `ping`."""

    type: Literal["pong"]
    n: int
    note: NotRequired[str]


ToLogs = Capture | RunEnded | CapturesForget | CapturesPing | CapturesGo
FromLogs = CapturesReady | Captured | CapturedAll | Drained | CapturesPong

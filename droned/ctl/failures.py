"""What dronectl can fail with, and the exit status of each: the daemon's own tree, carried over the wire.

| exit | meaning |
|------|---------|
| 0    | done, or the question was answered |
| 1    | the operation failed |
| 2    | the command line or the request is wrong |
| 3    | the target exists and is not in the asked state |
| 4    | no such target |
| 5    | the daemon cannot be reached |
| 6    | not allowed |
| 7    | timed out while waiting; the work goes on |
| 8    | conflict: what the request was based on has changed |
| 130  | interrupted; the work goes on |
| 141  | whoever read standard output went away |
"""

from __future__ import annotations

from collections.abc import Mapping

from droned.errors import BadRequest, ConfigurationError, DronedError, NoSuchTarget, NotAllowed, all_errors

INTERRUPTED = 130
OUTPUT_CLOSED = 141


class WorkFailed(DronedError):
    """What was asked for was begun and did not come about."""

    code = "work-failed"


class Unreachable(DronedError):
    """No daemon answers; the message names the socket and the errno."""

    code = "unreachable"
    exit_status = 5


class ConnectionLost(Unreachable):
    """The daemon went away in the middle of an answer: it may or may not have done what was asked."""

    code = "connection-lost"


class TimedOut(DronedError):
    """The caller's own `--timeout` is over; the daemon goes on with what it was asked."""

    code = "timed-out"
    exit_status = 7


class Conflict(DronedError):
    """What the request was based on has changed meanwhile."""

    code = "conflict"
    http_status = 412
    exit_status = 8


class OutputFault(DronedError):
    """Standard output cannot be written: a full disk, for one."""

    code = "output"


class Incomprehensible(DronedError):
    """The peer answers, but not as a droned does."""

    code = "incomprehensible"


def from_problem(status: int, problem: Mapping[str, object]) -> DronedError:
    """The error that a problem document (RFC 9457) describes, as the daemon raised it.

    An unknown `code`, as of a newer daemon, is judged by its HTTP status.
    """
    detail = str(problem.get("detail") or problem.get("title") or f"the daemon answered {status}")
    code = problem.get("code")
    known = {error.code: error for error in all_errors()}
    error = known.get(code) if isinstance(code, str) else None
    if error is None:
        error = _BY_STATUS.get(status, DronedError)
    if error is ConfigurationError:
        problems = problem.get("problems")
        return ConfigurationError(detail, tuple(map(str, problems)) if isinstance(problems, list) else ())
    facts = {
        name: value for name, value in problem.items() if name not in ("type", "title", "status", "detail")
    }
    return error(detail, **facts)


_BY_STATUS: dict[int, type[DronedError]] = {
    400: BadRequest,
    401: NotAllowed,
    403: NotAllowed,
    404: NoSuchTarget,
    409: Conflict,
    412: Conflict,
    413: BadRequest,
    422: BadRequest,
    428: Conflict,
}

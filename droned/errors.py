"""The one tree of errors that a user, a client or a peer can meet.

Each class carries a stable `code` (for programs), the HTTP status that the
API answers with and the exit status that `dronectl` ends with. The table is
this file: a new error is a new class here, and the documentation's table is
drawn from `all_errors()`.

Messages start with "cannot", carry the value they are about and, where there
is one, the way out. No traceback ever reaches a user.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class DronedError(Exception):
    """Anything that droned tells its user it cannot do; `str()` is the whole message."""

    code: ClassVar[str] = "internal"
    http_status: ClassVar[int] = 500
    exit_status: ClassVar[int] = 1

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.facts: Mapping[str, object] = facts
        """Further members of the problem document, JSON values by name."""


class BadRequest(DronedError):
    """The request itself is wrong: fault of the caller, nothing was changed."""

    code = "bad-request"
    http_status = 400
    exit_status = 2


class NotAllowed(DronedError):
    """The caller is known and may not do this."""

    code = "not-allowed"
    http_status = 403
    exit_status = 6


class NoSuchTarget(DronedError):
    """A target, command, action or route of that name does not exist; `near` names similar ones."""

    code = "no-such-target"
    http_status = 404
    exit_status = 4


class WrongMethod(DronedError):
    """The route exists, but not with this HTTP method."""

    code = "wrong-method"
    http_status = 405
    exit_status = 2


class NotNow(DronedError):
    """The target exists but is not in a state in which this can be done."""

    code = "not-in-that-state"
    http_status = 409
    exit_status = 3


class KeyReused(DronedError):
    """An idempotency key came a second time with another request."""

    code = "idempotency-key-reused"
    http_status = 422
    exit_status = 2


class TooLarge(DronedError):
    """A request, a file or a value is over its limit."""

    code = "too-large"
    http_status = 413
    exit_status = 2


class ConfigurationError(DronedError):
    """A configuration cannot be used; `problems` lists every fault as file:line:column: text."""

    code = "configuration"
    http_status = 422
    exit_status = 1
    SHOWN: ClassVar[int] = 50
    """Problems that a text lists; all of them are in `problems`."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, problems=list(problems))
        self.problems = problems

    @property
    def whole(self) -> str:
        """The message, and below it each problem on a line of its own where there are several."""
        if len(self.problems) < 2:
            return str(self)
        hidden = len(self.problems) - self.SHOWN
        more = (f"and {hidden} more",) if hidden > 0 else ()
        return "\n".join((str(self), *self.problems[: self.SHOWN], *more))


class Degraded(DronedError):
    """The journal cannot write, so a change cannot be made durable; stop, kill and status go on."""

    code = "degraded"
    http_status = 503
    exit_status = 1


class ShuttingDown(DronedError):
    """droned is stopping or has not started yet."""

    code = "not-in-service"
    http_status = 503
    exit_status = 5


class Busy(DronedError):
    """As many as can be served at once are being served; `retry_after_s` says when to come again."""

    code = "busy"
    http_status = 503
    exit_status = 1

    def __init__(self, message: str, retry_after_s: int = 1, **facts: object) -> None:
        super().__init__(message, retry_after_s=retry_after_s, **facts)
        self.retry_after_s = retry_after_s


class JournalDamaged(DronedError):
    """A journal file holds bytes that its own digests disown."""

    code = "journal-damaged"


class StateInUse(DronedError):
    """Another droned holds this state folder."""

    code = "state-in-use"
    exit_status = 75


class CannotRun(DronedError):
    """The daemon itself cannot run: a folder, socket or limit is not usable."""

    code = "cannot-run"
    exit_status = 78


def all_errors() -> tuple[type[DronedError], ...]:
    """Every error class of this module in the order of its text, whatever else has been imported."""
    here = tuple(globals().values())
    return tuple(each for each in here if isinstance(each, type) and issubclass(each, DronedError))

"""The ports: what the deciding parts need of the outside, one Interface each.

Drivers implement them for real, `tests/fakes` implements them in memory, and
`tests/contract` holds both to the same behaviour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from droned.models.registry import Commit

P = ParamSpec("P")
T = TypeVar("T")


class IClock(Interface):
    """Both clocks and the dice; the source of every `Moment`."""

    def wall() -> float:
        """Seconds since the epoch."""

    def mono() -> float:
        """Seconds of the monotonic clock, the same for every process since the boot."""

    def draw() -> float:
        """A new random number, 0.0-1.0."""


class ICall(Interface):
    """A call that is to come."""

    def cancel() -> None:
        """Not to come any more; does nothing when it has come."""


class ITimers(Interface):
    """Calls later on the reactor thread."""

    def call_later(delay_s: float, call: Callable[[], None]) -> Any:
        """Make `call` after `delay_s` seconds (0 is the next turn); an `ICall`."""


class IPool(Interface):
    """Threads for work that can block: it gets values and returns values, and touches no entity."""

    name = Attribute("what the pool is for, as thread names and the stall watch show it")

    def run(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        """Run `call` in a thread; its result or exception comes back on the reactor thread."""


class ISpawner(Interface):
    """Whoever starts, signals and watches processes for us: the guardian."""

    def spawn(instance: str, run: int, launch: Mapping[str, object]) -> None:
        """Order a process; the answer comes as an observation."""

    def signal(instance: str, run: int, number: int, to: str) -> None:
        """Signal `main`, `group` or `tree` of a run."""

    def acknowledge(ended: list[tuple[str, int]], head_version: int, head_digest: str) -> None:
        """The ends of these runs are on disk; so is the journal up to this head."""

    def flush() -> None:
        """Send what was ordered now, not at the end of the reactor's turn."""

    def forget(instance: str) -> None:
        """The instance is gone for good: drop its cgroup and its last run."""


class IJournal(Interface):
    """The durable memory: every commit, in order."""

    def append(commit: Commit) -> None:
        """Take a commit to disk with the next batch."""

    def when_durable(version: int) -> Awaitable[bool]:
        """True once `version` is on disk; False when the journal cannot write it now."""

    is_degraded = Attribute("whether the last attempt to write failed")

    def read(
        since: int, until: int | None, containing: str = ""
    ) -> Awaitable[Iterator[Mapping[str, object]]]:
        """The journal's records with `since` < version <= `until` whose JSON has `containing`."""


class IServicePlugin(Interface):
    """A part of the daemon that can be made, started and stopped by itself.

    Built-in services are registered the same way as add-ons. Each phase may
    fail: the service is then shown as failed and the others run on.
    """

    name = Attribute("one word, as `dronectl daemon status` shows it")
    needs = Attribute("names of services that must run before it starts, a tuple")

    def check(settings: Any) -> list[str]:
        """What is wrong with the settings for this service, in words; empty is fine."""

    def make(context: Any) -> Any:
        """The service itself, or an awaitable of it.

        It is a Twisted `IService` whose start and stop may return a Deferred.
        """


class Runner(Protocol):
    """Runs a coroutine without waiting for it and logs its failure."""

    def __call__(self, work: Awaitable[object], what: str) -> None:
        """Start `work`; `what` names it in the log."""
        ...


class ISinkLink(Interface):
    """The way to one sink of captured lines; it connects when needed, and again after a failure."""

    linger_s = Attribute("seconds that lines may wait for more of them to be sent together")
    most_lines = Attribute("how many lines are sent together at most")

    def send(lines: Sequence[Any]) -> Awaitable[int]:
        """Have these lines (`protocols.captured.CapturedLine`) taken; the number of those that were given up.

        Raises SinkFailed: then all of them are to be sent again.
        """

    def close() -> None:
        """Let go of the connection; a `send` that is under way fails."""

"""The service `logs`: what `droned-logs` is to know, who reads, and what went wrong with either.

Policies travel with each launch. What is sent from here are those that change
while their instance lives, and all of them to a `droned-logs` that is new.

Readers are processes, so their number is limited: followers stay for long,
searches for the time that they take. One more is told to come again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, cast

from twisted.application.service import Service

from droned.commands.dispatcher import Caller, Dispatcher, Receipt
from droned.commands.requests import Request
from droned.commands.targets import log_keys
from droned.drivers.output_files import LastLine, OutputFiles, policy_text
from droned.errors import Busy, DronedError, NoSuchTarget, ShuttingDown
from droned.models.daemon_log import OWN_LOG
from droned.models.events import EventType, Occurrence
from droned.models.policy import LogPolicy
from droned.models.ports import IClock, IPool, ITimers, Runner
from droned.models.records import AppRecord, InstanceRecord, IssueKind
from droned.models.registry import Commit, Registry
from droned.services.issue_book import IssueBook
from droned.services.losses import LOST_S, Losses

FOLLOWERS = 16
SEARCHES = 8
RETRY_AFTER_S = 2
WAY_OUT = {
    "follow": "end one of them, or follow several targets at once",
    "search": "ask again when one of them is done",
}
UNREACHABLE_S = 30.0
"""So long without `droned-logs` is worth a person's look; it is replaced in a tenth of a second."""
USAGE_S = 60.0
"""How often it is asked what was lost."""

UNREACHABLE = "droned-logs"
LOST = "output"
UNREACHABLE_REMEDY = (
    "see droned's log; apps run on, and what they write waits in their pipes: a full pipe makes them wait"
)
LOST_REMEDY = (
    "make room on the disk of the state folder, or lower logs.max_size, logs.keep or droned.logs.total"
)


class Link(Protocol):
    """What is asked of the connection to `droned-logs`."""

    changed: Callable[[], None]
    pid: int | None

    @property
    def is_connected(self) -> bool:
        """Whether there is a `droned-logs`."""
        ...

    def begin(self) -> None:
        """Connect, and stay connected."""
        ...

    def close(self) -> None:
        """Let go."""
        ...

    def set_total(self, total_bytes: int | None) -> None:
        """All segments together take so many bytes at most."""
        ...

    def set_policies(self, policies: Mapping[str, str]) -> None:
        """These instances are treated by these policies."""
        ...

    def forget(self, instance: str) -> None:
        """The instance is gone."""
        ...

    def set_own(self, instance: str, policy: str, fd: int | None, taken: Callable[[bool], None]) -> None:
        """A pipe of the daemon's own is captured as this instance."""
        ...

    def ask(self, do: str, instances: Sequence[str] | None = None) -> Awaitable[list[Mapping[str, Any]]]:
        """The answers to a question."""
        ...


class Reader(Protocol):
    """One reader process."""

    def begin(self, question: Mapping[str, object]) -> None:
        """Start it."""
        ...

    def pause(self) -> None:
        """Read nothing until `resume`."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def kill(self) -> None:
        """Nobody wants the answer any more."""
        ...


NewReader = Callable[[Callable[[bytes], None], Callable[[int], None]], Reader]
"""Makes a reader of whoever takes what it prints, and whoever is told its wait status."""


class LogsService(Service):
    """Settings for `droned-logs`, questions to it, and readers."""

    name = "logs"

    def __init__(
        self,
        *,
        registry: Registry,
        link: Link,
        new_reader: NewReader,
        files: OutputFiles,
        issues: IssueBook,
        dispatcher: Dispatcher,
        server_name: str,
        when_durable: Callable[[int], Awaitable[bool]],
        clock: IClock,
        timers: ITimers,
        pool: IPool,
        run: Runner,
        moment: Callable[[], Any],
    ) -> None:
        self._registry = registry
        self._link = link
        self._new_reader = new_reader
        self._files = files
        self._issues = issues
        self._dispatcher = dispatcher
        self._server_name = server_name
        self._when_durable = when_durable
        self._clock = clock
        self._timers = timers
        self._pool = pool
        self._run = run
        self._moment = moment
        self._unsubscribe: Callable[[], None] = lambda: None
        self._readers: dict[Reader, bool] = {}
        self._calls: dict[str, Any] = {}
        self._losses = Losses()
        link.changed = self._link_changed

    @property
    def note(self) -> str:
        """Its state in words, for `daemon status`."""
        if not self._link.is_connected:
            return "cannot reach droned-logs"
        followers = sum(self._readers.values())
        searches = len(self._readers) - followers
        return f"droned-logs is pid {self._link.pid}; {followers} following, {searches} searching"

    @property
    def is_unreachable(self) -> bool:
        """Whether there has been no `droned-logs` for long."""
        return f"{IssueKind.LOGS}:{UNREACHABLE}" in self._registry.records("issue")

    def startService(self) -> None:  # Twisted's name
        """Connect, send what is in force, and take commands."""
        super().startService()
        self._unsubscribe = self._registry.subscribe(self._follow)
        for name in tuple(self._registry.records("app")):
            self._send_policies(self._registry.app(name))
        self._dispatcher.register("logs-rotate", self._rotate)
        self._dispatcher.register("logs-clear", self._clear)
        self._link.begin()
        self._watch_link()
        self._later("usage", USAGE_S, self._ask_usage)

    def stopService(self) -> None:  # Twisted's name
        """End every reader and let go; `droned-logs` goes on."""
        super().stopService()
        self._unsubscribe()
        for name in ("logs-rotate", "logs-clear"):
            self._dispatcher.unregister(name)
        for call in self._calls.values():
            call.cancel()
        self._calls.clear()
        for reader in tuple(self._readers):
            reader.kill()
        self._link.close()

    # ---- what the API asks

    def read(
        self,
        question: Mapping[str, object],
        received: Callable[[bytes], None],
        ended: Callable[[int], None],
    ) -> Reader:
        """Start a reader; its answer is handed to `received`, its wait status to `ended`.

        Raises Busy when there are as many as can be, CannotRun when none can be
        started, ShuttingDown when this service does not run.
        """
        if not self.running:
            raise ShuttingDown("cannot read logs: the service that does it does not run")
        is_follower = bool(question["follow"])
        count = sum(each is is_follower for each in self._readers.values())
        most, what = (FOLLOWERS, "follow") if is_follower else (SEARCHES, "search")
        if count >= most:
            raise Busy(
                f"cannot {what} logs: {most} do so already, as many as may; {WAY_OUT[what]}", RETRY_AFTER_S
            )

        def gone(status: int) -> None:
            self._readers.pop(reader, None)
            ended(status)

        reader = self._new_reader(received, gone)
        reader.begin({"folder": self._files.folder, **question})
        self._readers[reader] = is_follower
        return reader

    async def usage(self) -> dict[str, object]:
        """What `droned-logs` says of the room that everything takes. ShuttingDown when it does not answer."""
        answers = await self._link.ask("usage")
        instances: dict[str, object] = {}
        for answer in answers:
            instances.update(answer.get("instances", {}))
        found = {name: answers[-1].get(name) for name in ("index_bytes", "total_bytes")}
        return {"instances": instances, **found}

    async def kept(self) -> tuple[str, ...]:
        """The instances, those of no configuration too, of which there is captured output."""
        return await self._pool.run(self._files.kept)

    async def last_lines(self, instance: str, runs: Sequence[int]) -> Mapping[int, list[LastLine]]:
        """The last lines of those of these runs of which they are kept."""
        if not runs:
            return {}
        try:
            return await self._pool.run(self._files.last_lines, instance, runs)
        except DronedError:  # the pool has too much to do: an answer without them is one
            return {}

    # ---- what the daemon sets

    def set_total(self, total_bytes: int | None) -> None:
        """All segments together take so many bytes at most; None is no limit."""
        self._link.set_total(total_bytes)

    def set_own(self, fd: int | None, taken: Callable[[bool], None]) -> None:
        """Have droned's own log captured from the read end `fd`; `taken` is told whether it is."""
        self._link.set_own(OWN_LOG, policy_text(LogPolicy()), fd, taken)

    def _follow(self, commit: Commit) -> None:
        """Send the policies that this commit changes."""
        for change in commit.changes:
            if change.kind == "app" and isinstance(change.after, AppRecord):
                before = change.before
                if not isinstance(before, AppRecord) or before.spec.logs != change.after.spec.logs:
                    self._send_policies(change.after)
            elif change.kind == "instance" and (change.after is None or change.before is None):
                self._instance_changed(change.key)

    def _send_policies(self, app: AppRecord | None) -> None:
        if app is not None:
            text = policy_text(app.spec.logs)
            self._link.set_policies(
                {
                    key: text
                    for key, record in self._registry.records("instance").items()
                    if isinstance(record, InstanceRecord) and record.app == app.name
                }
            )

    def _instance_changed(self, key: str) -> None:
        record = self._registry.instance(key)
        app = None if record is None else self._registry.app(record.app)
        if app is None:
            self._link.forget(key)
        else:
            self._link.set_policies({key: policy_text(app.spec.logs)})

    # ---- commands

    async def _rotate(self, request: Request, caller: Caller) -> Receipt:
        return await self._order(request, caller, "rotate", "rotated")

    async def _clear(self, request: Request, caller: Caller) -> Receipt:
        return await self._order(request, caller, "clear", "bytes")

    async def _order(self, request: Request, caller: Caller, do: str, result: str) -> Receipt:
        keys = await self._keys(request)
        named = "all" if request.all_targets else " ".join(request.targets)
        told = Occurrence(
            type=EventType.COMMAND_ACCEPTED,
            subject=keys[0] if len(keys) == 1 else named,
            text=f"{request.command} {named} by {caller.actor}"
            + (f": {request.reason}" if request.reason else ""),
            data={"command": request.command, "reason": request.reason},
        )
        done = self._registry.commit((), (told,), moment=self._moment(), actor=caller.actor, cause=0)
        answers = await self._link.ask(do, keys)
        total = sum(cast(int, answer.get(result, 0)) for answer in answers)
        durable = await self._when_durable(done.version)
        return Receipt(version=done.version, durable=durable, action=None, result={result: total})

    async def _keys(self, request: Request) -> tuple[str, ...]:
        snapshot = self._registry.snapshot()
        try:
            return log_keys(request.targets, snapshot, self._server_name, all_targets=request.all_targets)
        except NoSuchTarget:
            return log_keys(request.targets, snapshot, self._server_name, kept=await self.kept())

    # ---- what may be wrong

    def _later(self, name: str, delay_s: float, call: Callable[[], None]) -> None:
        """Make this call later, instead of an earlier one of that name."""
        before = self._calls.pop(name, None)
        if before is not None:
            before.cancel()
        self._calls[name] = self._timers.call_later(delay_s, call)

    def _link_changed(self) -> None:
        if self.running:
            self._watch_link()

    def _watch_link(self) -> None:
        """Close the issue of an unreachable `droned-logs`, or open it after a while."""
        if self._link.is_connected:
            before = self._calls.pop("link", None)
            if before is not None:
                before.cancel()
            self._issues.close(IssueKind.LOGS, UNREACHABLE, "it can be reached")
        elif "link" not in self._calls:
            self._later("link", UNREACHABLE_S, self._tell_unreachable)

    def _tell_unreachable(self) -> None:
        del self._calls["link"]
        if not self._link.is_connected:
            text = f"droned-logs cannot be reached since {UNREACHABLE_S:g} s: nothing is captured"
            self._issues.open(IssueKind.LOGS, UNREACHABLE, text, UNREACHABLE_REMEDY)

    def _ask_usage(self) -> None:
        del self._calls["usage"]
        self._later("usage", USAGE_S, self._ask_usage)
        if self._link.is_connected:
            self._run(self._look_for_losses(), "asking droned-logs what was lost")

    async def _look_for_losses(self) -> None:
        try:
            told = cast(Mapping[str, Mapping[str, Any]], (await self.usage())["instances"])
        except DronedError:
            return  # it is being replaced; asked again in a minute
        if self.running:
            self.take_losses(told)

    def take_losses(self, told: Mapping[str, Mapping[str, Any]]) -> None:
        """Open or close the issue by what is told of each instance."""
        before = self._losses.text
        self._losses.take(told, self._clock.mono())
        text = self._losses.text
        if not text:
            why = f"output is written, and nothing was lost for {LOST_S / 60:g} minutes"
            self._issues.close(IssueKind.LOGS, LOST, why)
        elif text != before:
            self._issues.open(IssueKind.LOGS, LOST, text, LOST_REMEDY)

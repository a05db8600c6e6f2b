"""The ways in which the daemon goes: replaced, left, or shut down with all apps in order.

`restart` and `leave` end the daemon alone: the journal is closed, the guardian
is told what is meant, no app is touched. `shut_down` first stops every
instance; what was wanted stays wanted, and is begun again with the next start.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from droned.lifecycle import inputs
from droned.models.events import EventType, Occurrence
from droned.models.ports import Runner
from droned.models.records import InstanceRecord, ServerRecord, State
from droned.models.registry import Commit, Registry
from droned.services.exit_when import exit_code
from droned.services.held import Hold
from droned.services.supervision import SELF, Given, Supervision

HAS_PROCESS = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
ANSWER_FIRST_S = 0.05
"""A daemon that is told to go answers before it does."""


class Ending:
    """Takes the daemon out of service, once."""

    def __init__(
        self,
        *,
        registry: Registry,
        supervision: Supervision,
        send: Callable[[dict[str, Any]], None],
        timers: Any,
        run: Runner,
        when_durable: Callable[[int], Awaitable[bool]],
        guardian_id: Callable[[], str],
        close: Callable[[], Awaitable[None]],
        refuse_commands: Callable[[], None],
        exit_when: str | None,
    ) -> None:
        """`close` stops the services and the reactor; `send` reaches the guardian; `timers` is an ITimers.

        `guardian_id` names the present guardian, as `ServerRecord.stopping_under` has it.
        """
        self._registry = registry
        self._supervision = supervision
        self._send = send
        self._timers = timers
        self._run = run
        self._when_durable = when_durable
        self._guardian_id = guardian_id
        self._close = close
        self._refuse_commands = refuse_commands
        self._exit_when = exit_when
        self._is_stopping_apps = False
        self._is_remembered = False
        self._is_going = False
        self._look_is_due = False
        registry.subscribe(self._changed)

    def restart(self) -> None:
        """Go, and be started again at once; apps run on."""
        self._go({"type": "restart"})

    def leave(self) -> None:
        """Go, and stay away until somebody starts the daemon again; apps run on."""
        self._go({"type": "leave"})

    def replace(self) -> None:
        """Go, because the guardian asked for it and starts another by itself."""
        self._go(None)

    def shut_down(
        self,
        reason: str,
        code: int = 0,
        *,
        actor: str = SELF,
        told: Sequence[Occurrence] = (),
        hold: Hold = Hold.WHILE_WRITABLE,
    ) -> int | None:
        """Stop every instance in order, then go and have the guardian end with `code`.

        The version of that, which begins with what `told` says; None when
        droned is going already. Nothing is signalled before it is on disk,
        unless (`Hold.NO`) somebody else remembers it.
        """
        if self._is_stopping_apps or self._is_going:
            return None
        self._is_stopping_apps = True
        self._refuse_commands()
        stops = Occurrence(
            type=EventType.SERVER_STOPPING, subject="server", text=f"stopping everything: {reason}"
        )
        # With the stops in one version: a daemon killed on the way is followed by one that goes on.
        server = replace(
            self._server(), is_stopping=True, stopping_under=self._guardian_id(), stopping_code=code
        )
        done = self._supervision.commit(
            list(self._shut_downs()),
            actor=actor,
            cause=0,
            changes=(("server", "server", server),),
            occurrences=(*told, stops),
            hold=hold,
        )
        self._run(self._remembered(done.version, hold), "the end of everything")
        return done.version

    async def _remembered(self, version: int, hold: Hold) -> None:
        if hold is not Hold.NO:
            await self._when_durable(version)
        self._is_remembered = True
        self._look()

    def _shut_downs(self) -> Iterable[Given]:
        for record in self._instances():
            app = self._registry.app(record.app)
            if app is not None:
                yield (record, app, inputs.ShutDown())

    def _instances(self) -> Iterable[InstanceRecord]:
        for record in self._registry.records("instance").values():
            assert isinstance(record, InstanceRecord)
            yield record

    def _changed(self, commit: Commit) -> None:
        is_asked = self._is_stopping_apps or self._exit_when is not None
        if commit.changes and is_asked and not self._is_going and not self._look_is_due:
            self._look_is_due = True
            self._timers.call_later(0.0, self._look)

    def _look(self) -> None:
        """End when the last process is gone, or when the condition of `--exit-when` is met."""
        self._look_is_due = False
        if self._is_going:
            return
        if self._is_stopping_apps:
            if self._is_remembered and not any(record.state in HAS_PROCESS for record in self._instances()):
                self._everything_is_down()
        elif self._exit_when is not None:
            code = exit_code(self._exit_when, self._instances())
            if code is not None:
                self.shut_down(f"{self._exit_when} is met", code)

    def _everything_is_down(self) -> None:
        server = self._server()
        change = ("server", "server", replace(server, is_down=True, is_stopping=False, stopping_under=""))
        moment = self._supervision.moment()
        self._registry.commit((change,), (), moment=moment, actor=SELF, cause=server.cause)
        self._go({"type": "exit", "code": server.stopping_code}, at_once=True)

    def _server(self) -> ServerRecord:
        server = self._registry.records("server")["server"]
        assert isinstance(server, ServerRecord)
        return server

    def _go(self, message: dict[str, Any] | None, *, at_once: bool = False) -> None:
        if self._is_going:
            return
        self._is_going = True
        self._refuse_commands()
        self._timers.call_later(0.0 if at_once else ANSWER_FIRST_S, lambda: self._leave(message))

    def _leave(self, message: dict[str, Any] | None) -> None:
        if message is not None:
            self._send(message)
        self._run(self._close(), "closing the daemon")

"""The commands about droned itself: restart, stop, shutdown, reload, debug.

Each is remembered as a command before it takes effect, and its answer is on
its way before the daemon goes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from droned.commands.dispatcher import Caller, Dispatcher, Receipt
from droned.commands.requests import Request
from droned.daemon.ending import Ending
from droned.models.events import EventType, Occurrence
from droned.models.registry import Moment, Registry
from droned.services.configuring import Configuring


class Orders:
    """The functions of the daemon's own commands."""

    def __init__(
        self,
        *,
        registry: Registry,
        ending: Ending,
        configuring: Configuring,
        send: Callable[[dict[str, Any]], None],
        moment: Callable[[], Moment],
        when_durable: Callable[[int], Awaitable[bool]],
        leave_note: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """`leave_note` takes actor and reason of a stop, for those who will ask where the daemon is."""
        self._registry = registry
        self._ending = ending
        self._configuring = configuring
        self._send = send
        self._moment = moment
        self._when_durable = when_durable
        self._leave_note = leave_note

    def register(self, dispatcher: Dispatcher) -> None:
        """Let the commands be called."""
        dispatcher.register("daemon-restart", self._restart)
        dispatcher.register("daemon-stop", self._stop)
        dispatcher.register("daemon-shutdown", self._shut_down)
        dispatcher.register("daemon-reload", self._reload)
        dispatcher.register("daemon-debug", self._debug)

    def _accept(self, request: Request, caller: Caller) -> int:
        """Remember the command; its version."""
        told = (_accepted(request, caller),)
        return self._registry.commit((), told, moment=self._moment(), actor=caller.actor, cause=0).version

    async def _receipt(self, version: int, **result: object) -> Receipt:
        durable = await self._when_durable(version)
        return Receipt(version=version, durable=durable, action=None, result=result)

    async def _restart(self, request: Request, caller: Caller) -> Receipt:
        receipt = await self._receipt(self._accept(request, caller))
        self._ending.restart()
        return receipt

    async def _stop(self, request: Request, caller: Caller) -> Receipt:
        receipt = await self._receipt(self._accept(request, caller))
        await self._leave_note(caller.actor, request.reason)
        self._ending.leave()
        return receipt

    async def _shut_down(self, request: Request, caller: Caller) -> Receipt:
        # One version with what it leads to: whoever has the receipt has the shutdown.
        told = (_accepted(request, caller),)
        version = self._ending.shut_down(f"asked by {caller.actor}", actor=caller.actor, told=told)
        return await self._receipt(self._accept(request, caller) if version is None else version)

    async def _reload(self, request: Request, caller: Caller) -> Receipt:
        cause = self._accept(request, caller)
        done = await self._configuring.reload(caller.actor, cause)
        return await self._receipt(
            done.version,
            configuration=list(self._configuring.sources),
            apps={"added": done.added, "changed": done.changed, "removed": done.removed},
            instances={"started": done.started, "restarted": done.restarted, "stopped": done.stopped},
            settings_changed=done.has_new_settings,
        )

    async def _debug(self, request: Request, caller: Caller) -> Receipt:
        pause_s = cast(float, request.arguments["pause_s"])
        self._send({"type": "watchdog", "pause_s": pause_s})
        return await self._receipt(self._accept(request, caller), pause_s=pause_s)


def _accepted(request: Request, caller: Caller) -> Occurrence:
    return Occurrence(
        type=EventType.COMMAND_ACCEPTED,
        subject="server",
        text=f"{request.command} by {caller.actor}" + (f": {request.reason}" if request.reason else ""),
        data={"command": request.command, "reason": request.reason},
    )

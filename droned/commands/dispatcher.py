"""The dispatcher: the one door through which every changing command goes.

It holds a request against the table (name, role, targets, arguments, whether
the journal can write) and calls the function that a service registered for
it. It decides nothing else: what a command does, and that the same
idempotency key does it once, is the function's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from msgspec import Struct, field
from msgspec.structs import replace

from droned.commands.requests import Request
from droned.commands.table import CommandClass, Role, TakesTargets, check_arguments, find_command
from droned.errors import BadRequest, Degraded, NotAllowed, ShuttingDown

NOTHING: Mapping[str, object] = MappingProxyType({})


class Caller(Struct, frozen=True, kw_only=True):
    """Who asks: as events name them, their user id on this host if they have one, and what they may do."""

    actor: str
    """`root`, `alice (uid 1000)`."""
    uid: int | None
    role: Role


class Receipt(Struct, frozen=True, kw_only=True):
    """The answer to a changing command: accepted as `version`, and whether that is on disk."""

    version: int
    durable: bool
    action: str | None
    """The id of the action that can be waited for; None when there is nothing to wait for."""
    result: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    """Further facts, JSON values by name."""


Function = Callable[[Request, Caller], Awaitable[Receipt]]


class Dispatcher:
    """Checks changing commands and calls their functions."""

    def __init__(self, is_degraded: Callable[[], bool]) -> None:
        """`is_degraded` tells whether the journal cannot write just now."""
        self._is_degraded = is_degraded
        self._functions: dict[str, Function] = {}
        self._closed = False

    def register(self, name: str, function: Function) -> None:
        """Have `function` called for the command `name`.

        Raises ValueError for a command that only reads or has a function
        already, NoSuchTarget for a name that is not in the table.
        """
        if find_command(name).klass is CommandClass.READ:
            raise ValueError(f"cannot register {name}: it only reads")
        if name in self._functions:
            raise ValueError(f"cannot register {name} twice")
        self._functions[name] = function

    def unregister(self, name: str) -> None:
        """Take the function of the command `name` away again; nothing happens when there is none."""
        self._functions.pop(name, None)

    def close(self) -> None:
        """Refuse every further command; those that run go on."""
        self._closed = True

    async def dispatch(self, request: Request, caller: Caller) -> Receipt:
        """Check `request` and do it; its function gets the arguments checked, with their defaults.

        Raises NoSuchTarget for an unknown command, BadRequest for wrong
        targets or arguments, NotAllowed, Degraded, ShuttingDown, and what the
        function raises.
        """
        command = find_command(request.command)
        if self._closed:
            raise ShuttingDown(f"cannot {command.verb}: droned is stopping")
        if not caller.role.includes(command.role):
            raise NotAllowed(
                f"cannot {command.verb} as {caller.actor}: it needs the role {command.role}, "
                f"and yours is {caller.role}"
            )
        if command.klass is CommandClass.READ:
            raise BadRequest(f"cannot take {command.name} as an action: it changes nothing, so GET it")
        arguments = check_arguments(command, request.arguments)
        has_targets = bool(request.targets) or request.all_targets
        if command.takes_targets is TakesTargets.SOME and not has_targets:
            raise BadRequest(f"cannot {command.verb} without a target: name instances or apps, or say all")
        if command.takes_targets is TakesTargets.NONE and has_targets:
            raise BadRequest(f"cannot take targets with {command.name}")
        if request.targets and request.all_targets:
            raise BadRequest("cannot take both all instances and names of some")
        if not command.works_degraded and self._is_degraded():
            raise Degraded(
                f"cannot {command.verb}: the journal cannot write, and this change would be forgotten; "
                "see the issues"
            )
        function = self._functions.get(command.name)
        if function is None:
            raise ShuttingDown(f"cannot {command.verb}: the service that does it does not run")
        return await function(replace(request, arguments=arguments), caller)

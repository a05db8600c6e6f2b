"""The daemon's services as plugins: checked, made, started and stopped one by one.

Built-in services are registered exactly as add-ons are. Each phase of each
service is a border: what it raises there makes that service failed, with an
event and an issue that say so, and every other service runs on. Only a
service that needs a failed one is not started.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from inspect import isawaitable
from typing import Any

from msgspec import Struct
from zope.interface import implementer

from droned.errors import DronedError
from droned.models.ports import IServicePlugin

OnChange = Callable[["Service", str], None]


@implementer(IServicePlugin)
class Plugin:
    """A service plugin made of functions: what most services need, built in or not."""

    def __init__(
        self,
        name: str,
        make: Callable[[Any], Any],
        *,
        needs: tuple[str, ...] = (),
        check: Callable[[Any], list[str]] = lambda settings: [],
    ) -> None:
        self.name = name
        self.needs = needs
        self.make = make
        self.check = check


class Service(Struct):
    """One service as `daemon status` shows it."""

    name: str
    plugin: Any
    state: str = "stopped"
    """stopped, starting, running, stopping, or failed."""
    note: str = ""
    made: Any = None


class Services:
    """Brings services up in the order of their needs, and down in reverse."""

    def __init__(
        self, plugins: Iterable[Any], *, changed: OnChange, log_failure: Callable[[str], None]
    ) -> None:
        """`plugins` are `IServicePlugin`s.

        `changed(service, before)` is told after each change of state;
        `log_failure(what)` is called in the `except` of a phase that failed.
        """
        self._services = {plugin.name: Service(plugin.name, plugin) for plugin in plugins}
        self._changed = changed
        self._log_failure = log_failure

    def __iter__(self) -> Iterable[Service]:
        return iter(self._services.values())

    def __getitem__(self, name: str) -> Service:
        return self._services[name]

    def shown(self) -> list[Mapping[str, str]]:
        """Name, state and note of each, in order."""
        return [
            {"name": each.name, "state": each.state, "note": each.note or getattr(each.made, "note", "")}
            for each in self._services.values()
        ]

    async def start(self, settings: Any, context: Any) -> None:
        """Check, make and start every service; never raises."""
        for service in self._services.values():
            await self._start_one(service, settings, context)

    async def start_failed(self, settings: Any, context: Any) -> None:
        """Check, make and start what has failed once more: what was wrong may be mended; never raises."""
        for service in self._services.values():
            if service.state == "failed":
                await self._start_one(service, settings, context)

    async def restart(self, name: str, settings: Any, context: Any) -> None:
        """Stop this service if it runs, and start it anew; never raises."""
        service = self._services[name]
        if service.state == "running":
            await self._stop_one(service)
            await self._start_one(service, settings, context)

    async def stop(self) -> None:
        """Stop what runs, in reverse order; never raises."""
        for service in reversed(self._services.values()):
            if service.state == "running":
                await self._stop_one(service)

    async def _stop_one(self, service: Service) -> None:
        self._set(service, "stopping")
        if await self._phase(service, "stop", service.made.stopService):
            self._set(service, "stopped")

    async def _start_one(self, service: Service, settings: Any, context: Any) -> None:
        missing = [
            name
            for name in service.plugin.needs
            if name not in self._services or self._services[name].state != "running"
        ]
        if missing:
            self._fail(service, f"it needs {', '.join(missing)}, which does not run")
            return
        self._set(service, "starting")
        problems: list[str] = []

        def check() -> None:
            problems.extend(service.plugin.check(settings))

        async def make() -> None:
            made = service.plugin.make(context)
            service.made = await made if isawaitable(made) else made

        if not await self._phase(service, "check", check):
            return
        if problems:
            self._fail(service, "; ".join(problems))
            return
        is_made = await self._phase(service, "make", make)
        if is_made and await self._phase(service, "start", service.made.startService):
            self._set(service, "running")

    async def _phase(self, service: Service, phase: str, call: Callable[[], object]) -> bool:
        """Do one phase, waiting for what it returns; whether it went well."""
        try:
            result = call()
            if isawaitable(result):
                await _waited(result)
        except DronedError as error:
            self._fail(service, str(error))
        except Exception as error:  # noqa: BLE001  # a named border: a service never takes the others with it
            self._log_failure(f"the service {service.name} ({phase})")
            self._fail(service, f"failed in {phase}: {type(error).__name__}: {error}")
        else:
            return True
        return False

    def _fail(self, service: Service, why: str) -> None:
        service.note = why
        self._set(service, "failed")

    def _set(self, service: Service, state: str) -> None:
        before = service.state
        service.state = state
        if state != "failed":
            service.note = ""
        self._changed(service, before)


async def _waited(result: Awaitable[object]) -> None:
    await result

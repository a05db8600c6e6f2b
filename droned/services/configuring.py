"""Configuration in force: read in a thread, applied as one commit, refused whole.

A bad file never stops what runs: the last good configuration is in the
registry (and so in the journal), it stays, and an event and an issue say what
is wrong with the file. The change's effects wait until it is on disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from droned.errors import ConfigurationError, DronedError
from droned.models.events import EventType, Occurrence
from droned.models.policy import Configuration, DaemonSettings
from droned.models.records import IssueKind, IssueRecord, Record, ServerRecord
from droned.models.registry import Registry
from droned.plan.convergence import to_configuration
from droned.services.operations import changes_of
from droned.services.supervision import Supervision

ISSUE = f"{IssueKind.CONFIGURATION_REFUSED}:server"
SHOWN_PROBLEMS = 20


class Configuring:
    """Loads the configuration and brings the registry to it."""

    def __init__(
        self,
        *,
        registry: Registry,
        supervision: Supervision,
        load: Callable[[], Awaitable[Configuration]],
        settings_changed: Callable[[DaemonSettings], None],
        when_durable: Callable[[int], Awaitable[bool]],
    ) -> None:
        """`load` reads and checks the files (in a thread); it raises ConfigurationError."""
        self._registry = registry
        self._supervision = supervision
        self._load = load
        self._settings_changed = settings_changed
        self._when_durable = when_durable

    async def reload(self, actor: str, cause: int = 0) -> int:
        """Read the files again and apply what changed; the version at which it holds.

        Raises ConfigurationError after the refusal has been recorded: what
        was in force stays.
        """
        try:
            configuration = await self._load()
        except ConfigurationError as error:
            self.refuse(error, actor, cause)
            raise
        return self.apply(configuration, actor, cause)

    def apply(self, configuration: Configuration, actor: str, cause: int = 0) -> int:
        """Bring the registry to `configuration`; the version at which it holds."""
        version = self._registry.version + 1
        moment = self._supervision.moment()
        to = to_configuration(self._registry.snapshot(), configuration, version, moment)
        server = self._server()
        after = replace(server, settings=configuration.settings, sources=configuration.sources)
        issue = self._registry.records("issue").get(ISSUE)
        changes: list[tuple[str, str, Record | None]] = [("server", server.key, after), *changes_of(to)]
        told: list[Occurrence] = []
        if issue is not None:
            changes.append(("issue", ISSUE, None))
            told.append(_told(EventType.ISSUE_CLOSED, "closed: the configuration is valid again"))
        if to.apps or after != server or issue is not None:
            count = len(configuration.apps)
            where = f" from {', '.join(configuration.sources)}" if configuration.sources else ""
            what = f"{len(to.apps)} of {count} apps changed" if server.sources else f"{count} apps"
            told.insert(0, _told(EventType.CONFIGURATION_LOADED, f"configuration{where}: {what}"))
        done = self._supervision.commit(
            to.inputs,
            actor=actor,
            cause=cause,
            changes=changes,
            occurrences=[*told, *to.occurrences],
            holds_effects=True,
            moment=moment,
        )
        self._settings_changed(configuration.settings)
        for app in to.apps:
            self._supervision.replace_outdated(app.name)
        return done.version

    def refuse(self, error: DronedError, actor: str, cause: int = 0) -> None:
        """Record that the configuration was refused, and open its issue."""
        problems = error.problems if isinstance(error, ConfigurationError) else ()
        text = str(error)
        moment = self._supervision.moment()
        shown = "\n".join(problems[:SHOWN_PROBLEMS])
        more = f"\n… and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        present = self._registry.records("issue").get(ISSUE)
        issue = IssueRecord(
            key=ISSUE,
            kind=IssueKind.CONFIGURATION_REFUSED,
            subject="server",
            text=f"{text}\n{shown}{more}".strip(),
            remedy="correct the file, then `dronectl daemon reload`; the last good one stays in force",
            opened_at=present.opened_at if isinstance(present, IssueRecord) else moment.wall,
        )
        facts: dict[str, Any] = {"problems": list(problems[:SHOWN_PROBLEMS])}
        refused = Occurrence(type=EventType.CONFIGURATION_REFUSED, subject="server", text=text, data=facts)
        opened = () if present is not None else (_told(EventType.ISSUE_OPENED, text),)
        self._registry.commit(
            (("issue", ISSUE, issue),), (refused, *opened), moment=moment, actor=actor, cause=cause
        )

    def _server(self) -> ServerRecord:
        record = self._registry.records("server")["server"]
        assert isinstance(record, ServerRecord)
        return record


def _told(kind: EventType, text: str) -> Occurrence:
    return Occurrence(type=kind, subject="server", text=text)

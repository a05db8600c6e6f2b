"""Configuration in force: read in a thread, applied as one commit, refused whole.

A bad file never stops what runs: the last good configuration is in the
registry (and so in the journal), it stays, and an event and an issue say what
is wrong with the file. The change's effects wait until it is on disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from droned.errors import ConfigurationError
from droned.lifecycle.inputs import Input, Remove
from droned.models.events import EventType, Occurrence
from droned.models.policy import Configuration, DaemonSettings
from droned.models.records import InstanceRecord, IssueKind, ServerRecord, Wanted
from droned.models.registry import Registry
from droned.plan.convergence import Convergence, is_outdated, to_configuration
from droned.services.held import Hold
from droned.services.issue_book import IssueBook
from droned.services.operations import changes_of
from droned.services.supervision import Supervision

SUBJECT = "server"
REMEDY = "correct the file, then `dronectl daemon reload`; the last good one stays in force"


class Applied(Struct, frozen=True, kw_only=True):
    """What putting a configuration in force came to."""

    version: int
    """At which it holds."""
    added: tuple[str, ...]
    """Apps, by name; so the next two."""
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    started: tuple[str, ...]
    """Instances, by key, that come up for the first time or once more; so the next two."""
    restarted: tuple[str, ...]
    """They run what is outdated now, and are replaced one after the other."""
    stopped: tuple[str, ...]
    has_new_settings: bool
    """Whether something under `droned:` changed."""


class Configuring:
    """Loads the configuration and brings the registry to it."""

    def __init__(
        self,
        *,
        registry: Registry,
        supervision: Supervision,
        issues: IssueBook,
        load: Callable[[], Awaitable[Configuration]],
        settings_changed: Callable[[DaemonSettings], None],
    ) -> None:
        """`load` reads and checks the files (in a thread); it raises ConfigurationError."""
        self._registry = registry
        self._supervision = supervision
        self._issues = issues
        self._load = load
        self._settings_changed = settings_changed

    async def reload(self, actor: str, cause: int = 0) -> Applied:
        """Read the files again and apply what changed; what that was.

        Raises ConfigurationError after the refusal has been recorded: what
        was in force stays.
        """
        try:
            configuration = await self._load()
        except ConfigurationError as error:
            self.refuse(error, actor, cause)
            raise
        return self.apply(configuration, actor, cause)

    def apply(self, configuration: Configuration, actor: str, cause: int = 0) -> Applied:
        """Bring the registry to `configuration`; what that changed."""
        version = self._registry.version + 1
        moment = self._supervision.moment()
        to = to_configuration(self._registry.snapshot(), configuration, version, moment)
        server = self._server()
        after = replace(server, settings=configuration.settings, sources=configuration.sources)
        closed, told = self._issues.closed(IssueKind.CONFIGURATION_REFUSED, SUBJECT, "it is valid again")
        changes = [("server", server.key, after), *changes_of(to), *closed]
        if to.apps or to.gone or after != server or closed:
            count = len(configuration.apps)
            where = f" from {', '.join(configuration.sources)}" if configuration.sources else ""
            what = f"{count} app{'' if count == 1 else 's'}" + (
                f", {_difference(to)}" if server.sources else ""
            )
            text = f"configuration{where}: {what}"
            told.insert(0, Occurrence(type=EventType.CONFIGURATION_LOADED, subject=SUBJECT, text=text))
        done = self._supervision.commit(
            to.inputs,
            actor=actor,
            cause=cause,
            changes=changes,
            occurrences=[*told, *to.occurrences],
            hold=Hold.ALWAYS,
            moment=moment,
        )
        applied = Applied(
            version=done.version,
            added=to.added,
            changed=to.changed,
            removed=to.removed,
            started=tuple(record.key for record, _, given in to.inputs if self._comes_up(record, given)),
            restarted=tuple(self._outdated(to.changed, done.version)),
            stopped=tuple(record.key for record, _, given in to.inputs if isinstance(given, Remove)),
            has_new_settings=server.settings != configuration.settings,
        )
        self._settings_changed(configuration.settings)
        for app in to.apps:
            self._supervision.replace_outdated(app.name)
        return applied

    def _comes_up(self, record: InstanceRecord, given: Input) -> bool:
        after = self._registry.instance(record.key)
        if isinstance(given, Remove) or after is None:
            return False
        return after.wanted is Wanted.UP and after.enabled

    def _outdated(self, names: tuple[str, ...], version: int) -> Iterator[str]:
        """The instances of these apps that this version made run something outdated."""
        for record in self._registry.records("instance").values():
            assert isinstance(record, InstanceRecord)
            app = self._registry.app(record.app) if record.app in names else None
            if app is None or app.launch_revision != version or record.wanted is Wanted.DOWN:
                continue
            if is_outdated(record, app):
                yield record.key

    def refuse(self, error: ConfigurationError, actor: str, cause: int = 0) -> None:
        """Record that the configuration was refused, and open its issue."""
        text = error.whole
        changes, opened = self._issues.opened(IssueKind.CONFIGURATION_REFUSED, SUBJECT, text, REMEDY)
        refused = Occurrence(
            type=EventType.CONFIGURATION_REFUSED,
            subject=SUBJECT,
            text=str(error),
            data={"problems": list(error.problems[: ConfigurationError.SHOWN])},
        )
        moment = self._supervision.moment()
        self._registry.commit(changes, (refused, *opened), moment=moment, actor=actor, cause=cause)

    @property
    def sources(self) -> tuple[str, ...]:
        """The files of the configuration in force."""
        return self._server().sources

    def _server(self) -> ServerRecord:
        record = self._registry.records("server")["server"]
        assert isinstance(record, ServerRecord)
        return record


def _difference(to: Convergence) -> str:
    """`1 added, 2 changed`; that something else than apps changed when there is none of these."""
    counts = ((to.added, "added"), (to.changed, "changed"), (to.removed, "removed"))
    return ", ".join(f"{len(names)} {what}" for names, what in counts if names) or "none changed"

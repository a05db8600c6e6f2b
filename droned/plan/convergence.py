"""From a configuration to changes: which apps and instances come, go, change, and who is next.

Pure. Only what changed is touched: an app whose spec is the same keeps its
revision and its instances are not given anything. A change of what is
executed needs new processes; they are replaced one at a time an app, the next
only when the one before runs (`next_replacement`), so that a bad change stops
at its first victim. All other changes hold from the next decision on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from droned.errors import BadRequest
from droned.lifecycle.inputs import Begin, Input, Rejoin, Remove, Replace
from droned.models.events import EventType, Occurrence
from droned.models.policy import AppSpec, Configuration, needs_restart
from droned.models.records import AppRecord, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment, Snapshot

COMING_UP = frozenset({State.STARTING, State.STOPPING, State.BACKOFF, State.WAITING, State.FAILED})


class Convergence(Struct, frozen=True, kw_only=True):
    """What brings the registry to a configuration."""

    apps: tuple[AppRecord, ...]
    """Apps to put in place; one that left is marked, and goes with its last instance."""
    gone: tuple[str, ...] = ()
    """Names of apps to drop at once: they left, and have no instance to go with."""
    inputs: tuple[tuple[InstanceRecord, AppRecord, Input], ...]
    """Instances with what they are given; new ones are not in the registry yet."""
    occurrences: tuple[Occurrence, ...]
    added: tuple[str, ...] = ()
    """Names of apps that are new."""
    changed: tuple[str, ...] = ()
    """Names of apps of which something changed that is more than its place in the file."""
    removed: tuple[str, ...] = ()
    """Names of apps that left."""


def labels_of(spec: AppSpec, scaled_to: int | None) -> tuple[str, ...]:
    """The labels that an app has, scaled or as configured."""
    return spec.labels if scaled_to is None else tuple(str(number) for number in range(scaled_to))


def is_counted(spec: AppSpec) -> bool:
    """Whether the labels are a plain count (0, 1, …), so that the app can be scaled."""
    return spec.labels == tuple(str(number) for number in range(len(spec.labels)))


def is_outdated(record: InstanceRecord, app: AppRecord) -> bool:
    """Whether its process runs something older than what is configured."""
    return (
        record.state in (State.STARTING, State.RUNNING, State.STOPPING)
        and record.revision is not None
        and record.revision < app.launch_revision
    )


def to_configuration(
    snapshot: Snapshot, configuration: Configuration, version: int, moment: Moment
) -> Convergence:
    """What must change for `configuration` to hold; `version` is the one that the change will have."""
    apps: list[AppRecord] = []
    inputs: list[tuple[InstanceRecord, AppRecord, Input]] = []
    told: list[Occurrence] = []
    added: list[str] = []
    changed: list[str] = []
    removed: list[str] = []
    gone: list[str] = []
    by_app = _instances_by_app(snapshot)
    for name, spec in configuration.apps.items():
        before = snapshot.apps.get(name)
        if before is not None and before.spec == spec and not before.is_removed:
            continue
        app = _app_after(before, spec, version)
        apps.append(app)
        if app.revision == version:
            is_new = before is None or before.is_removed
            (added if is_new else changed).append(name)
            told.append(_told(app, "added" if is_new else "changed"))
        inputs += _instance_inputs(app, by_app.get(name, ()), moment)
    for name, before in snapshot.apps.items():
        if name in configuration.apps:
            continue
        app = replace(before, is_removed=True)
        if not before.is_removed:
            removed.append(name)
            told.append(_told(app, "removed"))
        if name not in by_app:
            gone.append(name)
        elif not before.is_removed:
            apps.append(app)
            inputs += ((record, app, Remove()) for record in by_app[name])
    return Convergence(
        apps=tuple(apps),
        gone=tuple(gone),
        inputs=tuple(inputs),
        occurrences=tuple(told),
        added=tuple(added),
        changed=tuple(changed),
        removed=tuple(removed),
    )


def to_scale(snapshot: Snapshot, counts: Mapping[str, int], version: int, moment: Moment) -> Convergence:
    """What must change for these apps to have so many instances.

    Raises BadRequest for an app whose instances have names of their own.
    """
    apps: list[AppRecord] = []
    inputs: list[tuple[InstanceRecord, AppRecord, Input]] = []
    told: list[Occurrence] = []
    by_app = _instances_by_app(snapshot)
    for name, count in counts.items():
        before = snapshot.apps[name]
        if not is_counted(before.spec):
            raise BadRequest(
                f"cannot scale {name}: its instances have names ({', '.join(before.spec.labels)}); "
                "change `instances` in its configuration"
            )
        if len(labels_of(before.spec, before.scaled_to)) == count:
            continue
        app = replace(before, scaled_to=None if count == len(before.spec.labels) else count)
        apps.append(app)
        told.append(_told(app, f"scaled to {count} instances"))
        inputs += _instance_inputs(app, by_app.get(name, ()), moment)
    return Convergence(apps=tuple(apps), inputs=tuple(inputs), occurrences=tuple(told))


def next_replacement(app: AppRecord, records: Iterable[InstanceRecord]) -> str | None:
    """The instance to replace now because it is outdated; None while another is not up, or none is."""
    first: str | None = None
    for record in records:
        if record.wanted is Wanted.DOWN:
            continue
        if is_outdated(record, app):
            if record.state is State.STOPPING:
                return None
            first = first or record.key
        elif record.state in COMING_UP:
            return None
    return first


def _app_after(before: AppRecord | None, spec: AppSpec, version: int) -> AppRecord:
    if before is None:
        return AppRecord(name=spec.name, spec=spec, revision=version, launch_revision=version)
    if replace(before.spec, origin=spec.origin) == spec and not before.is_removed:
        return replace(before, spec=spec)
    return replace(
        before,
        spec=spec,
        revision=version,
        launch_revision=version if needs_restart(before.spec, spec) else before.launch_revision,
        scaled_to=before.scaled_to if before.spec.labels == spec.labels else None,
        is_removed=False,
    )


def _instance_inputs(
    app: AppRecord, present: Sequence[InstanceRecord], moment: Moment
) -> list[tuple[InstanceRecord, AppRecord, Input]]:
    """Give new instances their beginning, superfluous ones their end, failed ones another chance."""
    by_label = {record.label: record for record in present}
    labels = labels_of(app.spec, app.scaled_to)
    inputs: list[tuple[InstanceRecord, AppRecord, Input]] = []
    for label in labels:
        record = by_label.get(label)
        if record is None:
            new = InstanceRecord(key=f"{app.name}/{label}", app=app.name, label=label, since=moment.wall)
            inputs.append((new, app, Begin()))
        elif record.then is Then.REMOVE:
            inputs.append((record, app, Rejoin()))
        elif record.state is State.FAILED:
            inputs.append((record, app, Replace()))
    inputs += ((record, app, Remove()) for record in present if record.label not in set(labels))
    return inputs


def _instances_by_app(snapshot: Snapshot) -> Mapping[str, list[InstanceRecord]]:
    by_app: dict[str, list[InstanceRecord]] = {}
    for record in snapshot.instances.values():
        by_app.setdefault(record.app, []).append(record)
    return by_app


def _told(app: AppRecord, what: str) -> Occurrence:
    return Occurrence(
        type=EventType.APP_CHANGED,
        subject=f"app {app.name}",
        text=f"{what} ({app.spec.origin})" if app.spec.origin else what,
        data={"revision": app.revision},
    )

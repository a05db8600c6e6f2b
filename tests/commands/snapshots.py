"""Snapshots of made-up environments, for the tests of this folder."""

from collections.abc import Mapping

from droned.models.policy import AppSpec, Launch
from droned.models.records import AppRecord, InstanceRecord
from droned.models.registry import Snapshot


def environment(apps: Mapping[str, tuple[str, ...]], *gone: str) -> Snapshot:
    """A snapshot with these apps and labels; `gone` are instances whose app is configured no more."""
    records = {
        name: AppRecord(
            name=name, spec=AppSpec(name=name, launch=Launch(command=("true",)), labels=labels), revision=1
        )
        for name, labels in apps.items()
    }
    # Put in the wrong way round: the order must come from the configuration.
    keys = [*gone, *(f"{name}/{label}" for name, labels in apps.items() for label in reversed(labels))]
    instances = {key: InstanceRecord(key=key, app=key.split("/")[0], label=key.split("/")[1]) for key in keys}
    return Snapshot(version=1, instances=instances, apps=records, issues={}, actions={}, servers={})

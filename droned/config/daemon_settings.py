"""The part of a configuration that is about droned itself, made of its groups."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from types import MappingProxyType

from droned.config.daemon_schema import (
    BUDGET_KEYS,
    DAEMON_KEYS,
    JOURNAL_KEYS,
    LOG_SETTINGS_KEYS,
    OWN_LOG_KEYS,
    SINK_KEYS,
)
from droned.config.groups import fields_of, group_of, is_sound, place_of
from droned.config.layers import WRONG, Group
from droned.config.nodes import Problems, near
from droned.config.reading import Setting
from droned.models.daemon_log import OWN_LOG, OwnLogSettings
from droned.models.policy import DaemonSettings, JournalSettings, LogSettings, StartBudget
from droned.models.sinks import Address, Sink, SinkKind

MOST_SINKS = 16
ONLY_OF = {"facility": SinkKind.SYSLOG, "labels": SinkKind.LOKI}
"""Keys that have a meaning for one kind of sink alone."""


def settings_of(droned: Group, apps: Collection[str], problems: Problems) -> DaemonSettings:
    """What the group `droned` says; `apps` are those that there are."""
    told = fields_of(droned, DAEMON_KEYS)
    told["journal"] = JournalSettings(**fields_of(group_of(droned, "journal"), JOURNAL_KEYS))
    told["logs"] = LogSettings(**fields_of(group_of(droned, "logs"), LOG_SETTINGS_KEYS))
    log = fields_of(group_of(droned, "log"), OWN_LOG_KEYS)
    told["log"] = OwnLogSettings(**{**log, "levels": MappingProxyType(log.get("levels", {}))})
    told["forward"] = tuple(_sinks(droned, apps, problems))
    if "start_budget" not in told or told["start_budget"] is not None:
        told["start_budget"] = StartBudget(**fields_of(group_of(droned, "start_budget"), BUDGET_KEYS))
    return DaemonSettings(**told)


def _sinks(droned: Group, apps: Collection[str], problems: Problems) -> Iterator[Sink]:
    """Every sink that can be made; what cannot is noted."""
    forward = droned.values.get("forward")
    if not isinstance(forward, Setting) or forward.value is WRONG:
        return
    groups: tuple[Group, ...] = forward.value
    if len(groups) > MOST_SINKS:
        problems.add(forward.origin, f"cannot forward to {len(groups)} sinks: {MOST_SINKS} at most")
    names: set[str] = set()
    for group in groups:
        sink = _sink(group, apps, problems)
        if sink is not None and sink.name in names:
            problems.add(
                place_of(group, "name"),
                f"cannot have two sinks of the name {sink.name}: give one of them another by its key name",
            )
        elif sink is not None:
            names.add(sink.name)
            yield sink


def _sink(group: Group, apps: Collection[str], problems: Problems) -> Sink | None:
    """One sink; None when something that it needs was noted as missing or wrong."""
    kinds = [kind for kind in SinkKind if kind in group.values]
    if len(kinds) != 1:
        which = "both syslog and loki" if kinds else "neither syslog nor loki"
        problems.add(group.origin, f"cannot use a sink with {which}: it has one of them")
        return None
    (kind,) = kinds
    for name, only in ONLY_OF.items():
        if name in group.values and kind is not only:
            problems.add(place_of(group, name), f"cannot use {name} for a sink of {kind}: it is of {only}")
    if not is_sound(group):
        return None
    told = fields_of(group, SINK_KEYS)
    if "labels" in told:
        told["labels"] = MappingProxyType(told["labels"])
    _check_apps(group, told.get("apps") or (), apps, problems)
    return Sink(**{"name": name_of(kind, told["address"]), "kind": kind, **told})


def _check_apps(group: Group, wanted: Collection[str], apps: Collection[str], problems: Problems) -> None:
    own = OWN_LOG.partition("/")[0]
    for name in wanted:
        if name not in apps and name != own:
            hint = near(name, (*apps, own))
            problems.add(place_of(group, "apps"), f"cannot forward the app {name}: there is none{hint}")


def name_of(kind: SinkKind, address: Address) -> str:
    """The name of a sink that was given none: `syslog-logs.example.com-514`, `syslog-dev-log`."""
    where = address.path if address.scheme == "unix" else f"{address.host}-{address.port}"
    return f"{kind}-{re.sub('[^a-z0-9._]+', '-', where.lower()).strip('-')}"[:64]

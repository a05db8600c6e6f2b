"""From the bytes of all layers to one `Configuration`, or to everything that is wrong with it.

Here the layers meet, apps are laid over `defaults`, values that must agree
with each other are compared, and the records of `models/policy.py` are made.
What only the host can tell (does the user exist, is the folder there?) is not
looked at: it is a failed start, not a wrong configuration.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from droned.config import nodes
from droned.config.daemon_settings import settings_of
from droned.config.groups import NOTHING, NOWHERE, fields_of, group_of, is_sound, place_of
from droned.config.layers import WRONG, Group, merged, read_layer, setting_node
from droned.config.loader import read_yaml
from droned.config.nodes import Origin, Problems
from droned.config.reading import Reading, Setting
from droned.config.schema import (
    INSTANCES_KEY,
    LAUNCH_KEYS,
    LEFTOVERS_KEY,
    LOG_KEYS,
    RESTART_KEYS,
    START_KEYS,
    STOP_KEYS,
)
from droned.errors import ConfigurationError
from droned.models.policy import (
    DEFAULT_STOP,
    AppSpec,
    Configuration,
    Launch,
    LogPolicy,
    RestartPolicy,
    SignalTo,
    StartPolicy,
    StopStep,
)

MOST_STOP_STEPS = 16
MOST_INSTANCES_IN_ALL = 100_000

DEFAULT_RESTART = RestartPolicy()
DEFAULT_START = StartPolicy()
DEFAULT_LOGS = LogPolicy()


def load(
    sources: Sequence[tuple[str, bytes]], sets: Sequence[str], environ: Mapping[str, str]
) -> Configuration:
    """The configuration that `sources` and then `sets` describe, later ones winning key by key.

    `sources` are the files in the order of their layers, each as the name that
    problems show and its bytes; `sets` are the `KEY=VALUE` of the command line;
    `environ` is what `${VAR}` means. Takes about 0.2 ms an app, so it is called
    in a pool. Raises ConfigurationError with all problems at once.
    """
    problems = Problems()
    reading = Reading(environ, problems)
    whole, is_complete = NOTHING, True
    for layer, (source, content) in enumerate(sources):
        if (node := read_yaml(source, content, layer, problems)) is not None:
            is_complete = is_complete and isinstance(node, nodes.Mapping)
            whole = merged(whole, read_layer(node, reading))
    for layer, setting in enumerate(sets, len(sources)):
        whole = merged(whole, read_layer(setting_node(setting, layer, problems), reading))
    # What a file that could not be read may have said is not missed.
    if not is_complete:
        raise _refusal(problems)
    if "version" not in whole.values:
        first = Origin(0, 1, 1, sources[0][0]) if sources else NOWHERE
        problems.add(first, "cannot use a configuration without its version: it begins with version: 1")
    apps = _apps(group_of(whole, "apps"), group_of(whole, "defaults"), problems)
    settings = settings_of(group_of(whole, "droned"), apps, problems)
    if problems:
        raise _refusal(problems)
    return Configuration(apps=apps, settings=settings, sources=tuple(source for source, _ in sources))


def _refusal(problems: Problems) -> ConfigurationError:
    lines = problems.lines()
    if len(lines) == 1:
        return ConfigurationError(f"cannot use the configuration: {lines[0]}", lines)
    return ConfigurationError(
        f"cannot use the configuration: {len(lines)} problems, the first is {lines[0]}", lines
    )


def _apps(apps: Group, defaults: Group, problems: Problems) -> Mapping[str, AppSpec]:
    """Every app that can be made; what cannot is noted."""
    found: dict[str, AppSpec] = {}
    instances = 0
    for name, own in apps.values.items():
        if isinstance(own, Group):
            app = Group(origin=own.origin, values=merged(defaults, own).values)
            spec = _app(name, app, problems)
            found[name] = spec
            instances += len(spec.labels)
    if instances > MOST_INSTANCES_IN_ALL:
        problems.add(
            apps.origin, f"cannot run {instances} instances: one droned has {MOST_INSTANCES_IN_ALL} at most"
        )
    # Nobody has to use the defaults for them to be looked at.
    _stop(defaults, problems)
    return MappingProxyType(found)


def _app(name: str, app: Group, problems: Problems) -> AppSpec:
    """One app, laid over the defaults already; of no use to anyone when a problem was noted."""
    if "command" not in app.values:
        problems.add(app.origin, f"cannot run the app {name}: it has no command")
    launch = {"command": (), **fields_of(app, LAUNCH_KEYS)}
    if "env" in launch:
        launch["env"] = MappingProxyType(launch["env"])
    if "limits" in launch:
        launch["limits"] = tuple(limit for _, limit in sorted(launch["limits"].items()))
    return AppSpec(
        name=name,
        launch=Launch(**launch),
        restart=_restart(group_of(app, "restart"), problems),
        start=_start(group_of(app, "start")),
        stop=_stop(app, problems),
        logs=_logs(group_of(app, "logs")),
        origin=str(app.origin),
        **fields_of(app, (INSTANCES_KEY, LEFTOVERS_KEY)),
    )


def _restart(group: Group, problems: Problems) -> RestartPolicy:
    if not group.values:
        return DEFAULT_RESTART
    policy = RestartPolicy(**fields_of(group, RESTART_KEYS))
    if is_sound(group) and policy.delay_s > policy.max_delay_s:
        problems.add(
            place_of(group, "max_delay", "delay"),
            f"cannot use a restart.delay of {policy.delay_s:g}s with a max_delay of {policy.max_delay_s:g}s:"
            " the longest delay is not below the first one",
        )
    if both := set(policy.success_exit) & set(policy.permanent_exit):
        problems.add(
            place_of(group, "permanent_exit", "success_exit"),
            f"cannot have exit code {min(both)} in success_exit and in permanent_exit",
        )
    return policy


def _start(group: Group) -> StartPolicy:
    return StartPolicy(**fields_of(group, START_KEYS)) if group.values else DEFAULT_START


def _logs(group: Group) -> LogPolicy:
    return LogPolicy(**fields_of(group, LOG_KEYS)) if group.values else DEFAULT_LOGS


def _stop(app: Group, problems: Problems) -> tuple[StopStep, ...]:
    """The steps of a stop, the default ones when none are configured."""
    stop = app.values.get("stop")
    if not isinstance(stop, Setting) or stop.value is WRONG:
        return DEFAULT_STOP
    groups: tuple[Group, ...] = stop.value
    steps = [_step(group, is_last=group is groups[-1], problems=problems) for group in groups]
    if len(steps) > MOST_STOP_STEPS:
        problems.add(stop.origin, f"cannot use {len(steps)} steps for stop: it has {MOST_STOP_STEPS} at most")
    made = tuple(step for step in steps if step is not None)
    if len(made) < len(steps):
        return DEFAULT_STOP
    if not made or (made[-1].signal, made[-1].to) != (signal.SIGKILL, SignalTo.TREE):
        # Whatever an app does with the signals before it, a stop comes to its end.
        problems.add(
            groups[-1].origin if groups else stop.origin,
            "cannot end a stop with anything but {signal: KILL, to: tree}",
        )
    return made


def _step(group: Group, *, is_last: bool, problems: Problems) -> StopStep | None:
    """One step; None when something that it needs was noted as missing or wrong."""
    missing = [key.name for key in STOP_KEYS if key.is_required and key.name not in group.values]
    if is_last and "for" in group.values:
        problems.add(
            place_of(group, "for"), "cannot use for in the last step of stop: nothing comes after it"
        )
    if not is_last and "for" not in group.values:
        missing.append("for")
    if missing:
        problems.add(group.origin, f"cannot use a step of stop without {' and '.join(missing)}")
    if missing or not is_sound(group):
        return None
    return StopStep(**{"for_s": None, **fields_of(group, STOP_KEYS)})

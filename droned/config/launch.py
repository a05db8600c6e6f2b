"""What the guardian is told to start: one instance's launch as the mapping that travels to it.

An app's environment is built from nothing: the few variables of droned's own
that make a shell usable, then what is configured, then who the instance is.
What could change how a program of ours or of the user loads its code (`LD_*`,
`PYTHON*`, `BASH_ENV`, `IFS`) is therefore there only when the configuration
says so. HOME, USER, LOGNAME and SHELL are the user's, who is looked up in the
child, so the guardian adds them.
"""

from __future__ import annotations

from collections.abc import Mapping

from droned.models.policy import AppSpec
from droned.models.variables import expand_launch, instance_values

PASSED_ON = (
    *("PATH", "LANG", "TZ", "LC_ALL", "LC_CTYPE", "LC_NUMERIC", "LC_TIME", "LC_COLLATE", "LC_MONETARY"),
    *("LC_MESSAGES", "LC_PAPER", "LC_NAME", "LC_ADDRESS", "LC_TELEPHONE", "LC_MEASUREMENT"),
    "LC_IDENTIFICATION",
)
"""All of our own variables that an app gets: where programs are, language, time zone."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

UNLIMITED = -1
"""RLIM_INFINITY as the guardian's packets have it."""


def launch_order(
    spec: AppSpec, label: str, server_name: str, base_env: Mapping[str, str]
) -> dict[str, object]:
    """The guardian's `launch` of one instance, without `stdout` and `stderr`, which the caller adds.

    `base_env` is droned's own environment. Names and numbers of user and groups
    stay as they are configured. Takes some 20 µs.
    """
    launch = expand_launch(spec.launch, app=spec.name, label=label, server=server_name)
    env = {name: base_env[name] for name in PASSED_ON if name in base_env}
    env.setdefault("PATH", DEFAULT_PATH)
    env.update(launch.env)
    env.update(instance_values(spec.name, label, server_name))
    return {
        "argv": list(launch.command),
        "env": env,
        "directory": launch.directory,
        "user": launch.user,
        "group": launch.group,
        "groups": None if launch.groups is None else list(launch.groups),
        "umask": launch.umask,
        "limits": {limit.name: [_bound(limit.soft), _bound(limit.hard)] for limit in launch.limits},
        "nice": launch.nice,
        "oom_score_adj": launch.oom_score_adj,
        "no_new_privs": launch.no_new_privs,
    }


def _bound(value: int | None) -> int:
    return UNLIMITED if value is None else value

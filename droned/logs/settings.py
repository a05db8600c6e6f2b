"""What we were told about instances and the host, kept for the next `droned-logs`.

Else it would treat what lies there by the default until somebody speaks to it,
and delete what was to be kept.
"""

import json
import os
from collections.abc import Iterable

from droned.logs import log
from droned.logs.format import SETTINGS
from droned.logs.policy import Policy, PolicyError, policy_of
from droned.logs.streams import FILE_MODE, Instance

Settings = tuple[int | None, dict[str, Policy]]
"""The cap in bytes, and the policies of instances."""


def save(folder: str, total_bytes: int | None, instances: Iterable[Instance]) -> None:
    """Write them down. Raises OSError."""
    by_text: dict[str, list[str]] = {}
    for instance in instances:
        if instance.streams:
            by_text.setdefault(instance.streams[0].policy.text, []).append(instance.name)
    policies = [[json.loads(text), names] for text, names in by_text.items()]
    content = json.dumps({"total_bytes": total_bytes, "policies": policies}).encode("ascii")
    path = f"{folder}/{SETTINGS}"
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        if os.write(fd, content) != len(content):
            return
    finally:
        os.close(fd)
    os.replace(f"{path}.new", path)


def load(folder: str) -> Settings:
    """What was written down; nothing where that cannot be read."""
    try:
        with open(f"{folder}/{SETTINGS}", "rb", buffering=0) as file:
            told = json.loads(file.readall())
        total: int | None = told["total_bytes"]
        if total is not None and type(total) is not int:
            raise ValueError("the cap is no number")
        policies: dict[str, Policy] = {}
        for values, names in told["policies"]:
            policies |= dict.fromkeys(names, policy_of(values))
    except FileNotFoundError:
        return None, {}
    except (OSError, ValueError, KeyError, TypeError, PolicyError) as error:
        log.say(f"cannot read {folder}/{SETTINGS}: {error}")
        return None, {}
    return total, policies

"""What is asked of a group of settings once its layers are one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from droned.config.key import Key
from droned.config.layers import WRONG, Group
from droned.config.nodes import Origin
from droned.config.reading import Setting

NOWHERE = Origin(0, 0, 0, "configuration")
NOTHING = Group(origin=NOWHERE, values={})


def group_of(parent: Group, name: str) -> Group:
    """The group of that name, an empty one when there is none."""
    found = parent.values.get(name)
    return found if isinstance(found, Group) else NOTHING


def fields_of(group: Group, keys: Iterable[Key]) -> dict[str, Any]:
    """What the group says of these keys, by the name of the field that takes it."""
    found: dict[str, Any] = {}
    for key in keys:
        item = group.values.get(key.name)
        if isinstance(item, Setting):
            if item.value is not WRONG:
                found[key.field] = item.value
        elif isinstance(item, Group):
            found[key.field] = {
                name: setting.value for name, setting in item.values.items() if isinstance(setting, Setting)
            }
    return found


def is_sound(group: Group) -> bool:
    """Whether all that stands in the group could be used."""
    return not any(isinstance(item, Setting) and item.value is WRONG for item in group.values.values())


def place_of(group: Group, *names: str) -> Origin:
    """Where the first of `names` stands that is configured, else where the group does."""
    for name in names:
        if (item := group.values.get(name)) is not None:
            return item.origin
    return group.origin

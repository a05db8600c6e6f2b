"""One layer of a configuration read by the table of keys, and layers laid over each other.

What is read is a tree of groups: a `Group` maps names to settings and to
further groups. Layers merge before anything is built from them: a later layer
wins key by key, whole lists and single values at a time, and each setting
keeps the place that it came from. The same merging lays an app over `defaults`.
"""

from __future__ import annotations

import re

from msgspec import Struct

from droned.config import values
from droned.config.key import Key
from droned.config.loader import read_value
from droned.config.nodes import Broken, Mapping, Node, Origin, Problems, Scalar, near, shortened, shown
from droned.config.nodes import Sequence as List
from droned.config.reading import Reading, Setting, wrong_shape
from droned.config.schema import CONFIGURATION, LATER

PATH_PART = re.compile(r'"([^"]*)"|([^".=]+)')


WRONG = object()
"""The value of a setting that was given and cannot be used; why has been noted."""


class Group(Struct, frozen=True, kw_only=True):
    """A mapping of a configuration: its settings and further groups by name, and where it stands."""

    origin: Origin
    values: dict[str, Setting | Group]
    """Filled while it is read, and not changed afterwards."""


def read_layer(node: Node, reading: Reading) -> Group:
    """All that one layer says; what cannot be used is noted and left out."""
    return _group(node, reading, CONFIGURATION, "a configuration")


def merged(below: Group, above: Group) -> Group:
    """Both groups in one: what `above` says wins, key by key."""
    found = dict(below.values)
    for name, value in above.values.items():
        old = found.get(name)
        if isinstance(old, Group) and isinstance(value, Group):
            found[name] = merged(old, value)
        else:
            found[name] = value
    return Group(origin=below.origin, values=found)


def setting_node(setting: str, layer: int, problems: Problems) -> Node:
    """The layer of one `--set`: `a.b=value` as the node of `{a: {b: value}}`.

    A name with a dot in it stands in double quotes: `apps."my.app".instances=2`.
    """
    origin = Origin(layer, 0, 0, f"--set {shortened(setting)}")
    path, equals, text = setting.partition("=")
    names = _path_names(path)
    if not equals or not names:
        problems.add(origin, "cannot read this: it is KEY=VALUE, as in apps.web.instances=2")
        return Broken(origin)
    node = read_value(text, origin, problems)
    for name in reversed(names):
        node = Mapping(origin, ((Scalar(origin, name, True), node),))
    return node


def _path_names(path: str) -> list[str]:
    """The names of a dotted path; empty when it cannot be read."""
    names: list[str] = []
    end = 0
    while match := PATH_PART.match(path, end):
        names.append(match[1] if match[1] is not None else match[2])
        end = match.end()
        if end == len(path):
            return names
        if path[end] != ".":
            break
        end += 1
    return []


def _group(node: Node, reading: Reading, key: Key, path: str) -> Group:
    """A mapping whose keys are those of `key` in the table."""
    found: dict[str, Setting | Group] = {}
    if not isinstance(node, Mapping):
        if not isinstance(node, Broken):
            reading.problems.add(node.origin, f"cannot use {shown(node)} for {path}: {_mapping_of(key)}")
        return Group(origin=node.origin, values=found)
    for written, value in node.pairs:
        inner = key.by_name.get(written.text)
        if inner is None:
            reading.problems.add(written.origin, _unknown(written.text, key, path, reading))
        else:
            found[inner.name] = _value(
                value, reading, inner, f"{path}.{inner.name}" if key.name else inner.name
            )
    return Group(origin=node.origin, values=found)


def _value(node: Node, reading: Reading, key: Key, path: str) -> Setting | Group:
    """What stands for one key of the table; `WRONG` when it cannot be used, which has been noted."""
    if key.kind is not None:
        setting = reading.attempt(key.kind.read, node, path)
        # Variables and limits are groups like any other to those who merge them.
        if setting is not None and isinstance(setting.value, dict):
            return Group(origin=setting.origin, values=setting.value)
        return setting or Setting(WRONG, node.origin)
    if key.is_named:
        return _named_groups(node, reading, key, path)
    if key.is_list:
        steps = reading.attempt(lambda inner, _reading, _path: _groups(inner, reading, key, path), node, path)
        return steps or Setting(WRONG, node.origin)
    if key.word and isinstance(node, Scalar) and node.text == key.word:
        return Setting(None, node.origin)
    return _group(node, reading, key, path)


def _named_groups(node: Node, reading: Reading, key: Key, path: str) -> Group:
    """A mapping of names that the user chose to groups."""
    found: dict[str, Setting | Group] = {}
    if not isinstance(node, Mapping):
        if not isinstance(node, Broken):
            reading.problems.add(
                node.origin, f"cannot use {shown(node)} for {path}: it is a mapping of names; none is {{}}"
            )
        return Group(origin=node.origin, values=found)
    for written, value in node.pairs:
        try:
            name = values.app_name(written.text)
        except ValueError as reason:
            reading.problems.add(
                written.origin, f"cannot use {shown(written.text)} as a name in {path}: {reason}"
            )
            continue
        read = _group(value, reading, key, f"{path}.{name}")
        # An app stands where its name does.
        found[name] = Group(origin=written.origin, values=read.values)
    return Group(origin=node.origin, values=found)


def _groups(node: Node, reading: Reading, key: Key, path: str) -> tuple[Group, ...]:
    """A list of groups."""
    if not isinstance(node, List):
        raise wrong_shape(node, f"it is a list, and each item {_mapping_of(key)}")
    return tuple(_group(item, reading, key, f"{path}[{place}]") for place, item in enumerate(node.items))


def _mapping_of(key: Key) -> str:
    return f"it is a mapping of {', '.join(key.by_name)}"


def _unknown(name: str, key: Key, path: str, reading: Reading) -> str:
    """What to say about a name that the table does not have below `key`."""
    where = f" in {path}" if key.name else ""
    if name in LATER.get(key.name, ()):
        return f"cannot use the key {name}{where}: it comes later, this release does not have it"
    if key.name == "defaults" and name in CONFIGURATION.by_name["apps"].by_name:
        return f"cannot use the key {name}{where}: each app has its own"
    if reading.problems.is_full:
        return f"unknown key {shown(name)}{where}"
    for known in key.keys:
        if not known.is_named and name in known.by_name:
            return f"unknown key {shown(name)}{where} (it stands in {known.name})"
    return f"unknown key {shown(name)}{where}{near(name, key.by_name)}"

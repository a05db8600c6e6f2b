"""The kinds of value that only sinks have."""

from __future__ import annotations

from droned.config import addresses, values
from droned.config.kinds import Kind, named
from droned.config.nodes import Node, Scalar
from droned.config.reading import Reading, Setting
from droned.models.sinks import Address


def _name(node: Node, reading: Reading, path: str) -> str:
    return values.name(reading.text(node))


def _apps_or_all(node: Node, reading: Reading, path: str) -> tuple[str, ...] | None:
    if isinstance(node, Scalar):
        if reading.word(node) != "all":
            raise ValueError("it is all, or a list of apps")
        return None
    names = tuple(dict.fromkeys(reading.each(_name, node, path)))
    if not names:
        raise ValueError("it is all, or a list of apps")
    return names


def _labels(node: Node, reading: Reading, path: str) -> dict[str, Setting]:
    return named(node, reading, path, values.label_name, _label)


def _label(name: str, node: Node, reading: Reading, path: str) -> str:
    return reading.text(node)


def _syslog_address(node: Node, reading: Reading, path: str) -> Address:
    return addresses.syslog(reading.text(node))


def _loki_address(node: Node, reading: Reading, path: str) -> Address:
    return addresses.loki(reading.text(node))


NAME = Kind(name="name", read=_name)
APPS_OR_ALL = Kind(name="all | list of apps", read=_apps_or_all)
LABELS = Kind(name="mapping of names to texts", read=_labels)
SYSLOG_ADDRESS = Kind(name="unix, udp or tcp URL", read=_syslog_address)
LOKI_ADDRESS = Kind(name="http or https URL", read=_loki_address)

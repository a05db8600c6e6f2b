"""What a configuration says about droned's own log, and which service each part of the code belongs to."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field


class OwnLogFormat(enum.StrEnum):
    """How droned writes its own log."""

    TEXT = "text"
    JSON = "json"


class OwnLogTo(enum.StrEnum):
    """Where droned's own log goes: its standard output, or the files beside those of the apps."""

    STDOUT = "stdout"
    FILE = "file"


class Level(enum.StrEnum):
    """How much is told, from all of it to errors alone."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


NO_LEVELS: Mapping[str, Level] = MappingProxyType({})


class OwnLogSettings(Struct, frozen=True, kw_only=True):
    """The `droned.log:` part of a configuration."""

    format: OwnLogFormat = OwnLogFormat.TEXT
    to: OwnLogTo = OwnLogTo.STDOUT
    level: Level = Level.INFO
    levels: Mapping[str, Level] = field(default_factory=lambda: NO_LEVELS)
    """Of single services, by the names in `SERVICES`."""


OWN_LOG = "droned/log"
"""The instance under which droned's own log is captured and read."""

SERVICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "journal": (
            "droned.services.journal",
            "droned.drivers.journal_files",
            "droned.drivers.journal_folder",
        ),
        "supervision": (
            "droned.services.supervision",
            "droned.services.processes",
            "droned.drivers.guardian",
            "droned.drivers.succession",
            "droned.drivers.successor",
        ),
        "api": ("droned.web", "droned.services.api", "droned.drivers.local_socket"),
        "logs": ("droned.services.logs", "droned.drivers.log_link", "droned.drivers.log_reader"),
        "forward": ("droned.services.forward", "droned.services.forwarding"),
        "stall-watch": ("droned.services.stall",),
    }
)
"""The services of `daemon status`, and the namespaces of their loggers: each with all that is below it."""

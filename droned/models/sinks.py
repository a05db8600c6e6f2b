"""Sinks: what a configuration says about where captured lines are forwarded, and how one fails."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct, field

NO_LABELS: Mapping[str, str] = MappingProxyType({})
OWN_LABELS = ("server", "app", "instance", "stream")
"""Labels that every line has from droned and none can set."""


class SinkKind(enum.StrEnum):
    """What is spoken with a sink."""

    SYSLOG = "syslog"
    LOKI = "loki"


class Facility(enum.StrEnum):
    """The facilities of syslog, as its daemons name them, in the order of their numbers."""

    KERN = "kern"
    USER = "user"
    MAIL = "mail"
    DAEMON = "daemon"
    AUTH = "auth"
    SYSLOG = "syslog"
    LPR = "lpr"
    NEWS = "news"
    UUCP = "uucp"
    CRON = "cron"
    AUTHPRIV = "authpriv"
    FTP = "ftp"
    NTP = "ntp"
    AUDIT = "audit"
    ALERT = "alert"
    CLOCK = "clock"
    LOCAL0 = "local0"
    LOCAL1 = "local1"
    LOCAL2 = "local2"
    LOCAL3 = "local3"
    LOCAL4 = "local4"
    LOCAL5 = "local5"
    LOCAL6 = "local6"
    LOCAL7 = "local7"


class Address(Struct, frozen=True, kw_only=True):
    """Where a sink is: `unix`, `udp`, `tcp`, `http` or `https`, and how it is reached there."""

    scheme: str
    host: str = ""
    """A name, or an address without its brackets; empty for `unix`."""
    port: int = 0
    path: str = ""
    """Of the socket, or of the URL with its query."""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.path}"


class Sink(Struct, frozen=True, kw_only=True):
    """One place that lines are forwarded to."""

    name: str
    """Unique; the position that it has come to is kept under it."""
    kind: SinkKind
    address: Address
    facility: Facility = Facility.DAEMON
    """Of syslog."""
    labels: Mapping[str, str] = field(default_factory=lambda: NO_LABELS)
    """Of Loki, beside `OWN_LABELS`."""
    apps: tuple[str, ...] | None = None
    """Whose lines it gets; None is all, droned's own log too."""


class SinkPlace(Struct, frozen=True):
    """How far a sink is: up to a position, or, while it has taken nothing yet, from a moment on."""

    position: int | None
    since: float
    """Wall seconds; of no meaning once there is a position."""


class SinkFailed(Exception):
    """A sink did not take what it was sent; it is sent again, not before `retry_after_s` if that is given."""

    def __init__(self, why: str, retry_after_s: float | None = None) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s

"""The addresses of sinks as they are written: URLs, checked, with everything in them that is left out.

Each function gives the address or raises ValueError with the reason, ready to
stand after `cannot use TEXT for KEY: `.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from droned.models.places import LONGEST_SOCKET_PATH
from droned.models.sinks import Address

SYSLOG_PORT = 514
HTTP_PORTS = {"http": 80, "https": 443}
LONGEST = 2048
SYSLOG = "it is unix:///PATH, udp://HOST:PORT or tcp://HOST:PORT"
LOKI = "it is http://HOST:PORT/loki/api/v1/push, or the same with https"
PRINTABLE = re.compile(r"[!-~]+")
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252})")
IP6 = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?")


def syslog(text: str) -> Address:
    """Where a syslog daemon listens: `unix:///dev/log`, `udp://HOST:PORT`, `tcp://HOST:PORT`."""
    if text.startswith("unix://"):
        path = text.removeprefix("unix://")
        if not path.startswith("/") or path.endswith("/"):
            raise ValueError("the path of its socket begins at the root, as in unix:///dev/log")
        if len(path.encode("utf-8", "surrogateescape")) > LONGEST_SOCKET_PATH:
            raise ValueError(f"a socket's path has {LONGEST_SOCKET_PATH} bytes at most")
        return Address(scheme="unix", path=path)
    url = _split(text, ("udp", "tcp"), SYSLOG)
    if url.path.strip("/") or url.query:
        raise ValueError(f"nothing comes after the port: {SYSLOG}")
    return Address(scheme=url.scheme, host=_host(url, SYSLOG), port=_port(url, SYSLOG_PORT))


def loki(text: str) -> Address:
    """Where Loki takes pushes: `http(s)://HOST:PORT/loki/api/v1/push`."""
    url = _split(text, tuple(HTTP_PORTS), LOKI)
    if not url.path.strip("/"):
        raise ValueError(f"it has no path: {LOKI}")
    path = f"{url.path}?{url.query}" if url.query else url.path
    return Address(
        scheme=url.scheme, host=_host(url, LOKI), port=_port(url, HTTP_PORTS[url.scheme]), path=path
    )


def _split(text: str, schemes: tuple[str, ...], shape: str) -> SplitResult:
    if not PRINTABLE.fullmatch(text) or len(text) > LONGEST:
        raise ValueError(shape)
    try:
        url = urlsplit(text)
    except ValueError:
        raise ValueError(shape) from None
    if url.scheme not in schemes or url.fragment:
        raise ValueError(shape)
    if "@" in url.netloc:
        # It would stand in the journal, in plain text, for as long as that is kept.
        raise ValueError("it cannot have a user or a password in it")
    return url


def _host(url: SplitResult, shape: str) -> str:
    host = url.hostname or ""
    pattern = IP6 if "[" in url.netloc else HOST
    if not pattern.fullmatch(host):
        raise ValueError(shape)
    return host


def _port(url: SplitResult, default: int) -> int:
    try:
        port = default if url.port is None else url.port
    except ValueError:
        port = 0
    if not port:
        raise ValueError("a port is a whole number from 1 to 65535")
    return port

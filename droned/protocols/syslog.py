"""Captured lines as messages of syslog: RFC 5424, and RFC 6587 for a stream.

    <PRI>1 TIME HOST APP - - [droned@32473 instance="web/0" run="3" stream="stdout"] TEXT

The text is sent as it was written, byte for byte, whatever its encoding
(MSG-ANY of the RFC). What an app writes to `stderr` has the severity `err`,
everything else `info`. 32473 is the enterprise number that RFC 5612 keeps for
uses like this one. A message that would be longer than its transport takes is
cut, and says so: `cut="12345"` has the bytes that its text had.
"""

from __future__ import annotations

import re
from functools import lru_cache

from droned.models.sinks import Facility
from droned.protocols.captured import CapturedLine

ERR, INFO = 3, 6
SD_ID = "droned@32473"
MOST_HOST, MOST_APP = 255, 48
MOST_UDP_BYTES = 2048
"""What every receiver should take in a datagram (RFC 5426, 3.2)."""
MOST_UNIX_BYTES = 128 * 1024
"""Of a datagram of a Unix socket: more than a captured line can have, less than the kernel's buffer."""

_FACILITIES = {facility: number for number, facility in enumerate(Facility)}
_NO_PRINT = re.compile(r"[^!-~]+")
_ESCAPED = re.compile(r'["\\\]]')


def message(line: CapturedLine, facility: Facility, host: str, most_bytes: int | None = None) -> bytes:
    """One line as a message, of at most `most_bytes` if that is given."""
    text = line.text_bytes
    priority, middle = _header(facility, host, line.instance, line.run, line.stream)
    more = ' more="true"' if line.has_more else ""
    head = f"{priority}{line.at}{middle}"
    whole = f"{head}{more}] ".encode() + text
    if most_bytes is None or len(whole) <= most_bytes:
        return whole
    start = f'{head}{more} cut="{len(text)}"] '.encode()
    return start + _cut(text, max(0, most_bytes - len(start)))


def framed(sent: bytes) -> bytes:
    """A message for a stream: the count of its bytes before it (RFC 6587, 3.4.1)."""
    return b"%d %s" % (len(sent), sent)


def _cut(text: bytes, most_bytes: int) -> bytes:
    """The first bytes of a text, without half of a character at their end."""
    end = most_bytes
    while end > max(0, most_bytes - 3) and text[end : end + 1] and text[end] & 0xC0 == 0x80:
        end -= 1
    return text[:end]


@lru_cache(maxsize=1024)
def _header(facility: Facility, host: str, instance: str, run: int | None, stream: str) -> tuple[str, str]:
    """What stands before the time, and between it and the text."""
    severity = ERR if stream == "stderr" else INFO
    app = instance.partition("/")[0]
    facts = "".join(
        f' {name}="{_value(str(value))}"'
        for name, value in (("instance", instance), ("run", run), ("stream", stream))
        if value is not None
    )
    names = f"{_name(host, MOST_HOST)} {_name(app, MOST_APP)}"
    return f"<{_FACILITIES[facility] * 8 + severity}>1 ", f" {names} - - [{SD_ID}{facts}"


def _name(text: str, most: int) -> str:
    """A text as a name of the header: printable ASCII without spaces."""
    return _NO_PRINT.sub("_", text)[:most] or "-"


def _value(text: str) -> str:
    """A text as the value of a fact."""
    return _ESCAPED.sub(lambda found: f"\\{found[0]}", text.encode("utf-8", "replace").decode())

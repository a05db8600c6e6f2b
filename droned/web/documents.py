"""JSON documents: values to bytes, moments to RFC 3339.

Whatever the records hold, an answer is valid UTF-8 and valid JSON: a lone
surrogate (a byte of an environment or a path that is no UTF-8) is written as
`?`, a number that is none as null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

JSON = b"application/json"


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"cannot write a {type(value).__name__} as JSON")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def encode(document: object) -> bytes:
    """The document (dicts, sequences, plain values, our structs) as JSON in UTF-8."""
    try:
        return _ENCODER.encode(document)
    except UnicodeEncodeError:
        plain = msgspec.to_builtins(document, enc_hook=_plain)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def rfc3339(at: float | None) -> str | None:
    """Wall seconds as `2026-11-22T12:04:31.118204Z`; None stays None."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

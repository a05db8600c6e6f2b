"""Snapshots: the whole state at one version, so that a replay is short.

A text file of JSON lines: a head, one line a record (`["instance", {…}]`), and
as its last line the SHA-256 of every byte before it, so that no single byte
can change unseen and a file without its end is no snapshot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from droned.errors import JournalDamaged
from droned.journal.codec import decode, encode
from droned.journal.records import State, UnknownContent
from droned.models.records import Record
from droned.models.registry import KIND_OF, TABLES, Snapshot

FORMAT = 1


class SnapshotHead(Struct, frozen=True, kw_only=True):
    """What a snapshot's first line says."""

    version: int
    digest: bytes
    """The digest of the record at `version`."""
    release: str
    """The droned that wrote it."""
    at: float
    """When it was written."""


def encode_snapshot(snapshot: Snapshot, head: SnapshotHead) -> Iterator[bytes]:
    """The file's content in lines: the caller may pause between any two of them."""
    first = {
        "format": FORMAT,
        "version": head.version,
        "digest": head.digest.hex(),
        "release": head.release,
        "at": head.at,
    }
    running = hashlib.sha256()
    for value in (first, *([KIND_OF[type(record)], record] for record in _records(snapshot))):
        line = encode(value) + b"\n"
        running.update(line)
        yield line
    yield _last_line(running.hexdigest())


def decode_snapshot(content: bytes) -> tuple[SnapshotHead, State]:
    """Head and state of a snapshot file.

    Raises JournalDamaged when a byte of it is not as it was written, and
    UnknownContent when another release wrote it in a way that we do not know.
    """
    body, newline, _last = content[:-1].rpartition(b"\n")
    body += newline
    if content[len(body) :] != _last_line(hashlib.sha256(body).hexdigest()):
        raise JournalDamaged("cannot use the snapshot: its checksum does not match")
    lines = body.splitlines()
    # From here on every byte is as it was written: what is odd is another release's.
    head = decode(lines[0]) if lines else None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        form = head.get("format") if isinstance(head, dict) else head
        raise UnknownContent(f"the format {form!r} of a snapshot")
    found = _head(head)
    state = State(version=found.version)
    for line in lines[1:]:
        value = decode(line)
        if not isinstance(value, list) or len(value) != 2 or value[0] not in TABLES:
            raise UnknownContent(f"the line {line[:80]!r} of a snapshot")
        kind, record = value
        state.tables[kind][record["name" if kind == "app" else "key"]] = record
    return found, state


def release_of(content: bytes) -> str:
    """The release that wrote the snapshot, as its head says; `unknown` when it cannot be read."""
    try:
        head = decode(content.partition(b"\n")[0])
    except JournalDamaged:
        return "unknown"
    return str(head.get("release", "unknown")) if isinstance(head, dict) else "unknown"


def _head(head: Mapping[str, Any]) -> SnapshotHead:
    try:
        return SnapshotHead(
            version=int(head["version"]),
            digest=bytes.fromhex(head["digest"]),
            release=str(head["release"]),
            at=float(head["at"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UnknownContent(f"the head of a snapshot without {error}") from error


def _last_line(digest: str) -> bytes:
    return f'{{"sha256":"{digest}"}}\n'.encode("ascii")


def _records(snapshot: Snapshot) -> Iterable[Record]:
    for table in (snapshot.instances, snapshot.apps, snapshot.issues, snapshot.actions, snapshot.servers):
        yield from table.values()

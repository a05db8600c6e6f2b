"""The answer to `status`, kept as bytes so that asking a thousand times a second costs next to nothing.

Rules of this module: a row's bytes are made once for each state of its record
and forgotten when a commit changes it; the whole answer is made once a version;
the order of the rows is that of the configuration and made anew only when
instances come or go or an app changes. `at` is the time of the version, so
that the body of a version never changes. A version is a state's name within one
life of the daemon only: those that a killed daemon did not bring to disk are
given again, to other states. So the validator names the life as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from droned.commands.targets import in_configuration_order
from droned.models.registry import Commit, Registry
from droned.web.documents import JSON, encode, rfc3339
from droned.web.shapes import instance_row

USAGE_VERSION = 0
"""Version of the last sample of CPU and memory."""


class StatusBodies:
    """Rows and bodies of the status of this server, by version."""

    def __init__(self, registry: Registry, server: str, now: float, life: str) -> None:
        """`now` is the wall time that the present version is given, until the next commit.

        `life` is a short ASCII word that no other life of the daemon has.
        """
        self._registry = registry
        self._server = server
        self._life = life.encode("ascii")
        self._at = now
        self._rows: dict[str, bytes] = {}
        self._order: tuple[str, ...] | None = None
        self._response: tuple[int, bytes] | None = None
        self.stop: Callable[[], None] = registry.subscribe(self._forget)
        """Ends the subscription."""

    @property
    def at(self) -> str:
        """When the present version came to be."""
        text = rfc3339(self._at)
        assert text is not None
        return text

    @property
    def etag(self) -> bytes:
        """The validator of the present version's answers, quoted."""
        return b'"%s-%d-%d"' % (self._life, self._registry.version, USAGE_VERSION)

    @property
    def order(self) -> tuple[str, ...]:
        """The keys of all instances as the configuration lists them."""
        if self._order is None:
            self._order = in_configuration_order(self._registry.snapshot())
        return self._order

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """What an answer of the present version says besides its body."""
        return (b"ETag", self.etag), (b"Cache-Control", b"no-cache")

    def response(self) -> bytes:
        """A whole HTTP/1.1 answer with the status of everything: one piece, so that nothing copies it."""
        version = self._registry.version
        if self._response is None or self._response[0] != version:
            body = self.body_of(self.order)
            fields = (*self.headers, (b"Content-Type", JSON), (b"Content-Length", b"%d" % len(body)))
            head = b"".join(b"%s: %s\r\n" % field for field in fields)
            self._response = version, b"".join((b"HTTP/1.1 200 OK\r\n", head, b"\r\n", body))
        return self._response[1]

    def body_of(self, keys: Iterable[str], next_key: str | None = None) -> bytes:
        """The status of these instances only; `next_key` tells behind which one the next page begins."""
        head = encode(
            {
                "server": self._server,
                "version": self._registry.version,
                "usage_version": USAGE_VERSION,
                "at": self.at,
            }
        )
        more = b"" if next_key is None else b',"next":' + encode(next_key)
        return b"".join((head[:-1], more, b',"instances":', self.rows(keys), b"}"))

    def rows(self, keys: Iterable[str]) -> bytes:
        """A JSON list of the rows of these instances; those that are gone are left out."""
        return b"[" + b",".join(row for row in map(self.row, keys) if row) + b"]"

    def row(self, key: str) -> bytes:
        """One instance's row; empty when there is no such instance."""
        row = self._rows.get(key)
        if row is None:
            record = self._registry.instance(key)
            if record is None:
                return b""
            row = self._rows[key] = encode(instance_row(record, self._server))
        return row

    def _forget(self, commit: Commit) -> None:
        self._at = commit.moment.wall
        for change in commit.changes:
            if change.kind == "instance":
                self._rows.pop(change.key, None)
                if change.before is None or change.after is None:
                    self._order = None
            elif change.kind == "app":
                self._order = None

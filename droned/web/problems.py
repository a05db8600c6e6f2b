"""Errors as RFC 9457 problem documents."""

from __future__ import annotations

from droned.errors import DronedError
from droned.web.documents import encode

PROBLEM = b"application/problem+json"
TYPE = "urn:droned:problem:"


def problem(error: DronedError, status: int | None = None) -> tuple[int, bytes]:
    """The HTTP status and the document of `error`; `status` is another than the error's own.

    Facts of the error are further members; they never replace the standard's.
    """
    number = error.http_status if status is None else status
    document: dict[str, object] = {
        "type": TYPE + error.code,
        "title": error.code.replace("-", " ").capitalize(),
        "status": number,
        "detail": str(error),
        "code": error.code,
    }
    return number, encode({**error.facts, **document})


def internal_problem(failure_id: str) -> tuple[int, bytes]:
    """The document for an exception that nobody foresaw; the log tells more under that id."""
    return problem(
        DronedError(f"cannot answer: an error inside droned, in its log as {failure_id}", id=failure_id)
    )

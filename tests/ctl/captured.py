"""Captured output as the API's answers have it, for the stand-in to give."""

import json
from typing import Any

from tests.ctl.stub import Reply

NDJSON = "application/x-ndjson"


def line(
    position: int, text: str, instance: str = "web/0", stream: str = "stdout", **more: Any
) -> dict[str, Any]:
    """A captured line as the API has it."""
    at = f"2026-11-22T12:04:{position % 60:02}.118204Z"
    made = {"position": position, "at": at, "instance": instance, "run": 3, "stream": stream, "line": text}
    return {**made, **more}


def run(position: int, what: str, number: int = 4, **more: Any) -> dict[str, Any]:
    """The beginning or end of a run."""
    at = "2026-11-22T12:04:31.118204Z"
    made = {"event": "run", "position": position, "at": at, "instance": "web/0", "run": number, "what": what}
    return {**made, **more}


def answer(*records: dict[str, Any], cut: bool = False, end: bool = True) -> Reply:
    """An answer of these, which ends as one without follow does unless it is cut."""
    last = [{"event": "end", "position": 999}] if end and not cut else []
    body = "".join(json.dumps(each) + "\n" for each in [*records, *last]).encode()
    # Anywhere, as pieces of the reader's pipe are.
    pieces = [body[:7], body[7:]] if len(body) > 7 else [body]
    return Reply(200, pieces=pieces, content_type=NDJSON, cut=cut)


def broken(*records: dict[str, Any]) -> Reply:
    """An answer of these that breaks off at its end."""
    return answer(*records, cut=True)

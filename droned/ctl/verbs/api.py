"""`dronectl api`: the API as it is, for what no verb does."""

from __future__ import annotations

import re
import sys

import click

from droned.ctl.api import BASE, problem_of
from droned.ctl.connection import Answer
from droned.ctl.options import verb
from droned.ctl.session import Session


@verb("api", formats=("json",))
@click.argument("method", metavar="METHOD")
@click.argument("path", metavar="PATH")
@click.argument("body", metavar="[BODY]", required=False)
def command(session: Session, method: str, path: str, body: str | None) -> int:
    """Send a request to the API and print what it answers, as it comes.

    PATH is whole (/api/v1/instances) or what stands behind /api/v1/. BODY is
    JSON; - reads it from standard input. An answer of 400 and above is an
    error like any other.
    """
    if not re.fullmatch(r"[A-Za-z]{1,16}", method, re.ASCII):
        raise click.UsageError(f"cannot use {method!a} as a method: give GET, POST or the like")
    if not path or not all("!" <= each <= "~" for each in path):
        raise click.UsageError(f"cannot use {path!a} as a path: percent-encode what is not plain ASCII")
    if not path.startswith("/"):
        path = f"{BASE}/{path}"
    sent = sys.stdin.buffer.read() if body == "-" else body.encode() if body is not None else None
    connection = session.waiting().connection
    head, pieces = connection.pieces(method.upper(), path, sent, session.deadline)
    if head.status >= 400:
        raise problem_of(Answer(head.status, head.headers, b"".join(pieces)))
    last = b"\n"
    console = session.console
    for piece in pieces:
        last = piece
        console.piece(piece)
    if console.is_terminal and not last.endswith(b"\n"):
        console.write("\n")
    return 0

"""A changing command as it was asked: from the bytes of a body to one checked `Request`.

The body is a JSON object with `command`, `targets`, `all`, `arguments` and
`reason`; only `command` must be there. It is read strictly, since what is
read here is journalled, streamed and printed: no unknown and no doubled
member, no text that is not UTF-8, no NaN, nothing on two lines.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from droned.commands.arguments import MOST_NAMES, MOST_TEXT, is_plain_text, shown
from droned.commands.nearness import hint, near_names
from droned.commands.targets import MOST_TARGET
from droned.errors import BadRequest

MEMBERS = ("command", "targets", "all", "arguments", "reason")
_KEY = re.compile(r"[\x21-\x7e]{1,128}")


class Request(Struct, frozen=True, kw_only=True):
    """One changing command as asked; names and arguments are not yet held against the table."""

    command: str
    targets: tuple[str, ...]
    all_targets: bool
    arguments: Mapping[str, object]
    reason: str
    idempotency_key: str | None
    digest: str
    """What makes two requests the same: see `request_digest`."""


def request_digest(
    command: str, targets: Sequence[str], all_targets: bool, arguments: Mapping[str, object]
) -> str:
    """SHA-256 of the command, its targets and its arguments as given, hexadecimal."""
    document = {"all": all_targets, "arguments": arguments, "command": command, "targets": list(targets)}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def read_request(body: bytes, idempotency_key: str | None) -> Request:
    """The request in a JSON body; BadRequest says what is wrong with it.

    `idempotency_key` is what the client sent under that name: 1 to 128
    visible ASCII characters.
    """
    document = read_object(body)
    for name in document:
        if name not in MEMBERS:
            near = near_names(name, MEMBERS)
            raise BadRequest(f"cannot take member {shown(name)} of the request{hint(near)}", near=list(near))
    command = document.get("command")
    if not isinstance(command, str) or not is_plain_text(command, 64):
        raise BadRequest(f"cannot take {shown(command)} as the command: it must be a command's name")
    targets = document.get("targets", [])
    if not isinstance(targets, list) or len(targets) > MOST_NAMES:
        raise BadRequest(
            f"cannot take {shown(targets)} as targets: it must be a list of at most {MOST_NAMES}"
        )
    for target in targets:
        if not isinstance(target, str) or not target or not is_plain_text(target, MOST_TARGET):
            raise BadRequest(
                f"cannot take {shown(target)} as a target: 1 to {MOST_TARGET} characters on one line"
            )
    all_targets = document.get("all", False)
    if not isinstance(all_targets, bool):
        raise BadRequest(f"cannot take {shown(all_targets)} as all: it must be true or false")
    arguments = document.get("arguments", {})
    if not isinstance(arguments, dict):
        raise BadRequest(f"cannot take {shown(arguments)} as arguments: it must be an object")
    reason = document.get("reason", "")
    if not isinstance(reason, str) or not is_plain_text(reason):
        raise BadRequest(f"cannot take {shown(reason)} as reason: one line of at most {MOST_TEXT} characters")
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise BadRequest(
            f"cannot take {shown(idempotency_key)} as Idempotency-Key: 1 to 128 visible ASCII characters"
        )
    return Request(
        command=command,
        targets=tuple(targets),
        all_targets=all_targets,
        arguments=arguments,
        reason=reason,
        idempotency_key=idempotency_key,
        digest=request_digest(command, targets, all_targets, arguments),
    )


def read_object(body: bytes) -> dict[str, object]:
    """The one JSON object that a body is; BadRequest for anything else and for a doubled member."""
    try:
        document = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except UnicodeDecodeError as wrong:
        raise BadRequest(f"cannot read the body: byte {wrong.start} is not UTF-8") from None
    except json.JSONDecodeError as wrong:
        raise BadRequest(f"cannot read the body: not JSON at byte {wrong.pos}: {wrong.msg}") from None
    except RecursionError:
        raise BadRequest("cannot read the body: it is nested too deep") from None
    except ValueError:  # a number of thousands of digits
        raise BadRequest("cannot read the body: it holds a number that is too long") from None
    if not isinstance(document, dict):
        raise BadRequest(f"cannot read the body: it must be a JSON object, not {shown(document)}")
    return document


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadRequest(f"cannot read the body: member {shown(name)} stands there twice")
            seen.add(name)
    return members


def _no_constant(name: str) -> object:
    raise BadRequest(f"cannot read the body: {name} is not JSON")

"""The last lines that an instance wrote, asked of the daemon: below an exit, and in the report of a failure.

Only output that droned does not capture (`logs.direct`) is read from its files,
with the rights of whoever runs dronectl. A failure to read is said in one line
and changes nothing else.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Mapping, Sequence
from typing import Any

from droned.ctl.api import Api, quoted
from droned.ctl.log_stream import Record, told_of
from droned.ctl.session import Session
from droned.ctl.text import escaped_line, moment_of
from droned.errors import DronedError, NoSuchTarget

READ_BYTES = 64 * 1024
CLOCK_SLACK_S = 1.0
"""A file last written so long before the run began still counts as written by it: file times are coarse."""
LOOKED_AT = 200
"""Lines at least among which errors are looked for."""
LOOKS = 4
LOOK_PAUSE_S = 0.1
"""The end of a run may be known to the daemon this much before the last of its output is in its file."""


def marked(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines with `stream` and `line`, escaped, behind `err` or `out`."""
    return [
        f"{'err' if each.get('stream') == 'stderr' else 'out'}  {escaped_line(str(each.get('line')))}"
        for each in lines
    ]


def last_output(
    session: Session, api: Api, instance: str, after_run: int, last_run: int, lines: int
) -> list[str]:
    """Up to `lines` last lines, `marked`, of the runs `after_run` + 1 to `last_run`: errors, else output."""
    if last_run <= after_run:
        return []
    fault: DronedError | None = None
    try:
        found = marked(_captured(session, instance, after_run, last_run, lines))
    except DronedError as wrong:
        found, fault = [], wrong
    try:
        found = found or _direct(api, instance, after_run, lines)
    except NoSuchTarget:
        return []  # it is gone
    except DronedError as wrong:
        fault = fault or wrong
    return found or ([f"(its output: {fault})"] if fault is not None else [])


def _captured(session: Session, instance: str, after_run: int, last_run: int, lines: int) -> list[Record]:
    query = [
        ("target", instance),
        ("last", max(LOOKED_AT, 10 * lines)),
        ("run", last_run if last_run == after_run + 1 else None),
    ]
    found: list[Record] = []
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_PAUSE_S)
        told = [each.record for batch in told_of(session, query) for each in batch]
        found = [each for each in told if "line" in each and int(each.get("run") or 0) > after_run]
        if any(each.get("what") == "ended" and int(each.get("run") or 0) > after_run for each in told):
            break
    return ([each for each in found if each.get("stream") == "stderr"] or found)[-lines:]


def _direct(api: Api, instance: str, after_run: int, lines: int) -> list[str]:
    """The same from the files of an app whose output is not captured.

    Where droned does not know any more where a run's output begins, having been
    replaced since, a line says that it may be an earlier run's.
    """
    described: dict[str, Any] = api.get("/instances/" + "/".join(map(quoted, instance.split("/")))).document()
    paths, row = described.get("logs"), described.get("instance")
    if not isinstance(paths, dict) or not isinstance(row, dict) or not _is_direct(described):
        return []
    noted = [each for each in described.get("output_begins") or () if each.get("run", 0) > after_run]
    began = moment_of(str(row.get("started_at"))) if row.get("started_at") else None
    for stream, mark in (("stderr", "err"), ("stdout", "out"), ("output", "out")):
        path = paths.get(stream)
        if not isinstance(path, str):
            continue
        name = "stdout" if stream == "output" else stream  # in one file, both begin at the same place
        begins = [each[name] for each in noted if each.get(name) is not None]
        if noted and not begins:
            continue  # none of these runs wrote a word
        try:
            found = tail_of(path, lines, began, begins[0] if begins else 0)
        except OSError as fault:
            return [f"(its output: cannot read {path}: {fault.strerror})"]
        if found:
            doubt = [] if noted else ["(its output, perhaps of an earlier run as well:)"]
            return [*doubt, *(f"{mark}  {line}" for line in found)]
    return []


def _is_direct(described: Mapping[str, Any]) -> bool:
    """Whether its output goes to files: so it is configured, or so it was when its last runs began."""
    spec = (described.get("app") or {}).get("spec") or {}
    return bool(described.get("output_begins") or (spec.get("logs") or {}).get("direct"))


def tail_of(path: str, lines: int, since: float | None, begin: int = 0) -> list[str]:
    """The last `lines` lines of a regular file, from the offset `begin` on.

    None when it was not written since the moment `since`.
    """
    # Not blocking: the path may have become a pipe or a device, which is then left alone.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or (
            since is not None and status.st_mtime < since - CLOCK_SLACK_S
        ):
            return []
        if begin > status.st_size:
            begin = 0  # somebody cut the file: what is there came later
        start = max(begin, status.st_size - READ_BYTES)
        block = os.pread(descriptor, READ_BYTES, start)
    finally:
        os.close(descriptor)
    found = block.decode("utf-8", "backslashreplace").split("\n")
    if found and not found[-1]:
        found.pop()
    if start > begin and len(found) > 1:
        found = found[1:]  # its beginning is before the block
    return found[-lines:]

"""The last lines that an instance wrote, read from its output files where the reader may.

The daemon names the files; they are read here, with the rights of whoever runs
dronectl. A failure to read is said in one line and changes nothing else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from typing import Any

from droned.ctl.api import Api, quoted
from droned.ctl.text import escaped_line, moment_of
from droned.errors import DronedError

READ_BYTES = 64 * 1024
CLOCK_SLACK_S = 1.0
"""A file last written so long before the run began still counts as written by it: file times are coarse."""


def marked(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines with `stream` and `line`, escaped, behind `err` or `out`."""
    return [
        f"{'err' if each.get('stream') == 'stderr' else 'out'}  {escaped_line(str(each.get('line')))}"
        for each in lines
    ]


def last_output(api: Api, instance: str, after_run: int, lines: int) -> list[str]:
    """Up to `lines` last lines, `err  …` or `out  …`, of the runs after `after_run`: errors, else output.

    None at all when no such run was ordered. Where droned does not know any more
    where its output begins, having been replaced since, a line says that it may be
    an earlier run's.
    """
    try:
        described: dict[str, Any] = api.get(
            "/instances/" + "/".join(map(quoted, instance.split("/")))
        ).document()
    except DronedError:
        return []
    paths, row = described.get("logs"), described.get("instance")
    if not isinstance(paths, dict) or not isinstance(row, dict) or (row.get("run") or 0) <= after_run:
        return []
    noted = [each for each in described.get("output_begins") or () if each.get("run", 0) > after_run]
    began = moment_of(str(row.get("started_at"))) if row.get("started_at") else None
    for stream, mark in (("stderr", "err"), ("stdout", "out")):
        path = paths.get(stream)
        if not isinstance(path, str):
            continue
        begins = [each[stream] for each in noted if each.get(stream) is not None]
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

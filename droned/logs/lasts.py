"""The last lines of runs that failed: a small file each, for who asks why.

Kept are those of the newest runs, and that of the first failure of the series
an instance is in: what came first is often the reason of all that follows. A
series ends with a run that was up for a while, or that ended well.
"""

import json
import os
from collections.abc import Sequence

from droned.logs.format import last_name, last_named
from droned.logs.streams import FILE_MODE, Instance, make_folder

MOST_LINES = 40
MOST_BYTES = 8 * 1024
_MOST_KEPT = 5
_LONG_RUN_S = 30.0


def failed(instance: Instance, run: int, status: int | None, at: float) -> None:
    """A run of `instance` failed: keep its last lines. Raises OSError."""
    kept = _kept(instance.folder)
    is_first = _is_first(instance, run, at, kept)
    if is_first:
        instance.first_failure = run
    lines = merged(
        [
            (stream.name, stream.sign, stream.tail(MOST_BYTES, stream.run_start))
            for stream in instance.streams
        ],
        instance.recent or (),
    )
    text = json.dumps({"run": run, "status": status, "at": at, "is_first": is_first, "lines": lines})
    make_folder(instance.folder)
    path = f"{instance.folder}/{last_name(run)}"
    fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE_MODE)
    try:
        os.write(fd, text.encode("ascii"))
    finally:
        os.close(fd)
    os.replace(f"{path}.new", path)
    for old in surplus([*kept, run], instance.first_failure):
        os.unlink(f"{instance.folder}/{last_name(old)}")


def surplus(runs: Sequence[int], first: int) -> list[int]:
    """The runs whose lines go: all but the newest, and the one that began the series."""
    return [run for run in sorted(set(runs))[:-_MOST_KEPT] if run != first]


def merged(
    tails: Sequence[tuple[str, int, bytes]], recent: Sequence[int], most_bytes: int = MOST_BYTES
) -> list[dict[str, str]]:
    """The last lines of streams, in the order in which their ends were captured.

    `tails` has name, sign and last bytes of each stream; `recent` how many
    bytes were captured of which, by sign, oldest first. What is older than
    that comes first, in the order of `tails`. A line that was cut off at its
    front is left out, unless it is all there is.
    """
    left = {sign: len(tail) for _, sign, tail in tails}
    order: list[tuple[int, int, int]] = []  # sign, begin and end in its tail
    for piece in reversed(recent):
        sign = 1 if piece > 0 else -1
        end = left.get(sign, 0)
        begin = max(end - abs(piece), 0)
        if end > begin:
            order.append((sign, begin, end))
            left[sign] = begin
    order += [(sign, 0, left[sign]) for _, sign, _ in reversed(tails) if left[sign]]
    texts = {sign: (name, tail) for name, sign, tail in tails}
    found: list[tuple[str, bytes]] = []
    partial: dict[int, bytes] = {}
    for sign, begin, end in reversed(order):
        name, tail = texts[sign]
        *whole, rest = (partial.get(sign, b"") + tail[begin:end]).split(b"\n")
        found += [(name, line) for line in whole]
        partial[sign] = rest
    found += [(texts[sign][0], rest) for sign, rest in partial.items() if rest]
    chosen: list[dict[str, str]] = []
    total = 0
    for name, line in reversed(found[-MOST_LINES:]):
        total += len(line) + 1
        if total > most_bytes:
            if not chosen:
                chosen.append({"stream": name, "line": line[-most_bytes:].decode("utf-8", "surrogateescape")})
            break
        chosen.append({"stream": name, "line": line.decode("utf-8", "surrogateescape")})
    return chosen[::-1]


def _kept(folder: str) -> list[int]:
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(run for name in names if (run := last_named(name)) is not None)


def _is_first(instance: Instance, run: int, at: float, kept: Sequence[int]) -> bool:
    """Whether this failure begins a series."""
    if instance.began_run == run and 0.0 < instance.began_at < at - _LONG_RUN_S:
        return True
    if instance.first_failure < 0:  # we were started within a series, or not
        instance.first_failure = next((one for one in kept if _was_first(instance, one)), 0)
        return not kept or kept[-1] != run - 1 or not instance.first_failure
    return instance.first_failure == 0


def _was_first(instance: Instance, run: int) -> bool:
    try:
        with open(f"{instance.folder}/{last_name(run)}", "rb", buffering=0) as file:
            told = json.loads(file.readall())
    except (OSError, ValueError):
        return False
    return type(told) is dict and told.get("is_first") is True

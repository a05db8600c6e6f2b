"""What lies beside the segments of a stream: its lines in other formats, the newest file and older ones.

The formatter writes and renames them; here they are only looked at, and the
oldest deleted where the disk is to have room. So a size is that of the last look.
"""

import os

from droned.logs.formats import DERIVED
from droned.logs.streams import Stream


def numbered(file: str, newest: str) -> int | None:
    """Which older one of the file `newest` this is, 0 for itself; None where it is something else."""
    if file == newest:
        return 0
    begin, _, number = file.rpartition(".")
    return int(number) if begin == newest and number.isdecimal() else None


def size_of(stream: Stream) -> int:
    """How many bytes the copies of a stream have on disk."""
    return sum(status.st_size for _, _, status in _copies(stream))


def oldest_of(stream: Stream) -> tuple[int, str] | None:
    """Size and path of the oldest copy that nothing is written to; None where there is none."""
    older = [(number, path, status) for number, path, status in _copies(stream) if number]
    if not older:
        return None
    _, path, status = max(older, key=lambda copy: (-copy[2].st_mtime, copy[0]))
    return status.st_size, path


def _copies(stream: Stream) -> list[tuple[int, str, os.stat_result]]:
    """Number, path and status of each."""
    newest = [f"{stream.name}.{ending}" for ending in DERIVED.values()]
    found: list[tuple[int, str, os.stat_result]] = []
    try:
        with os.scandir(stream.instance.folder) as entries:
            for entry in entries:
                for name in newest:
                    if (number := numbered(entry.name, name)) is not None:
                        found.append((number, entry.path, entry.stat(follow_symlinks=False)))
    except OSError:
        pass  # no folder yet, or it was renamed as we looked: the next look finds it
    return found

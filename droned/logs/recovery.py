"""What is in the folder when we are started: read from names, and from as few files as can be.

The index tells how far every stream had come; what its last segment has beyond
that was captured by a process that was killed before it could tell, and is
told now. Of compressions that were cut short, the raw segment is what counts.
"""

import os

from droned.logs import log
from droned.logs.format import (
    INDEX,
    MEMBER_HEADER_BYTES,
    SegmentName,
    gzip_member_sizes,
    link_name,
    segment_name,
    segment_named,
)
from droned.logs.streams import Instance, Segment, Stream, is_instance, point
from droned.logs.told import Told

TEMPORARY = ".part"
"""What the file of a compression ends with while it is written."""


class Found:
    """The segments of one stream, ascending; the size of the last one and when it was written."""

    __slots__ = ("last_bytes", "names", "written_at")

    def __init__(self) -> None:
        self.names: list[SegmentName] = []
        self.last_bytes = 0
        self.written_at = 0.0


def folders(folder: str) -> dict[str, dict[str, Found]]:
    """What lies in the folder of each instance, by instance and stream. Leftovers are deleted."""
    found: dict[str, dict[str, Found]] = {}
    with os.scandir(folder) as apps:
        names = [entry.name for entry in apps if entry.name[0] != "." and entry.is_dir(follow_symlinks=False)]
    for app in names:
        for label in _names_in(f"{folder}/{app}"):
            instance = f"{app}/{label}"
            if app == INDEX and label.endswith(".idx"):
                continue
            if not is_instance(instance):
                continue
            try:
                found[instance] = _streams_in(f"{folder}/{instance}", os.listdir(f"{folder}/{instance}"))
            except NotADirectoryError:
                continue  # logs of the time before
            except OSError as error:  # what others have put there keeps nobody from being captured
                log.say(f"cannot look through {folder}/{instance}: {error.strerror}")
    return found


def _streams_in(folder: str, files: list[str]) -> dict[str, Found]:
    streams: dict[str, Found] = {}
    raw: set[tuple[str, int]] = set()
    for file in files:
        name = segment_named(file)
        if name is not None:
            streams.setdefault(name.stream, Found()).names.append(name)
            if not name.is_compressed:
                raw.add((name.stream, name.start))
        elif file.endswith((TEMPORARY, ".new")):
            _delete(f"{folder}/{file}")
    for stream, found in streams.items():
        for name in [name for name in found.names if name.is_compressed and (stream, name.start) in raw]:
            # Renamed when it was whole and safe: only the end of the raw one was missing.
            _delete(f"{folder}/{segment_name(stream, name.start)}")
            found.names.remove(SegmentName(stream, name.start, False))
        found.names.sort()
        last = found.names[-1]
        path = f"{folder}/{segment_name(stream, last.start, is_compressed=last.is_compressed)}"
        status = os.stat(path)
        found.written_at = status.st_mtime
        found.last_bytes = -1 if last.is_compressed else status.st_size
    return streams


def _names_in(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError as error:
        log.say(f"cannot look through {folder}: {error.strerror}")
        return []


def _delete(path: str) -> None:
    try:
        os.unlink(path)
    except OSError as error:
        log.say(f"cannot delete {path}: {error.strerror}")


def _text_bytes(path: str) -> int:
    """How many bytes are in a compressed segment."""
    size = at = 0
    with open(path, "rb", buffering=0) as file:
        while sizes := gzip_member_sizes(file.read(MEMBER_HEADER_BYTES)):
            at += sizes[0]
            size += sizes[1]
            file.seek(at)
    return size


def take_in(stream: Stream, found: Found, now: float) -> list[Segment]:
    """Have `stream`, whose offset is what the index knows, go on where its files end; what is done with."""
    last = found.names[-1]
    if not last.is_compressed:
        end = last.start + found.last_bytes
    elif stream.offset > last.start:
        end = stream.offset  # long done with: the index knows where it ended
    else:
        file = segment_name(stream.name, last.start, is_compressed=True)
        end = last.start + _text_bytes(f"{stream.instance.folder}/{file}")
    is_open = not last.is_compressed and end >= stream.offset
    done = found.names[:-1] if is_open else found.names
    kept: list[Segment] = []
    for number, name in enumerate(done):
        until = found.names[number + 1].start if number + 1 < len(found.names) else end
        kept.append(Segment(stream, name.start, until, -1, 0.0, is_compressed=name.is_compressed))
    stream.kept = kept
    stream.offset = max(end, stream.offset)
    stream.segment = last.start if is_open else stream.offset
    stream.segment_at = now if is_open else 0.0
    stream.room = stream.policy.max_size - (stream.offset - stream.segment)
    if is_open:
        _put_link_right(stream)
    return kept


def _put_link_right(stream: Stream) -> None:
    folder = stream.instance.folder
    try:
        if os.readlink(f"{folder}/{link_name(stream.name)}") == segment_name(stream.name, stream.segment):
            return
    except OSError:
        pass
    try:
        point(folder, stream.name, stream.segment)
    except OSError:
        pass  # the disk may be full: the next segment brings its own


def runs_of(instance: Instance, told: Told) -> None:
    """What the index tells of the last runs of an instance."""
    instance.began_run = told.runs.get(instance.name, -1)
    began, ended = told.began.get(instance.name), told.ended.get(instance.name)
    if ended is not None:
        instance.ended_run = ended["run"]
        _begin_at(instance, ended["offsets"])
    if began is not None:
        instance.began_at = began["at"]
        instance.began_run = began["run"]
        _begin_at(instance, began["offsets"])


def _begin_at(instance: Instance, offsets: dict[str, int]) -> None:
    for stream in instance.streams:
        stream.run_start = offsets.get(stream.name, stream.run_start)

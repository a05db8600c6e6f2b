"""`python -I -S -E …/droned/logs/compressor.py PARENT_PID PATH…`: compresses segments; dies with its parent.

The compressed file is whole and on disk before it takes its name, and has its
name before the raw one goes. A segment that cannot be compressed is left as it is.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from droned.logs import kernel
from droned.logs.format import MEMBER_TEXT_BYTES, gzip_member
from droned.logs.recovery import TEMPORARY

_LEVEL = 2
_KILL = 9
_PRIORITY = 19


def compress(path: str) -> bool:
    """Compress the segment at `path`; False where it is gone or could not be done."""
    target = f"{path}.gz"
    part = f"{target}{TEMPORARY}"
    try:
        with open(path, "rb", buffering=0) as source, open(part, "wb", buffering=0, opener=_opener) as file:
            while piece := source.read(MEMBER_TEXT_BYTES):
                _write(file.fileno(), gzip_member(piece, _LEVEL))
            status = os.fstat(source.fileno())
            os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(file.fileno())
        os.rename(part, target)
        os.unlink(path)
    except OSError:
        for leftover in (part, target) if not os.path.exists(path) else (part,):
            try:
                os.unlink(leftover)
            except OSError:
                pass
        return False
    return True


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags, 0o640)


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]


def main() -> None:
    """The program."""
    kernel.die_with_parent(int(sys.argv[1]), _KILL)
    os.nice(_PRIORITY)
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except (AttributeError, OSError):
        pass
    for path in sys.argv[2:]:
        compress(path)


if __name__ == "__main__":
    main()

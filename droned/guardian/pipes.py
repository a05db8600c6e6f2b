"""The pipe that takes what a program writes to one of its descriptors."""

import errno

from droned.guardian import brief


def kept_end() -> int:
    """The read end of a pipe for a program that is yet to be; it never waits. Raises OSError."""
    reader, writer = brief.pipe()
    brief.close(writer)
    return reader


def program_end(reader: int) -> int:
    """The other end of it, opened for reading too (`make`), from any table of descriptors of this process.

    Raises OSError, also where there is no /proc.
    """
    return brief.open_for_both(b"/proc/self/fd/%d" % reader)


def make() -> tuple[int, int]:
    """The read end, which never waits, and the end for the program, which does. Raises OSError.

    The program's end is opened for reading too, so that the death of whoever
    reads can never be a SIGPIPE for it; where there is no /proc, for writing
    alone. Calls of a few microseconds, for any thread.
    """
    reader, writer = brief.pipe()
    try:
        both = brief.open_for_both(b"/proc/self/fd/%d" % writer)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            brief.close(reader)
            brief.close(writer)
            raise
        brief.have_wait(writer, 0)
        return reader, writer
    brief.close(writer)
    return reader, both

"""The two standard streams: what is data, what is said beside it, and what the terminal can show.

Colour, redrawing and cutting happen on a terminal only, each stream judged by
itself; `NO_COLOR`, `TERM=dumb` and `--no-color` take the colour away.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from droned.ctl.text import escaped, escaped_json

_CODES = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}
_STATES = {
    "running": "green",
    "starting": "yellow",
    "stopping": "yellow",
    "waiting": "yellow",
    "backoff": "yellow",
    "failed": "red",
    "unknown": "red",
    "stopped": "dim",
    "exited": "dim",
}
WIDTH_UNKNOWN = 80


class Console:
    """Where a command writes."""

    def __init__(self, environ: Mapping[str, str], *, colour: bool = True, quiet: bool = False) -> None:
        """`colour` False wins over everything; `quiet` keeps notices and progress away, not warnings."""
        self.out = _tolerant(sys.stdout)
        self.err = _tolerant(sys.stderr)
        self.quiet = quiet
        self.is_terminal = _is_terminal(self.out)
        self.err_is_terminal = _is_terminal(self.err)
        may_colour = colour and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        self.colours = may_colour and self.is_terminal
        self.err_colours = may_colour and self.err_is_terminal
        self.before_saying: Callable[[], None] | None = None
        """Called before a notice or a warning: whoever draws on the terminal takes its drawing away."""
        self.can_redraw = self.err_is_terminal and environ.get("TERM") != "dumb"

    def data(self, lines: Iterable[str]) -> None:
        """Write lines, already escaped, to standard output."""
        self.write("".join(f"{line}\n" for line in lines))

    def write(self, text: str) -> None:
        """Write text, already escaped; OutputFault when that cannot be done."""
        try:
            self.out.write(text)
        except BrokenPipeError:
            raise
        except OSError as fault:
            raise _output_fault(fault) from fault

    def flush(self) -> None:
        """Have everything written; OutputFault when that cannot be done."""
        try:
            self.out.flush()
        except BrokenPipeError:
            raise
        except OSError as fault:
            raise _output_fault(fault) from fault

    def raw(self, body: bytes) -> None:
        """Write bytes of an API answer, unchanged off a terminal and escaped on one, ended by a line end."""
        self.piece(body)
        if not body.endswith(b"\n"):
            self.write("\n")

    def piece(self, body: bytes) -> None:
        """Write a part of such an answer, at once."""
        if self.is_terminal:
            self.write(escaped_json(body.decode("utf-8", "replace")))
            self.flush()
        else:
            self.exact(body)

    def exact(self, body: bytes) -> None:
        """Write bytes as they are, wherever standard output goes, at once."""
        stream = getattr(self.out, "buffer", None)
        if stream is None:
            self.write(escaped_json(body.decode("utf-8", "replace")))
            return
        self.flush()
        try:
            stream.write(body)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as fault:
            raise _output_fault(fault) from fault

    def notice(self, text: str) -> None:
        """Say something beside the data; not with `--quiet`."""
        if not self.quiet:
            self._step_aside()
            self._say(escaped(text))

    def warning(self, text: str) -> None:
        """Say something that must be seen."""
        self._step_aside()
        self._say(self._tag("warning:", "yellow") + " " + escaped(text))

    def error(self, text: str) -> None:
        """Say why the command failed; further lines of `text` stand below, as they are."""
        first, *more = text.split("\n")
        self._say(self._tag("error:", "red") + " " + escaped(first))
        for line in more:
            self._say("  " + escaped(line))

    def width(self) -> int | None:
        """Columns of the terminal on standard output; None where nothing may be cut."""
        return _size(self.out)[0] if self.is_terminal else None

    def err_size(self) -> tuple[int, int]:
        """Columns and lines of the terminal on standard error."""
        return _size(self.err)

    def painted(self, text: str, colour: str, *, err: bool = False) -> str:
        """`text` in `colour` where the stream has colours."""
        if not (self.err_colours if err else self.colours):
            return text
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"

    def state(self, state: str, *, err: bool = False) -> str:
        """The name of an instance's state in that state's colour."""
        colour = _STATES.get(state)
        return self.painted(state, colour, err=err) if colour else state

    def _step_aside(self) -> None:
        if self.before_saying is not None:
            self.before_saying()

    def _tag(self, text: str, colour: str) -> str:
        return self.painted(text, colour, err=True)

    def _say(self, line: str) -> None:
        # Data written so far stands above what is said about it, also where both go to one file.
        self.flush()
        print(line, file=self.err, flush=True)


def _tolerant(stream: TextIO | None) -> TextIO:
    """`stream`, able to write any text: what its encoding lacks is escaped rather than a crash.

    None, which is what Python makes of a descriptor that was closed, is written nowhere.
    """
    if stream is None:
        return io.StringIO()
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
    return stream


def _output_fault(fault: OSError) -> Exception:
    from droned.ctl.failures import OutputFault

    return OutputFault(f"cannot write the output: {fault.strerror}")


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


def _size(stream: TextIO) -> tuple[int, int]:
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return WIDTH_UNKNOWN, 24
    return size.columns or WIDTH_UNKNOWN, size.lines or 24

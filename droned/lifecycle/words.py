"""How ends and delays are said in words, the same in events, pages and on the command line."""

from __future__ import annotations

import errno as errnos
import signal as signals

from droned.models.records import Exit

ERRNO_WORDS = {
    errnos.ENOENT: "does not exist",
    errnos.ENOTDIR: "is not a folder",
    errnos.EACCES: "permission denied",
    errnos.EPERM: "operation not permitted",
    errnos.ENOEXEC: "not in an executable format",
    errnos.E2BIG: "arguments and environment are too long",
    errnos.ENOMEM: "out of memory",
    errnos.EAGAIN: "too many processes",
    errnos.EMFILE: "too many open files",
    errnos.ENFILE: "too many open files on this host",
    errnos.ENOSPC: "no space left on the device",
    errnos.ELOOP: "too many symbolic links",
    errnos.EINVAL: "invalid value",
    errnos.ETXTBSY: "the file is being written to",
    errnos.ETIMEDOUT: "took too long",
}


def signal_name(number: int) -> str:
    """`TERM` for 15; the plain number when it has no name (`RTMIN+3` ranges)."""
    try:
        return signals.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def errno_words(number: int) -> str:
    """An errno in words with its symbol: `does not exist (ENOENT)`."""
    symbol = errnos.errorcode.get(number, str(number))
    words = ERRNO_WORDS.get(number)
    return f"{words} ({symbol})" if words else symbol


def seconds(value: float) -> str:
    """A duration as people write it: `40ms`, `0.4s`, `12s`, `3m20s`, `2h05m`, `3d4h`."""
    if 0.0 < value < 0.0995:
        return f"{max(1, round(value * 1000))}ms"
    if value < 9.95:
        return f"{value:.1f}s".replace(".0s", "s")
    whole = round(value)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes}m{rest:02d}s" if rest else f"{minutes}m"
    if whole < 86400:
        hours, rest = divmod(whole // 60, 60)
        return f"{hours}h{rest:02d}m" if rest else f"{hours}h"
    days, rest = divmod(whole // 3600, 24)
    return f"{days}d{rest}h" if rest else f"{days}d"


def exit_of_status(run: int, status: int | None, at: float) -> Exit:
    """The `Exit` that a raw wait status tells (as POSIX lays it out; None: nobody saw the end)."""
    if status is None:
        return Exit(run=run, at=at, reason="its end could not be seen")
    number = status & 0x7F
    if number:
        core = bool(status & 0x80)
        reason = f"killed by {signal_name(number)}" + (" (core dumped)" if core else "")
        return Exit(run=run, at=at, reason=reason, signal=number, core_dumped=core)
    code = (status >> 8) & 0xFF
    return Exit(run=run, at=at, reason=f"exited {code}", code=code)

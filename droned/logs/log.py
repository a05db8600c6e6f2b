"""What `droned-logs` itself has to say: single lines on standard error, never at the price of waiting."""

import os
import select
import time

_LINE_BYTES = 2048
STDERR = 2


def say(text: str) -> None:
    """Write one line; it is dropped when nobody takes it, because a full pipe must not hold the capture."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = f"{stamp} logs[{os.getpid()}]: {text}".encode("utf-8", "backslashreplace")
    poll = select.poll()
    poll.register(STDERR, select.POLLOUT)
    try:
        if any(events & select.POLLOUT for _, events in poll.poll(0)):
            os.write(STDERR, line.replace(b"\n", b" ")[: _LINE_BYTES - 1] + b"\n")
    except OSError:
        pass

"""Long questions step back: capture, and the programs themselves, want the processors more.

A short question is answered at once, also on a host where everything is busy:
there most of all somebody looks at logs. What has used `_SHORT_S` of processor
time is no short question; it goes on at a low priority. With its own session it
has a share of its own where the kernel groups processes by sessions
(autogroup), and that is lowered too.
"""

import os
import signal

_SHORT_S = 0.25
_PRIORITY = 15


def begin() -> None:
    """Step back once that much processor time is used."""
    try:
        os.setsid()
    except OSError:
        pass  # we lead one already
    signal.signal(signal.SIGPROF, _step_back)
    signal.setitimer(signal.ITIMER_PROF, _SHORT_S)


def _step_back(_number: int, _frame: object) -> None:
    for thread in os.listdir("/proc/self/task"):
        try:
            os.setpriority(os.PRIO_PROCESS, int(thread), _PRIORITY)
        except OSError:
            pass  # it has ended
    try:
        fd = os.open("/proc/self/autogroup", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, b"%d" % _PRIORITY)
        finally:
            os.close(fd)
    except OSError:
        pass  # a kernel without such groups

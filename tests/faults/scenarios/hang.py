"""A daemon that hangs is replaced; one that is only starved is not.

Hanging: SIGSTOP, so that nothing of it runs any more. Starving: programs that
use whole processors, several for each that the machine has.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults import model
from tests.faults.observer import Observer
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.verdict import Verdict

IN_CONTROL_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    steady: int = 50
    stops: int = 3
    hogs: int = 8
    hogged_s: float = 600.0
    slack_s: float = 0.0
    """What a busy machine may add to each limit; the figures are judged without it."""


def hung(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Stop the daemon `size.stops` times: each time another is in control within 10 s."""
    verdict = Verdict("daemon stopped by SIGSTOP")
    with Site(command) as site:
        site.configure((App(name="steady", instances=size.steady),))
        with Observer(site.tag, site.folder / "seen") as observer:
            try:
                site.launch()
                status = site.in_control()
                site.all_up(size.steady)
                longest, limit_s = 0.0, IN_CONTROL_WITHIN_S + size.slack_s
                for _ in range(size.stops):
                    time.sleep(1.0)
                    stopped = int(status["pid"])
                    began = time.monotonic()
                    site.kill(stopped, signal.SIGSTOP)
                    status = site.in_control(other_than=stopped)
                    took = time.monotonic() - began
                    longest = max(longest, took)
                    verdict.expect(took <= limit_s, f"in control only after {took:.1f} s")
                    # Should it still exist, it must not come back to life as a second daemon.
                    site.kill(stopped, signal.SIGCONT)
                    time.sleep(0.5)
                    verdict.expect(not site.is_own(stopped), f"the hung daemon, pid {stopped}, lives on")
                    verdict.expect(site.in_control()["pid"] == status["pid"], "the replacement was replaced")
                verdict.figures["in_control_max_s"] = longest
            except Lost as lost:
                verdict.faults.append(str(lost))
            _undisturbed(observer, size, verdict)
    return verdict


def starved(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Starve the daemon for `size.hogged_s`: it is never replaced."""
    verdict = Verdict(f"{size.hogs} CPU hogs for {size.hogged_s:.0f} s")
    with Site(command) as site:
        site.configure((App(name="steady", instances=size.steady),))
        with Observer(site.tag, site.folder / "seen") as observer:
            hogs: list[subprocess.Popen[bytes]] = []
            try:
                site.launch()
                before = site.in_control()
                site.all_up(size.steady)
                burn = site.child("hog", ("burn", str(int(size.hogged_s) + 60)))
                hogs += [subprocess.Popen(burn) for _ in range(size.hogs)]
                time.sleep(size.hogged_s)
                after = site.in_control()
                for role in ("pid", "guardian_pid"):
                    verdict.expect(
                        before[role] == after[role], f"{role} was {before[role]}, is {after[role]}"
                    )
                verdict.figures["hogged_s"] = size.hogged_s
            except Lost as lost:
                verdict.faults.append(str(lost))
            finally:
                for hog in hogs:
                    hog.kill()
                for hog in hogs:
                    hog.wait()
            _undisturbed(observer, size, verdict)
    return verdict


def _undisturbed(observer: Observer, size: Size, verdict: Verdict) -> None:
    observer.settle()
    names = [f"steady/{label}" for label in range(size.steady)]
    verdict.faults += model.disturbed(observer.history(), names)

"""Thousands of programs end within seconds while the daemon is killed: each end is told as it was.

All programs are started first, without hurry; then each gets the signal that
makes it end, in its own way, and none is started again.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults import model, processes
from tests.faults.api import Refused, Unanswered
from tests.faults.observer import Observer
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.stamps import Stamp
from tests.faults.verdict import Verdict

NO_ZOMBIE_AFTER_S = 2.0
OVER_WITHIN_S = 60.0
"""How long the daemon may take to know of the last end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    exits: int = 5000
    within_s: float = 9.0
    """The time over which the programs are made to end."""
    kills: int = 3
    seed: int = 1
    slack_s: float = 0.0
    """What a busy machine may add to each limit; the figures are judged without it."""


@dataclass(slots=True)
class Ender:
    """Makes every program end, evenly over a time, from a thread of its own; a context manager."""

    site: Site
    pids: Sequence[int]
    within_s: float
    took_s: float = field(default=0.0, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Ender:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._thread is not None
        self._thread.join()

    def _work(self) -> None:
        began = time.monotonic()
        for place, pid in enumerate(self.pids, 1):
            self.site.kill_program(pid, signal.SIGUSR1)
            time.sleep(max(0.0, began + place * self.within_s / len(self.pids) - time.monotonic()))
        self.took_s = time.monotonic() - began


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Start all, end all, kill the daemon meanwhile, and compare every end."""
    verdict = Verdict(f"{size.exits} exits while the daemon is killed {size.kills} times")
    dice = random.Random(size.seed)
    with Site(command) as site:
        app = App(
            name="loop",
            mode=("on-usr1", "any"),
            instances=size.exits,
            options={"restart": {"policy": "never"}},
        )
        site.configure((app,))
        with Observer(site.tag, site.folder / "seen") as observer:
            try:
                site.launch()
                status = site.in_control()
                stamps = _all_started(site, size)
                pids = [stamp.pid for stamp in stamps]
                dice.shuffle(pids)
                with Ender(site, pids, size.within_s) as ender:
                    for _ in range(size.kills):
                        time.sleep(dice.uniform(0.2, 0.6) * size.within_s / size.kills)
                        site.kill(int(status["pid"]))
                        status = site.in_control(other_than=int(status["pid"]))
                verdict.figures["took_s"] = ender.took_s
                verdict.figures["known_after_s"] = _all_known(site)
                own = frozenset((int(status["pid"]), int(status["guardian_pid"])))
                limit_s = NO_ZOMBIE_AFTER_S + size.slack_s
                gone = processes.until(lambda: not processes.zombies_of(own), limit_s, 0.05)
                verdict.expect(gone, f"{len(processes.zombies_of(own))} zombies {limit_s:.0f} s later")
                observer.settle()
                history = observer.history()
                verdict.faults += model.doubled(history)
                truth = {(stamp.name, 1): str(stamp.end) for stamp in stamps}
                verdict.faults += model.misremembered(truth, model.told_by(site.api.events()))
                verdict.expect(len(history.lives) == size.exits, f"{len(history.lives)} programs were seen")
            except (Lost, Refused, Unanswered) as lost:
                verdict.faults.append(str(lost))
                return verdict
            verdict.figures["exits"] = len(truth)
            verdict.figures["kills"] = size.kills
    return verdict


def _all_started(site: Site, size: Size) -> list[Stamp]:
    """The programs' stamps; raises Lost when they do not come."""
    stamps: list[Stamp] = []
    deadline = time.monotonic() + 30.0 + 0.05 * size.exits
    while len(stamps) < size.exits:
        stamps += site.stamps.new()
        if time.monotonic() > deadline:
            raise Lost(f"only {len(stamps)} of {size.exits} programs started: {site.log_end()}")
        time.sleep(0.05)
    return stamps


def _all_known(site: Site) -> float:
    """Seconds until droned shows every instance as ended; raises Lost when it does not."""
    began = time.monotonic()

    def is_known() -> bool:
        try:
            return all(row["pid"] is None for row in site.api.instances().values())
        except Unanswered:
            return False

    if not processes.until(is_known, OVER_WITHIN_S, 0.1):
        left = sum(row["pid"] is not None for row in site.api.instances().values())
        raise Lost(f"{left} instances are shown as running {OVER_WITHIN_S:.0f} s after their end")
    return time.monotonic() - began

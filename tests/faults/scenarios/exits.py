"""Thousands of programs end within seconds while the daemon is killed: each end is told as it was."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults import model, processes
from tests.faults.api import Refused, Unanswered
from tests.faults.observer import Observer
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.stamps import Stamp
from tests.faults.verdict import Verdict

NO_ZOMBIE_AFTER_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    instances: int = 250
    exits: int = 5000
    within_s: float = 10.0
    kills: int = 3
    life_ms: int = 150
    """How long one run lives."""


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Let the programs end and begin until there were enough, and compare every end."""
    verdict = Verdict(f"{size.exits} exits while the daemon is killed {size.kills} times")
    with Site(command) as site:
        app = App(name="loop", mode=("exit", "any", str(size.life_ms)), instances=size.instances)
        site.configure((app,))
        with Observer(site.tag, site.folder / "seen") as observer:
            try:
                began = time.monotonic()
                site.launch()
                status = site.in_control()
                stamps: list[Stamp] = []
                kills = 0
                while len(stamps) < size.exits + size.instances:
                    stamps += site.stamps.new()
                    if kills < size.kills and len(stamps) > size.exits * (kills + 1) // (size.kills + 1):
                        kills += 1
                        site.kill(int(status["pid"]))
                        status = site.in_control(other_than=int(status["pid"]))
                    if time.monotonic() > began + 6 * size.within_s:
                        raise Lost(
                            f"only {len(stamps)} runs after {6 * size.within_s:.0f} s: {site.log_end()}"
                        )
                    time.sleep(0.01)
                took = time.monotonic() - began
                receipt = site.api.order("stop", (), every=True)
                action = site.api.ended(receipt["action"]["id"])
                verdict.expect(action["state"] == "succeeded", f"the stop of all {action['state']}")
                ended = time.monotonic()
                stamps += site.stamps.new()
                _compare(site, size, observer, stamps, verdict)
                time.sleep(max(0.0, ended + NO_ZOMBIE_AFTER_S - time.monotonic()))
                status = site.in_control()
                own = frozenset((int(status["pid"]), int(status["guardian_pid"])))
                zombies = processes.zombies_of(own)
                verdict.expect(not zombies, f"{len(zombies)} zombies 2 s later")
            except (Lost, Refused, Unanswered) as lost:
                verdict.faults.append(str(lost))
                return verdict
            verdict.figures["exits"] = len(stamps)
            verdict.figures["kills"] = kills
            verdict.figures["took_s"] = took
            verdict.expect(took <= size.within_s, f"took {took:.1f} s instead of {size.within_s:.0f}")
    return verdict


def _compare(site: Site, size: Size, observer: Observer, stamps: Sequence[Stamp], verdict: Verdict) -> None:
    observer.settle()
    history = observer.history()
    verdict.faults += model.doubled(history)
    truth = model.truths(stamps, history)
    verdict.figures["ends_compared"] = len(truth)
    verdict.expect(len(truth) >= size.exits, f"only {len(truth)} ends could be told by the harness itself")
    verdict.faults += model.misremembered(truth, site.told_ends())

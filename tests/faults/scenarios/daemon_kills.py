"""kill -9 of the daemon at random moments, while instances crash, commands are given and files are reloaded.

Four kinds of instances: `steady` ones that nobody touches, `loop` ones that
end by themselves all the time, `cmd` ones that the commander orders about, and
`conf` ones whose configuration changes with every reload.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults import model, processes
from tests.faults.api import Refused, Unanswered
from tests.faults.commander import Commander
from tests.faults.observer import Observer
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.verdict import Verdict, percentile

IN_CONTROL_P95_S = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    steady: int = 330
    loop: int = 50
    cmd: int = 100
    conf: int = 20
    kills: int = 50
    longest_peace_s: float = 5.0
    """The longest time between being in control and the next kill."""
    share_at_start: float = 0.1
    """Share of the kills that hit a daemon which is only just starting."""
    loop_ms: int = 700
    seed: int = 1

    @property
    def instances(self) -> int:
        """All of them."""
        return self.steady + self.loop + self.cmd + self.conf


def configure(site: Site, size: Size, generation: int) -> None:
    """Write the configuration; only the app `conf` differs between generations."""
    site.configure(
        (
            App(name="steady", instances=size.steady),
            App(name="loop", mode=("exit", "any", str(size.loop_ms)), instances=size.loop),
            App(name="cmd", instances=size.cmd),
            App(name="conf", mode=("pause", f"generation={generation}"), instances=size.conf),
        )
    )


@dataclass(slots=True)
class Reloader:
    """Changes the configuration every now and then and has it reloaded; a context manager."""

    site: Site
    size: Size
    every_s: float = 2.5
    generation: int = field(default=1, init=False)
    """The last one that was written."""
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Reloader:
        self._thread = threading.Thread(target=self._work)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, with the last generation acknowledged."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while not self._over.wait(self.every_s):
            self.generation += 1
            configure(self.site, self.size, self.generation)
            deadline = time.monotonic() + 30.0
            while time.monotonic() < deadline:
                try:
                    self.site.api.order("daemon-reload", ())
                    break
                except (Unanswered, Refused):
                    time.sleep(0.1)


def _kill_at_random(site: Site, size: Size, verdict: Verdict) -> list[float]:
    """The seconds that each replacement took to be in control."""
    dice = random.Random(size.seed)
    took: list[float] = []
    status = site.in_control()
    while len(took) < size.kills:
        time.sleep(dice.uniform(0.05, size.longest_peace_s))
        killed = int(status["pid"])
        began = time.monotonic()
        if not site.kill(killed):
            verdict.faults.append(f"the daemon, pid {killed}, was gone before it was killed")
        if dice.random() < size.share_at_start:
            time.sleep(dice.uniform(0.0, 0.4))
            starting = [
                pid
                for pid in processes.children_of(int(status["guardian_pid"]))
                if pid != killed and site.is_own(pid) and processes.is_alive(pid)
            ]
            for pid in starting:
                began = time.monotonic()
                site.kill(pid)
                killed = pid
        after = site.in_control(other_than=killed, within_s=30.0)
        took.append(time.monotonic() - began)
        verdict.expect(
            after["guardian_pid"] == status["guardian_pid"],
            f"the guardian was replaced after kill {len(took)}",
        )
        status = after
    return took


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Kill the daemon `size.kills` times and judge by both histories."""
    verdict = Verdict("daemon killed at random")
    with Site(command) as site:
        configure(site, size, 1)
        with Observer(site.tag, site.folder / "seen") as observer:
            try:
                site.launch()
                site.in_control()
                site.all_up(size.instances - size.loop)
                commanded = [f"cmd/{label}" for label in range(size.cmd)]
                with Commander(site.api, commanded, size.seed) as commander, Reloader(site, size) as reloader:
                    took = _kill_at_random(site, size, verdict)
                    reloader.stop()
                    commander.stop()
                site.in_control()
                _settled(site, size)
                judge(site, size, observer, commander, reloader.generation, verdict)
            except Lost as lost:
                verdict.faults.append(str(lost))
                return verdict
            verdict.figures["in_control_p50_s"] = percentile(took, 0.5)
            verdict.figures["in_control_p95_s"] = percentile(took, 0.95)
            verdict.figures["in_control_max_s"] = max(took)
            verdict.figures["kills"] = len(took)
            observer.close()
            verdict.figures["blind_s"] = observer.history().longest_gap_s or 0.0
    return verdict


def _settled(site: Site, size: Size) -> None:
    """Wait until every restart that a reload or a command asked for has come to its end."""

    def is_settled() -> bool:
        rows = site.api.instances()
        return all(
            row["state"] in ("running", "stopped") for key, row in rows.items() if not key.startswith("loop/")
        )

    processes.until(is_settled, 30.0, 0.2)


def judge(
    site: Site, size: Size, observer: Observer, commander: Commander, generation: int, verdict: Verdict
) -> None:
    """Hold both histories against each other."""
    observer.settle()
    # First what droned tells, then what was seen: an end between the two is not held against droned.
    stamps = list(site.stamps.new())
    seen_until_now = observer.history()
    truth = model.truths(stamps, seen_until_now)
    time.sleep(2.0)
    told = site.told_ends()
    history = observer.history()
    verdict.faults += model.doubled(history)
    verdict.faults += model.disturbed(history, (f"steady/{label}" for label in range(size.steady)))
    runs = model.runs_of([*stamps, *site.stamps.new()], history)
    late_s = model.LATE_S + (history.longest_gap_s or 0.0)
    for key, orders in commander.orders.items():
        verdict.faults += [f"{key}: {fault}" for fault in model.disobeyed(orders, runs[key], late_s)]
    verdict.faults += commander.failures
    verdict.faults += model.misremembered(truth, told)
    rows = site.api.instances()
    verdict.expect(len(rows) == size.instances, f"droned shows {len(rows)} of {size.instances} instances")
    settled = {key: row for key, row in rows.items() if not key.startswith("loop/")}
    verdict.faults += model.shown_wrong(settled, history)
    for key, enabled in commander.wanted_enabled.items():
        verdict.expect(
            rows[key]["enabled"] == enabled, f"{key}: enabled is not {enabled}, as last acknowledged"
        )
    for life in history.lives:
        if life.name.startswith("conf/") and life.gone is None:
            words = processes.arguments(life.pid)
            verdict.expect(
                words[-1:] == (f"generation={generation}",),
                f"{life.name}: runs {words[-1:]}, not {generation}",
            )
    for label in range(size.conf):
        count = len(history.of(f"conf/{label}"))
        verdict.expect(
            1 <= count <= generation, f"conf/{label}: {count} processes in {generation} configurations"
        )
    verdict.figures["orders"] = len(commander.all_orders)
    verdict.figures["orders_repeated"] = sum(order.tries > 1 for order in commander.all_orders)
    verdict.figures["reloads"] = generation - 1
    verdict.figures["exits"] = len(truth)

"""kill -9 of a daemon that is just going: replaced on purpose, or ending everything in order.

In both cases what was asked for comes to its end all the same. A daemon that
was to be replaced is, and no program notices. A shutdown ends every program
once, in its own way, and then droned; none is begun again before somebody
starts droned anew, and then all are.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults import model, processes
from tests.faults.api import Refused, Unanswered
from tests.faults.observer import Observer
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.verdict import Verdict

STOP = (
    {"signal": "TERM", "to": "main", "for": "1s"},
    {"signal": "TERM", "to": "tree", "for": "500ms"},
    {"signal": "KILL", "to": "tree"},
)
LINGER_MS = 1000
OVER_WITHIN_S = 60.0
"""The longest that a shutdown may take whose daemons are killed."""

PEACE_S = 2.5
"""In control for so long makes up for one death: the guardian's waits between deaths are another matter."""

SEEN_WITHIN_S = 5.0
"""How late the observer may be on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    plain: int = 40
    """Programs that take LINGER_MS to obey TERM."""
    stubborn: int = 10
    """Programs that only KILL ends."""
    rounds: int = 20
    kills: int = 2
    """Kills in one shutdown."""
    seed: int = 1

    @property
    def instances(self) -> int:
        """All of them."""
        return self.plain + self.stubborn


def _configure(site: Site, size: Size) -> None:
    site.configure(
        (
            App(name="plain", mode=("linger", str(LINGER_MS)), instances=size.plain),
            App(
                name="stubborn", mode=("ignore-term",), instances=size.stubborn, options={"stop": list(STOP)}
            ),
        )
    )


def _daemons(site: Site) -> list[int]:
    """What lives of droned beside its guardian."""
    guardian = site.process.pid if site.process is not None else 0
    return [pid for pid in processes.children_of(guardian) if site.is_own(pid) and processes.is_alive(pid)]


def _kill_daemons(site: Site) -> None:
    for pid in _daemons(site):
        site.kill(pid)


def restarted(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Order the daemon's replacement, kill it in the middle of that, `size.rounds` times."""
    verdict = Verdict(f"daemon killed in {size.rounds} restarts")
    dice = random.Random(size.seed)
    with Site(command) as site:
        _configure(site, size)
        with Observer(site.tag, site.folder / "seen") as observer:
            try:
                site.launch()
                status = site.in_control()
                site.all_up(size.instances)
                for round_ in range(1, size.rounds + 1):
                    before = status
                    strike = threading.Timer(dice.uniform(0.0, 0.4), _kill_daemons, (site,))
                    strike.start()
                    with contextlib.suppress(Unanswered):
                        site.api.order("daemon-restart", ())
                    strike.join()
                    status = site.in_control(other_than=int(before["pid"]))
                    verdict.expect(
                        status["guardian_pid"] == before["guardian_pid"],
                        f"round {round_}: the guardian was replaced",
                    )
                    time.sleep(PEACE_S)
            except (Lost, Refused) as lost:
                verdict.faults.append(str(lost))
                return verdict
            _settled(site)
            observer.settle()
            history = observer.history()
            verdict.faults += model.doubled(history)
            verdict.faults += model.disturbed(history, site.api.instances())
            verdict.faults += model.shown_wrong(site.api.instances(), history)
            verdict.figures["kills"] = size.rounds
    return verdict


def _settled(site: Site) -> None:
    def is_running() -> bool:
        with contextlib.suppress(Unanswered, Refused):
            return all(row["state"] == "running" for row in site.api.instances().values())
        return False

    processes.until(is_running, 10.0, 0.1)


def _shut_down(site: Site, size: Size, dice: random.Random) -> float:
    """Order a shutdown, kill every daemon there is some times; the seconds until nothing is left."""
    began = time.monotonic()
    over = threading.Event()

    first = int(site.in_control()["pid"])

    def strike() -> None:
        # The first one while programs are on their way down, of which the last may end with no daemon there.
        time.sleep(dice.uniform(0.0, 0.5) * LINGER_MS / 1000)
        site.kill(first)
        for _ in range(size.kills - 1):
            if over.wait(dice.uniform(0.0, 1.0)):
                return
            _kill_daemons(site)

    striking = threading.Thread(target=strike)
    striking.start()
    try:
        while True:
            try:
                site.api.order("daemon-shutdown", ())
                break
            except (Unanswered, Refused):
                # It may come to pass all the same: the next daemon goes on with it, and refuses commands.
                if not any(map(site.is_own, processes.pids())):
                    break
                if time.monotonic() - began > OVER_WITHIN_S:
                    raise Lost("nobody takes the order to shut down") from None
                time.sleep(0.02)
        ended = processes.until(
            lambda: not any(map(site.is_own, processes.pids())),
            began + OVER_WITHIN_S - time.monotonic(),
            0.05,
        )
    finally:
        over.set()
        striking.join()
    left = processes.marked(site.tag)
    if not ended or left:
        raise Lost(f"still there: droned {not ended}, {left}; the log ends:\n{site.log_end()}")
    return time.monotonic() - began


def shut_down(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Shut everything down and kill the daemon in the middle of that, `size.rounds` times."""
    verdict = Verdict(f"daemon killed in {size.rounds} shutdowns")
    dice = random.Random(size.seed)
    took: list[float] = []
    with Site(command) as site:
        _configure(site, size)
        with Observer(site.tag, site.folder / "seen") as observer:
            try:
                for round_ in range(1, size.rounds + 1):
                    process = site.launch()
                    site.in_control()
                    site.all_up(size.instances)
                    took.append(_shut_down(site, size, dice))
                    status = process.wait(10.0)
                    verdict.expect(status == 0, f"round {round_}: droned ended with {status}")
                    observer.settle()
                    _judge(observer, size, round_, verdict)
            except Lost as lost:
                verdict.faults.append(f"round {len(took) + 1}: {lost}")
                return verdict
            verdict.faults += model.doubled(observer.history())
            verdict.figures["rounds"] = len(took)
            verdict.figures["over_max_s"] = max(took)
    return verdict


def _judge(observer: Observer, size: Size, round_: int, verdict: Verdict) -> None:
    """Each program has lived once in each round, and none lives now."""

    def is_seen() -> bool:
        return all(life.gone is not None for life in observer.history().lives)

    processes.until(is_seen, SEEN_WITHIN_S, 0.1)
    by_name = observer.history().by_name()
    verdict.expect(len(by_name) == size.instances, f"round {round_}: {len(by_name)} programs were seen")
    for name, lives in by_name.items():
        verdict.expect(len(lives) == round_, f"round {round_}: {name} was begun {len(lives)} times")
        verdict.expect(all(life.gone is not None for life in lives), f"round {round_}: {name} lives on")

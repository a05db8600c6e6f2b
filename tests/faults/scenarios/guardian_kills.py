"""kill -9 of the guardian, or of guardian and daemon together (then droned is run again, as its init would).

Each time one program ends while nobody of droned's can see it, or only half
can; its end must be told as it was or called unknown. Then everything is tried
that a living droned can do: stop one, start one, notice the end of one.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults import model, processes
from tests.faults.api import Refused, Unanswered
from tests.faults.observer import Observer
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.verdict import Verdict, percentile

BACK_WITHIN_S = 30.0
ENDS = (signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGUSR1)
"""How a program may end while nobody looks: whoever guesses is found out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    steady: int = 50
    kills: int = 20
    both: bool = False
    """Whether the daemon is killed with the guardian."""
    seed: int = 1


def _managed(site: Site, verdict: Verdict, round_: int) -> None:
    """Stop, start and the end of a program, each seen through."""
    api = site.api
    where = f"round {round_}"
    for command, state in (("stop", "stopped"), ("start", "running")):
        receipt = api.order(command, ("cmd/0",))
        action = api.ended(receipt["action"]["id"])
        verdict.expect(
            action["state"] == "succeeded", f"{where}: {command} {action['state']}: {action['items']}"
        )
        row = api.instances()["cmd/0"]
        verdict.expect(row["state"] == state, f"{where}: after {command} cmd/0 is {row['state']}")
    before = api.instances()["cmd/1"]
    verdict.expect(site.kill_program(before["pid"]), f"{where}: cmd/1, pid {before['pid']}, is not there")

    def is_back() -> bool:
        row = api.instances()["cmd/1"]
        return row["state"] in ("starting", "running") and row["pid"] not in (None, before["pid"])

    if processes.until(is_back, 5.0):
        after = api.instances()["cmd/1"]
        verdict.expect(
            after["exit"] is not None and after["exit"]["signal"] == signal.SIGKILL,
            f"{where}: cmd/1 was killed, droned tells {after['exit']}",
        )
    else:
        verdict.faults.append(f"{where}: the end of cmd/1 was not noticed: {api.instances()['cmd/1']}")


def _shown(site: Site, observer: Observer, verdict: Verdict, round_: int) -> None:
    """Within a few seconds everything is running again, and shown as it is."""

    def is_running() -> bool:
        return all(row["state"] == "running" for row in site.api.instances().values())

    processes.until(is_running, 5.0, 0.1)
    observer.settle()
    wrong = model.shown_wrong(site.api.instances(), observer.history())
    verdict.faults += [f"round {round_}: {fault}" for fault in wrong]


def _wait_for_new_guardian(site: Site, old: int) -> None:
    """Until the daemon names another guardian, which lives; raises Lost."""

    def is_replaced() -> bool:
        try:
            found = int(site.api.daemon()["guardian_pid"] or 0)
        except (Unanswered, Refused):
            return False
        return found not in (0, old) and processes.is_alive(found)

    if not processes.until(is_replaced, BACK_WITHIN_S):
        raise Lost(f"no new guardian after {BACK_WITHIN_S:.0f} s; the log ends:\n{site.log_end()}")


def _strike(site: Site, size: Size, dice: random.Random) -> tuple[tuple[str, int], str]:
    """Kill once, and end a program beside it in one of several ways: which run that was, and its end."""
    status = site.api.daemon()
    victim = f"lone/{dice.randrange(4)}"
    row = site.api.instances()[victim]
    guardian, daemon = int(status["guardian_pid"]), int(status["pid"])
    both = [guardian, daemon] if dice.random() < 0.5 else [daemon, guardian]
    for pid in both if size.both else [guardian]:
        site.kill(pid)
    number = dice.choice(ENDS)
    site.kill_program(row["pid"], number)
    if size.both:
        # The guardian may have begun a new daemon between the two kills; an init waits until all are gone.
        processes.until(lambda: not processes.is_alive(guardian), 5.0)
        for pid in [pid for pid in processes.pids() if site.is_own(pid)]:
            site.kill(pid)
        if site.process is not None:
            site.process.wait(10.0)
        time.sleep(0.1)
        site.launch()
        site.in_control(other_than=daemon)
    else:
        _wait_for_new_guardian(site, guardian)
    return (victim, int(row["run"])), f"s{int(number)}"


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Kill `size.kills` times and judge."""
    name = "guardian and daemon killed" if size.both else "guardian killed"
    verdict = Verdict(name)
    dice = random.Random(size.seed)
    with Site(command) as site:
        site.configure(
            (
                App(name="steady", instances=size.steady),
                App(name="cmd", instances=2),
                App(name="lone", instances=4),
            )
        )
        with Observer(site.tag, site.folder / "seen") as observer:
            unseen: dict[tuple[str, int], str] = {}
            took: list[float] = []
            try:
                site.launch()
                site.in_control()
                site.all_up(size.steady + 6)
                for round_ in range(1, size.kills + 1):
                    began = time.monotonic()
                    run_, end = _strike(site, size, dice)
                    unseen[run_] = end
                    took.append(time.monotonic() - began)
                    site.all_up(size.steady + 6, 10.0)
                    _managed(site, verdict, round_)
                    _shown(site, observer, verdict, round_)
                    time.sleep(dice.uniform(0.1, 1.0))
            except (Lost, Refused, Unanswered) as lost:
                verdict.faults.append(f"round {len(took) + 1}: {lost}")
                return verdict
            observer.settle()
            history = observer.history()
            verdict.faults += model.doubled(history)
            verdict.faults += model.disturbed(history, (f"steady/{label}" for label in range(size.steady)))
            told = site.told_ends()
            unknown = 0
            for (victim, number), end in unseen.items():
                said = told.get((victim, number))
                unknown += said == model.UNKNOWN
                # The kernel may have told it later: by a pidfd, or by a zombie that nobody had reaped yet.
                verdict.expect(
                    said in (model.UNKNOWN, end),
                    f"{victim} run {number} was ended by {end} while nobody looked, droned tells {said}",
                )
            verdict.figures["kills"] = len(took)
            verdict.figures["unknown_ends"] = unknown
            verdict.figures["back_p95_s"] = percentile(took, 0.95)
    return verdict

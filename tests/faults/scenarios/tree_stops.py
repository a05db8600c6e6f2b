"""kill -9 of the guardian while it stops trees: nothing is left all the same, and nothing is said too early.

There are trees whose first process obeys TERM, so that what is stopped is what
it left behind, and trees that ignore it whole. An instance is shown as stopped
only when nothing of its tree lives, whoever was guardian meanwhile; and then
it can be started again.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults import processes
from tests.faults.api import Refused, Unanswered
from tests.faults.scenarios.trees import STOP
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.verdict import Verdict

OVER_WITHIN_S = 60.0
"""The longest that one stop may take whose guardian is killed."""
BACK_WITHIN_S = 40.0
"""The daemon waits up to 30 s before it starts another, if several were lost within a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    kinds: tuple[str, ...] = ("tree", "headed")
    """Modes of tests/programs/child.c; `headed` trees lose their first process to TERM."""
    trees: int = 20
    """Of each kind."""
    members: int = 5
    steady: int = 10
    """Programs that nobody stops."""
    rounds: int = 10
    without: str = ""
    """What droned is to do without, such as `cgroup`."""
    seed: int = 1

    @property
    def processes(self) -> int:
        """All that live while nothing is stopped."""
        return self.steady + len(self.kinds) * self.trees * self.members


def _configure(site: Site, size: Size) -> None:
    apps = [
        App(name=name, mode=(name, str(size.members)), instances=size.trees, options={"stop": list(STOP)})
        for name in size.kinds
    ]
    site.configure((App(name="steady", instances=size.steady), *apps))


def _guardian(site: Site) -> int | None:
    """The guardian of now, None while that cannot be had or it is dead."""
    with contextlib.suppress(Unanswered, Refused):
        found = int(site.api.daemon()["guardian_pid"] or 0)
        return found if found and processes.is_alive(found) else None
    return None


def _replaced(site: Site, killed: int) -> int:
    """The next guardian; Lost when there is none in time."""
    deadline = time.monotonic() + BACK_WITHIN_S
    while (found := _guardian(site)) in (None, killed):
        if time.monotonic() > deadline:
            raise Lost(f"no new guardian after {BACK_WITHIN_S:.0f} s; the log ends:\n{site.log_end()}")
        time.sleep(0.02)
    assert found is not None
    return found


def _too_early(site: Site, faults: dict[str, str]) -> bool:
    """Note instances that are shown as stopped while something of them lives; whether all are shown so."""
    try:
        rows = site.api.instances()
    except (Unanswered, Refused):
        return False
    stopped = {key for key, row in rows.items() if row["state"] == "stopped"}
    # Looked at after the answer: what lives now lived when it was given.
    for pid, name in processes.marked(site.tag).items():
        if name in stopped:
            faults.setdefault(name, f"{name}: shown as stopped while pid {pid} of it lives")
    return all(key.startswith("steady/") or key in stopped for key in rows)


def _stop(site: Site, size: Size, strike_s: float) -> Iterator[str]:
    """Stop all trees, kill the guardian after so many seconds or once all is stopped; the faults."""
    guardian = int(site.in_control()["guardian_pid"])
    early: dict[str, str] = {}
    receipt = site.api.order("stop", size.kinds)
    began = time.monotonic()
    processes.until(lambda: _too_early(site, early), strike_s, 0.02)
    site.kill(guardian)
    _replaced(site, guardian)
    over = processes.until(lambda: _too_early(site, early), began + OVER_WITHIN_S - time.monotonic(), 0.05)
    yield from early.values()
    left = {pid: name for pid, name in processes.marked(site.tag).items() if not name.startswith("steady/")}
    if not over:
        states = {key: row["state"] for key, row in site.api.instances().items() if row["state"] != "stopped"}
        yield f"not stopped after {OVER_WITHIN_S:.0f} s: {states}"
    if left:
        yield f"left: {left}"
    action = site.api.ended(receipt["action"]["id"], 5.0)
    if action["state"] != "succeeded":
        yield f"the stop {action['state']}"


def _steady(site: Site) -> dict[str, int]:
    return {name: pid for pid, name in processes.marked(site.tag).items() if name.startswith("steady/")}


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Stop and start all trees `size.rounds` times."""
    without = f", without {size.without}" if size.without else ""
    verdict = Verdict(f"guardian killed in {size.rounds} stops of trees{without}")
    dice = random.Random(size.seed)
    took: list[float] = []
    with Site(command, environment={"DRONED_WITHOUT": size.without}) as site:
        _configure(site, size)
        try:
            site.launch()
            site.in_control()
            site.all_up(size.processes)
            steady = {
                name: pid for pid, name in processes.marked(site.tag).items() if name.startswith("steady/")
            }
            for round_ in range(1, size.rounds + 1):
                began = time.monotonic()
                # The last one is killed when the stop is over: the next has to know what it has to know.
                strike_s = dice.uniform(0.0, 2.3) if round_ < size.rounds else OVER_WITHIN_S
                verdict.faults += [f"round {round_}: {fault}" for fault in _stop(site, size, strike_s)]
                took.append(time.monotonic() - began)
                receipt = site.api.order("start", size.kinds)
                action = site.api.ended(receipt["action"]["id"], 10.0)
                if action["state"] != "succeeded":
                    raise Lost(f"the start {action['state']}: {action['items'][:2]}")
                site.all_up(size.processes, 10.0)
        except (Lost, Refused, Unanswered) as lost:
            verdict.faults.append(f"round {len(took) + 1}: {lost}")
            return verdict
        verdict.expect(_steady(site) == steady, f"steady programs: {steady} became {_steady(site)}")
        verdict.figures["rounds"] = len(took)
        verdict.figures["gone_max_s"] = max(took)
    return verdict

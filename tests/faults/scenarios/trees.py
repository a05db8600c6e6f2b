"""Stop of programs that double-fork, open sessions of their own and ignore TERM: nothing is left.

Bystanders run the same program under the same names, started by the harness:
they belong to nobody of droned's and must live.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults import processes
from tests.faults.api import Refused, Unanswered
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.verdict import Verdict

STOP = (
    {"signal": "TERM", "to": "main", "for": "1s"},
    {"signal": "TERM", "to": "tree", "for": "1s"},
    {"signal": "KILL", "to": "tree"},
)
GRACE_S = 2.0
"""The time that the steps of STOP leave before KILL."""
MORE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    trees: int = 100
    members: int = 10
    bystanders: int = 10
    slack_s: float = 0.0
    """What a busy machine may add to each limit; the figures are judged without it."""


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Start all trees, stop all trees."""
    verdict = Verdict(f"stop of {size.trees} trees of {size.members}")
    with Site(command) as site:
        tree = App(
            name="tree",
            mode=("tree", str(size.members)),
            instances=size.trees,
            options={"stop": list(STOP)},
        )
        site.configure((tree,))
        strangers: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(size.bystanders):
                name = f"tree/{number % size.trees}"
                strangers.append(
                    subprocess.Popen(
                        site.child(name, ("pause",)),
                        env={**os.environ, "DRONED_APP": "tree", "DRONED_INSTANCE": name},
                        start_new_session=True,
                    )
                )
            site.launch()
            site.in_control()
            count = size.trees * size.members
            site.all_up(count + size.bystanders)
            began = time.monotonic()
            receipt = site.api.order("stop", ("tree",))
            own = {stranger.pid for stranger in strangers}

            def is_empty() -> bool:
                return not processes.marked(site.tag).keys() - own

            gone = processes.until(is_empty, GRACE_S + MORE_S + size.slack_s + 20.0, 0.02)
            took = time.monotonic() - began
            verdict.figures["gone_s"] = took
            left = len(processes.marked(site.tag).keys() - own)
            verdict.expect(gone, f"{left} of {count} processes left after {took:.1f} s")
            verdict.expect(took <= GRACE_S + MORE_S + size.slack_s, f"gone only after {took:.1f} s")
            action = site.api.ended(receipt["action"]["id"])
            verdict.expect(action["state"] == "succeeded", f"the stop {action['state']}")
            states = {row["state"] for row in site.api.instances().values()}
            verdict.expect(states == {"stopped"}, f"states after the stop: {sorted(states)}")
            for stranger in strangers:
                verdict.expect(stranger.poll() is None, f"a bystander was ended: {stranger.returncode}")
        except (Lost, Refused, Unanswered) as lost:
            verdict.faults.append(str(lost))
        finally:
            for stranger in strangers:
                stranger.kill()
                stranger.wait()
    return verdict

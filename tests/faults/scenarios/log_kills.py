"""kill -9 of `droned-logs`, daemon and guardian in turn at random, while programs print numbered lines.

Nothing is lost, repeated or reordered, no program waits long for its reader,
and the index tells what is in the files. The programs print in bursts that
fill their pipes, with pauses that keep the disk from being filled.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults import captured, model, processes
from tests.faults.api import Refused, Unanswered
from tests.faults.observer import Observer
from tests.faults.site import DRONED, App, Lost, Site
from tests.faults.stamps import Report, Stamp
from tests.faults.verdict import Verdict, percentile

LONGEST_WRITE_S = 0.5
BACK_WITHIN_S = 40.0
"""The daemon waits up to 30 s before it starts another guardian, if several were lost within a minute."""
THERE_WITHIN_S = 20.0
ROLES = {"logs": "logs_pid", "daemon": "pid", "guardian": "guardian_pid"}
"""Who is killed, by the name of its pid in the daemon's status."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run; the defaults are the full size."""

    instances: int = 100
    kills: int = 60
    longest_peace_s: float = 1.0
    """The longest time between everybody being back and the next kill."""
    burst_lines: int = 2000
    line_bytes: int = 100
    pause_ms: int = 500
    seed: int = 1
    slack_s: float = 0.0
    """What a busy machine may add to each limit; the figures are judged without it."""


def all_started(site: Site, count: int) -> list[Stamp]:
    """The stamps of programs that wait for their signal; raises Lost when they do not come."""
    stamps: list[Stamp] = []
    deadline = time.monotonic() + 60.0
    while len(stamps) < count:
        stamps += site.stamps.new()
        if time.monotonic() > deadline:
            raise Lost(f"only {len(stamps)} of {count} programs started: {site.log_end()}")
        time.sleep(0.01)
    return stamps


def all_reported(site: Site, count: int) -> list[Report]:
    """What every program printed; raises Lost when one does not come to an end."""
    if not processes.until(lambda: len(site.stamps.reported()) >= count, 30.0, 0.05):
        raise Lost(f"only {len(site.stamps.reported())} of {count} programs have reported")
    return site.stamps.reported()


def with_logs(site: Site) -> dict[str, Any]:
    """The daemon's status once all three are there and alive; raises Lost when they are not."""
    return _back(site, 0)


def _back(site: Site, killed: int) -> dict[str, Any]:
    deadline = time.monotonic() + BACK_WITHIN_S
    status: dict[str, Any] = {}
    while time.monotonic() < deadline:
        with contextlib.suppress(Unanswered, Refused):
            status = site.api.daemon()
            found = [int(status.get(role) or 0) for role in ROLES.values()]
            if killed not in found and all(pid and processes.is_alive(pid) for pid in found):
                return status
        time.sleep(0.005)
    shown = {name: status.get(role) for name, role in ROLES.items()}
    raise Lost(f"not all are back after {BACK_WITHIN_S:.0f} s: {shown}; the log ends:\n{site.log_end()}")


def _turns(size: Size, dice: random.Random) -> Iterator[str]:
    """Whose turn it is: each of the three once, in any order, then again."""
    left: list[str] = []
    for _ in range(size.kills):
        if not left:
            left = dice.sample(sorted(ROLES), len(ROLES))
        yield left.pop()


def _kill_in_turn(site: Site, size: Size, verdict: Verdict) -> dict[str, list[float]]:
    """The seconds until all were back, by who was killed."""
    dice = random.Random(size.seed)
    took: dict[str, list[float]] = {name: [] for name in ROLES}
    status = with_logs(site)
    for name in _turns(size, dice):
        time.sleep(dice.uniform(0.02, size.longest_peace_s))
        killed = int(status[ROLES[name]])
        began = time.monotonic()
        if not site.kill(killed):
            verdict.faults.append(f"{name}, pid {killed}, was gone before it was killed")
        status = _back(site, killed)
        took[name].append(time.monotonic() - began)
    return took


def _all_captured(site: Site, reports: Sequence[Report]) -> bool:
    logs = site.state / "logs"
    return all(captured.captured_bytes(logs, report.name, "stdout") == report.bytes for report in reports)


def run(size: Size, command: Sequence[str] = DRONED) -> Verdict:
    """Kill `size.kills` times and compare what was printed with what is there."""
    verdict = Verdict(f"{len(ROLES)} kinds of our processes killed while {size.instances} programs print")
    app = App(
        name="web",
        program="writer",
        mode=("bursts", str(size.burst_lines), str(size.line_bytes), str(size.pause_ms)),
        instances=size.instances,
        options={"logs": {"max_size": "1M", "keep": 10_000}},
    )
    with Site(command) as site:
        site.configure((app,), logs={"total": "100G"})
        with Observer(site.tag, site.folder / "seen") as observer:
            try:
                site.launch()
                site.in_control()
                stamps = all_started(site, size.instances)
                with_logs(site)
                for stamp in stamps:
                    site.kill_program(stamp.pid, signal.SIGUSR1)
                took = _kill_in_turn(site, size, verdict)
                for stamp in stamps:
                    site.kill_program(stamp.pid, signal.SIGUSR2)
                reports = all_reported(site, size.instances)
                verdict.expect(
                    processes.until(lambda: _all_captured(site, reports), THERE_WITHIN_S, 0.2),
                    f"not all is captured {THERE_WITHIN_S:.0f} s after the last line",
                )
                observer.settle()
                names = [stamp.name for stamp in stamps]
                verdict.faults += model.disturbed(observer.history(), names)
                # A guardian that has just come may be ended by TERM before it knows what that asks for.
                receipt = site.api.order("stop", ("web",))
                action = site.api.ended(receipt["action"]["id"])
                verdict.expect(action["state"] == "succeeded", f"the stop {action['state']}")
                site.shut_down()
            except (Lost, Refused, Unanswered) as lost:
                verdict.faults.append(str(lost))
                return verdict
        judge(site, size, reports, verdict)
        for name, seconds in took.items():
            verdict.figures[f"{name}_back_max_s"] = max(seconds, default=0.0)
            verdict.figures[f"{name}_back_p50_s"] = percentile(seconds, 0.5)
        verdict.figures["kills"] = sum(map(len, took.values()))
    return verdict


def judge(site: Site, size: Size, reports: Sequence[Report], verdict: Verdict) -> None:
    """Hold the files and the index against what the programs say that they printed."""
    logs = site.state / "logs"
    told = captured.index(logs)
    verdict.faults += told.faults
    for report in reports:
        mark = f"{report.name}@{site.tag}"
        verdict.faults += captured.wrong(logs, mark, size.line_bytes, report.bytes)
        offset = told.offsets.get((report.name, "stdout"))
        verdict.expect(
            offset == report.bytes, f"{report.name}: printed {report.bytes} bytes, the index tells {offset}"
        )
    verdict.faults += [f"{name}: bytes were dropped: {gaps}" for (name, _), gaps in told.gaps.items()]
    longest_s = max(report.longest_s for report in reports)
    limit_s = LONGEST_WRITE_S + size.slack_s
    verdict.expect(longest_s <= limit_s, f"a program waited {longest_s:.2f} s in a write")
    verdict.figures["longest_write_s"] = longest_s
    verdict.figures["printed_mb"] = sum(report.bytes for report in reports) / 1e6
    verdict.figures["index_blocks"] = told.blocks

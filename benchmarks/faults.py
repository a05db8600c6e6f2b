"""The fault rows of the table, in full size or small: tests/faults judges, this chooses and sums up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.run import say
from tests.faults import programs
from tests.faults.scenarios import (
    daemon_kills,
    exits,
    goings,
    guardian_kills,
    hang,
    log_disk_full,
    log_kills,
    tree_stops,
    trees,
)
from tests.faults.verdict import Verdict

DRONED = (str(programs.ROOT / "bin" / "droned"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRow:
    """One row: what is done, what has to come of it, and how."""

    name: str
    """As `--only` takes it."""
    title: str
    target: str
    run: Callable[[bool], Verdict]
    """Called with whether it is to be small."""
    judge: Callable[[Verdict], bool] = lambda verdict: True
    """What the figures have to be, beside the absence of faults."""


def _daemon_kills(small: bool) -> Verdict:
    if small:
        size = daemon_kills.Size(steady=30, loop=6, cmd=20, conf=4, kills=5, longest_peace_s=1.5)
    else:
        size = daemon_kills.Size()
    return daemon_kills.run(size, DRONED)


def _guardian_kills(small: bool) -> Verdict:
    return guardian_kills.run(guardian_kills.Size(kills=2 if small else 20), DRONED)


def _both_kills(small: bool) -> Verdict:
    return guardian_kills.run(guardian_kills.Size(kills=2 if small else 20, both=True), DRONED)


def _hung(small: bool) -> Verdict:
    return hang.hung(hang.Size(stops=1 if small else 3), DRONED)


def _starved(small: bool) -> Verdict:
    return hang.starved(hang.Size(hogged_s=20.0 if small else 600.0), DRONED)


def _restarts(small: bool) -> Verdict:
    return goings.restarted(goings.Size(rounds=5 if small else 20), DRONED)


def _shutdowns(small: bool) -> Verdict:
    return goings.shut_down(goings.Size(rounds=3 if small else 20), DRONED)


def _trees(small: bool) -> Verdict:
    return trees.run(trees.Size(trees=10 if small else 100), DRONED)


def _tree_stops(small: bool) -> Verdict:
    return tree_stops.run(tree_stops.Size(rounds=3 if small else 10), DRONED)


def _tree_stops_without_cgroups(small: bool) -> Verdict:
    return tree_stops.run(tree_stops.Size(rounds=3 if small else 10, without="cgroup"), DRONED)


def _exits(small: bool) -> Verdict:
    size = exits.Size(exits=500, within_s=4.0, kills=1) if small else exits.Size()
    return exits.run(size, DRONED)


def _log_kills(small: bool) -> Verdict:
    size = log_kills.Size(instances=10, kills=6, pause_ms=100) if small else log_kills.Size()
    return log_kills.run(size, DRONED)


def _log_disk_full(small: bool) -> Verdict:
    size = log_disk_full.Size(instances=4, disk_mb=64, full_s=3.0) if small else log_disk_full.Size()
    return log_disk_full.run(size, DRONED)


FAULT_ROWS: tuple[FaultRow, ...] = (
    FaultRow(
        name="daemon-kills",
        title="kill -9 of the daemon at random, 50×, under 500 instances (50 crash-looping)",
        target="0 lost, doubled or restarted; every exit known; no order undone or done twice; "
        "in control < 1.5 s p95",
        run=_daemon_kills,
        judge=lambda verdict: verdict.figures.get("in_control_p95_s", 99.0) < daemon_kills.IN_CONTROL_P95_S,
    ),
    FaultRow(
        name="guardian-kills",
        title="kill -9 of the guardian, 20×",
        target="apps live and are managed; unseen exits are unknown; new starts work",
        run=_guardian_kills,
    ),
    FaultRow(
        name="both-kills",
        title="kill -9 of guardian and daemon, 20×, then run again",
        target="the same",
        run=_both_kills,
    ),
    FaultRow(
        name="restarts",
        title="kill -9 of the daemon in the middle of `daemon restart`, 20×",
        target="in control again; no app notices",
        run=_restarts,
    ),
    FaultRow(
        name="shutdowns",
        title="kill -9 of the daemons of a `daemon shutdown`, 2× in each of 20",
        target="it comes to its end; every app ends once and none is begun again",
        run=_shutdowns,
    ),
    FaultRow(name="hung", title="SIGSTOP of the daemon", target="in control again within 10 s", run=_hung),
    FaultRow(name="starved", title="8 CPU hogs for 10 min", target="0 false replacements", run=_starved),
    FaultRow(
        name="trees",
        title="stop of 100 trees of 10 (double fork, setsid, TERM ignored)",
        target="nothing left after grace + 3 s; no foreign process signalled",
        run=_trees,
    ),
    FaultRow(
        name="tree-stops",
        title="kill -9 of the guardian in each of 10 stops of 40 trees",
        target="nothing left, nothing shown as stopped before its tree is gone",
        run=_tree_stops,
    ),
    FaultRow(
        name="tree-stops-without-cgroups",
        title="the same without cgroups",
        target="the same",
        run=_tree_stops_without_cgroups,
    ),
    FaultRow(
        name="exits",
        title="5,000 children exiting within 10 s while the daemon is killed 3×",
        target="5,000 exit records, right code or signal, no zombie after 2 s",
        run=_exits,
    ),
    FaultRow(
        name="log-kills",
        title="kill -9 of droned-logs, daemon and guardian in turn at random, 60×, while 100 programs print "
        "numbered lines at full speed, rotation at 1 MiB",
        target="0 bytes lost, repeated or reordered; no writer blocked over 0.5 s; the index tells the same",
        run=_log_kills,
    ),
    FaultRow(
        name="log-disk-full",
        title="the disk of the logs is full for 20 s",
        target="apps go on; what is dropped is counted and marked; recovered by itself",
        run=_log_disk_full,
    ),
)


def judged(row: FaultRow, small: bool) -> Verdict:
    """Run one row; a figure that misses its target is a fault as well."""
    say(f"faults: {row.title}")
    try:
        verdict = row.run(small)
    except Exception as error:  # noqa: BLE001 - whatever fails in one row, the others are run
        verdict = Verdict(row.name, faults=[f"could not be run: {type(error).__name__}: {error}"])
    if verdict.passed and not row.judge(verdict):
        verdict.faults.append("a figure misses its target")
    say(verdict.text())
    return verdict

"""The table: every run that lives or whose end is not yet acknowledged. It only remembers; others act.

An instance has at most one live run, and its run numbers only grow: a second
`spawn` for it, sent twice or by two daemons, is refused here and nowhere else.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from droned.guardian.wire import Failure, Pair, Refused, Row

MOST_RECORDS = 100_000

Key = tuple[str, int]


class Run:
    """One life of an instance.

    `state` goes setup → running → ended; a start that failed goes setup →
    ended with its `failure`. `is_reaped` is a fact of its own: a child whose
    set-up timed out has ended as a run but may still hang in the kernel.
    """

    __slots__ = (
        "adopted",
        "at",
        "cpu_s",
        "ended_at",
        "failure",
        "instance",
        "is_housed",
        "is_reaped",
        "leftovers",
        "max_rss_bytes",
        "output",
        "pid",
        "run",
        "seen",
        "start_time",
        "state",
        "status",
    )

    def __init__(self, instance: str, run: int, pid: int, at: float, *, start_time: int = 0) -> None:
        self.instance = instance
        self.run = run
        self.pid = pid
        self.start_time = start_time
        self.at = at
        self.state = "setup"
        self.is_reaped = False
        self.adopted = False
        self.status: int | None = None
        self.seen = False
        self.ended_at: float | None = None
        self.failure: Failure | None = None
        self.cpu_s: float | None = None
        self.max_rss_bytes: int | None = None
        self.leftovers = 0
        self.output: tuple[int, int] | None = None
        """Bytes in the files of standard output and error before it; known only of what was just started."""
        self.is_housed = True
        """Whether all of its tree is in the cgroup of its instance, as far as there are such."""

    @property
    def key(self) -> Key:
        """Instance and run number."""
        return self.instance, self.run

    @property
    def lives(self) -> bool:
        """Whether its main process is there, be it in a set-up that hangs, or yet to be born."""
        return not self.is_reaped

    def row(self) -> Row:
        """The run as the daemon is told of it."""
        return {
            "instance": self.instance,
            "run": self.run,
            "pid": self.pid,
            "start_time": self.start_time,
            "spawned_at": self.at,
            "state": self.state,  # type: ignore[typeddict-item]  # one of the three, by the class' rule
            "status": self.status,
            "seen": self.seen,
            "ended_at": self.ended_at,
            "failure": self.failure,
            "cpu_s": self.cpu_s,
            "max_rss_bytes": self.max_rss_bytes,
            "leftovers": self.leftovers,
            "adopted": self.adopted,
        }


class Table:
    """All runs, in the order of their starts."""

    __slots__ = (
        "_acknowledged",
        "_forgotten",
        "_last",
        "_live",
        "_most",
        "_records",
        "by_pid",
        "dropped",
        "runs",
    )

    def __init__(self, most: int = MOST_RECORDS) -> None:
        self.runs: dict[Key, Run] = {}
        self.by_pid: dict[int, Run] = {}
        self._live: dict[str, Run] = {}
        self._last: dict[str, int] = {}
        self._acknowledged: set[Key] = set()
        self._forgotten: set[str] = set()
        self._records: dict[str, int] = {}
        self._most = most
        self.dropped = 0

    def refusal(self, instance: str, run: int) -> Refused | None:
        """Why this run may not be started, or None."""
        live = self._live.get(instance)
        last = self._last.get(instance, 0)
        if live is None and run > last:
            return None
        return {
            "type": "refused",
            "instance": instance,
            "run": run,
            "live_run": live.run if live is not None else None,
            "last_run": last,
        }

    def add(self, run: Run) -> None:
        """Take a run whose process is there, or is about to be (then its pid is 0 until `born`)."""
        if run.key not in self.runs:
            self._records[run.instance] = self._records.get(run.instance, 0) + 1
        self.runs[run.key] = run
        self._forgotten.discard(run.instance)
        self.remember_last(run.instance, run.run)
        if run.lives:
            self._live[run.instance] = run
            self.born(run)
        self._drop_oldest()

    def born(self, run: Run) -> None:
        """The pid of a run is known."""
        if run.pid:
            self.by_pid[run.pid] = run

    def end(self, run: Run, at: float, *, status: int | None = None, failure: Failure | None = None) -> None:
        """The run has come to its end, seen or (without status and failure) unseen."""
        run.state = "ended"
        run.ended_at = at
        run.status = status
        run.seen = status is not None
        run.failure = failure

    def reaped(self, run: Run) -> None:
        """Its main process is gone: the pid may be another's from now on."""
        run.is_reaped = True
        if self.by_pid.get(run.pid) is run:  # one that was adopted may have been followed by another already
            del self.by_pid[run.pid]
        if self._live.get(run.instance) is run:
            del self._live[run.instance]
        self._let_go(run)

    def acknowledge(self, ended: Iterable[Pair]) -> list[Key]:
        """Forget the records of these runs, as far as they have ended; gives those that it knew."""
        gone = []
        for instance, number in ended:
            run = self.runs.get((instance, number))
            if run is not None and run.state == "ended":
                self._acknowledged.add(run.key)
                gone.append(run.key)
                self._let_go(run)
        return gone

    def kept_for_leftovers(self) -> list[Key]:
        """The runs that are acknowledged and still here."""
        return [key for key in self._acknowledged if key in self.runs]

    def _let_go(self, run: Run) -> None:
        """Drop a run that is acknowledged, reaped, and without leftovers that somebody waits for."""
        if run.key in self._acknowledged and run.is_reaped and not run.leftovers:
            self._remove(run)

    def tree_gone(self, run: Run) -> None:
        """Nothing of its tree is left."""
        run.leftovers = 0
        self._let_go(run)

    def _remove(self, run: Run) -> None:
        self._acknowledged.discard(run.key)
        if self.runs.pop(run.key, None) is None:
            return
        left = self._records.pop(run.instance) - 1
        if left:
            self._records[run.instance] = left
        elif run.instance in self._forgotten:
            self._forgotten.discard(run.instance)
            del self._last[run.instance]

    def forget(self, instance: str) -> None:
        """Drop the instance's last run number, as soon as it has no record any more."""
        if instance in self._records:
            self._forgotten.add(instance)
        else:
            self._last.pop(instance, None)

    def live(self, instance: str) -> Run | None:
        """The live run of an instance."""
        return self._live.get(instance)

    def living(self) -> list[Run]:
        """All runs whose main process is there."""
        return list(self._live.values())

    def last_runs(self) -> dict[str, int]:
        """The highest run number of every instance that is not forgotten."""
        return dict(self._last)

    def remember_last(self, instance: str, run: int) -> None:
        """Take over a run number from a ledger."""
        self._last[instance] = max(run, self._last.get(instance, 0))

    def rows(self) -> list[Row]:
        """What a daemon that connects is told: all that lives, is not acknowledged, or has left something."""
        return [run.row() for run in self.runs.values()]

    def saved(self) -> dict[str, object]:
        """What `resume` needs beside the runs, as JSON takes it."""
        return {
            "last": self._last,
            "acknowledged": [list(key) for key in self._acknowledged],
            "forgotten": list(self._forgotten),
            "dropped": self.dropped,
        }

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Be as the table that gave `saved`, whose runs have been added already."""
        self._last = dict(saved["last"])
        self._acknowledged = {(instance, run) for instance, run in saved["acknowledged"]}
        self._forgotten = set(saved["forgotten"])
        self.dropped = saved["dropped"]

    def _drop_oldest(self) -> None:
        if len(self.runs) <= self._most:
            return
        for run in self.runs.values():
            if run.state == "ended" and run.is_reaped:
                self.dropped += 1
                self._remove(run)
                return

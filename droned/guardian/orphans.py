"""Children that the guardian did not start: processes whose parents are gone, and whose they are.

They land here because the guardian is a subreaper. One belongs to an instance,
from the surest to the least sure, when

1. it is in the cgroup folder of it;
2. it carries a run's token in its environment;
3. it is in the session or group of a main process;
4. it is in no folder at all, and was born in a moment in which exactly one run
   was not in its folder yet (`housing`): all others would have borne it into theirs.

What nothing claims is a stranger: told of, never touched. What a companion has
started is neither: it is in the session of that, and ends without it.
"""

from collections.abc import Callable, Container

from droned.guardian import processes
from droned.guardian.cgroups import Cgroups
from droned.guardian.housing import Housing
from droned.guardian.runs import Run, Table
from droned.guardian.wire import Message, Stranger

_MOST_STRANGERS = 200


class Orphan:
    """A child of ours that we did not start."""

    __slots__ = ("instance", "name", "pid", "start_time")

    def __init__(self, process: processes.Process, instance: str | None) -> None:
        self.pid = process.pid
        self.start_time = process.start_time
        self.name = process.name
        self.instance = instance


class Orphans:
    """All orphans that have landed on one guardian."""

    def __init__(
        self,
        table: Table,
        cgroups: Cgroups | None,
        housing: Housing | None,
        state_id: str,
        tell: Callable[[Message], None],
        awaited: Container[str],
    ) -> None:
        """`awaited` are the instances that have ended and left something behind."""
        self._table = table
        self._cgroups = cgroups
        self._housing = housing
        self._token = f"{state_id}/".encode()
        self._tell = tell
        self._awaited = awaited
        self._orphans: dict[int, Orphan] = {}
        self._told: list[Stranger] = []
        self._seen: bytes | None = None  # the list at the last scan, while nothing of it was reaped
        self._mains: dict[int, tuple[str, int]] = {}  # pid → instance and start time; also of ended runs
        self.companions: Container[int] = ()  # children of ours that are no apps
        self.companion_sessions: Container[int] = ()  # also of some that are gone
        self.is_newborn: Callable[[processes.Process], bool] = lambda process: False

    # ---- whose a process is

    def know_main(self, run: Run) -> None:
        """Whatever is in the session or group of its main process is this run's."""
        if run.pid <= 1 or not run.start_time:
            return  # nobody knows its process; session and group 0 are the kernel's
        self._mains[run.pid] = (run.instance, run.start_time)

    def forget_main(self, run: Run) -> None:
        """Nothing of this run is left."""
        if self._mains.get(run.pid) == (run.instance, run.start_time):
            del self._mains[run.pid]  # else the pid is another run's by now

    def claimant(self, process: processes.Process) -> str | None:
        """The instance that a process belongs to by its own marks."""
        instance = self._cgroups.instance_of(process.pid) if self._cgroups is not None else None
        if instance is not None:
            return instance
        token = processes.token_of(process.pid)
        if token is not None:
            if token.startswith(self._token):
                return token[len(self._token) :].rpartition(b"/")[0].decode("utf-8", "surrogateescape")
            return None  # another droned's
        for pid in (process.session, process.group):
            main = self._mains.get(pid)
            if main is not None and process.start_time >= main[1]:
                return main[0]
        return None

    def of(self, instance: str) -> dict[int, int]:
        """The known orphans of an instance: pid → start time."""
        return {o.pid: o.start_time for o in self._orphans.values() if o.instance == instance}

    # ---- coming and going

    def scan(self) -> bool:
        """Look for children that we did not start, and tell of strangers when they changed.

        False when one of them may be a launch that has not come back yet: then another scan is needed.
        """
        are_all_told = True
        children = processes.main_thread_children()
        for pid in map(int, () if children == self._seen else children.split()):
            if pid not in self._table.by_pid and pid not in self.companions and pid not in self._orphans:
                process = processes.look(pid)
                if process is None or process.is_dead:
                    continue
                if self.is_newborn(process):
                    are_all_told = False
                else:
                    self._take(process)
        self.tell_strangers()
        self._seen = children if are_all_told else None
        return are_all_told

    def _take(self, process: processes.Process) -> None:
        instance = self.claimant(process)
        if instance is None and process.session in self.companion_sessions:
            return
        if self._housing is not None and instance is None and not self._have_strangers():
            instance = self._housing.only_candidate(process)
        self._orphans[process.pid] = Orphan(process, instance)
        if self._housing is not None and instance is not None:
            self._housing.take_in(instance, process)

    def _have_strangers(self) -> bool:
        """Whether orphans are here that nothing claims: others in no folder may be theirs."""
        return any(orphan.instance is None for orphan in self._orphans.values())

    def forget(self, pid: int) -> None:
        """This child was started by us after all."""
        self._seen = None
        self._orphans.pop(pid, None)

    def gone(self, pids: list[int]) -> set[str]:
        """Children that we did not start were reaped; the instances that they were of."""
        self._seen = None
        gone = [self._orphans.pop(pid, None) for pid in pids]
        return {orphan.instance for orphan in gone if orphan is not None and orphan.instance is not None}

    # ---- strangers

    def tell_strangers(self) -> None:
        """Tell of strangers when they changed."""
        found = self.strangers()
        if found != self._told:
            self._told = found
            self._tell({"type": "strangers", "processes": found})

    def strangers(self) -> list[Stranger]:
        """The orphans that no live run and no awaited tree claims."""
        found: list[Stranger] = []
        for orphan in self._orphans.values():
            instance = orphan.instance
            if instance is None or (self._table.live(instance) is None and instance not in self._awaited):
                found.append({"pid": orphan.pid, "start_time": orphan.start_time, "name": orphan.name})
        return found[:_MOST_STRANGERS]

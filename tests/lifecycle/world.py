"""A small world around one instance: a daemon that can lose its last moments, and a guardian that cannot.

The guardian refuses a second living run and a number that is not above the
last, keeps every end until it is acknowledged, and every tree of which
something is left. Between it and the daemon stand two queues; a daemon that
dies loses what is in them, and every step since the journal was last on disk.
Its successor is given the table, in the way of `services.processes`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from droned.errors import NotNow
from droned.lifecycle import inputs as i
from droned.lifecycle.outcome import Outcome, is_in_setup
from droned.lifecycle.table import step
from droned.models.policy import Leftovers
from droned.models.records import AppRecord, DueKind, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment
from tests.lifecycle.rows import FAILURES, STATUSES, Row

WITH_PROCESS = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
AT_REST = frozenset({State.STOPPED, State.EXITED, State.FAILED, State.UNKNOWN})
LEFT_BY_A_SHUTDOWN = frozenset({State.STOPPED, State.STOPPING, State.FAILED})
"""What a shutdown that was not finished can have left of an instance that is wanted."""
COMMANDS: tuple[i.Input, ...] = (
    i.Start(),
    i.Stop(),
    i.Restart(),
    i.Replace(),
    i.Enable(),
    i.Disable(),
    i.SendSignal(number=15, to="main"),
)


@dataclass
class World:
    """What the walks drive; every method is one thing that can happen, chosen by a small number."""

    app: AppRecord
    now: float = 1_000.0
    record: InstanceRecord | None = None
    on_disk: InstanceRecord | None = None
    orders: deque[i.Effect] = field(default_factory=deque)
    news: deque[i.Input] = field(default_factory=deque)
    rows: dict[int, Row] = field(default_factory=dict)
    last_run: int = 0
    told: list[int] = field(default_factory=list)
    """Runs whose end the daemon has taken since the journal was last on disk."""
    there: frozenset[int] = frozenset()
    draw: float = 0.5
    budget_wait_s: float = 0.0
    is_shutting_down: bool = False
    boot: int = 0
    boot_on_disk: int = 0
    refusals: int = 0
    spawned: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = self.on_disk = InstanceRecord(key="web/0", app="web", label="0")
        self.feed(i.Begin())
        self.sync()

    # --- the daemon

    def feed(self, given: i.Input) -> None:
        """Step, check what must hold after every step, and send the orders."""
        before = self.record
        if before is None:
            return
        moment = Moment(wall=self.now + 1e6, mono=self.now, draw=self.draw, budget_wait_s=self.budget_wait_s)
        try:
            outcome = step(before, self.app, given, moment)
        except NotNow:
            return
        self.check(before, given, outcome)
        self.record = outcome.record
        for effect in outcome.effects:
            if isinstance(effect, i.Spawn) and effect.run in self.there:
                continue
            self.orders.append(effect)

    def check(self, before: InstanceRecord, given: i.Input, outcome: Outcome) -> None:
        """What holds after every step, whatever happened before it."""
        became = outcome.record
        if became is None:
            assert before.then is Then.REMOVE or isinstance(given, i.Remove)
            assert outcome.effects == (i.Forget(instance="web/0"),)
            return
        assert became.run >= before.run
        assert (became.due.kind if became.due else None) in DUE_IN[became.state]
        assert became.ready is (became.state is State.RUNNING)
        assert (became.stop_step is not None) is (became.state is State.STOPPING)
        assert became.then is Then.REST or became.state is State.STOPPING
        assert (became.pid is None) is (became.start_time is None)
        assert became.pid is None or became.state in WITH_PROCESS
        assert became.state is not State.RUNNING or became.pid is not None
        assert became.state is not State.STARTING or (became.due is None) is is_in_setup(became)
        if became.state in (State.STARTING, State.RUNNING, State.BACKOFF, State.WAITING):
            assert became.wanted is Wanted.UP
        if became.state is State.BACKOFF:
            assert became.enabled
        if became.state is not before.state:
            assert outcome.occurrences
        for effect in outcome.effects:
            if isinstance(effect, i.Signal):
                assert effect.run == became.run
            if isinstance(effect, i.Spawn):
                self.check_spawn(before, given, effect)

    def check_spawn(self, before: InstanceRecord, given: i.Input, effect: i.Spawn) -> None:
        """A start is asked for, or it waited, or the run before it deserved one at once."""
        if isinstance(given, i.Vanished) and before.state is State.STARTING and effect.run == before.run:
            return
        assert effect.run == before.run + 1
        if before.state in WITH_PROCESS and before.then is not Then.START:
            lasted_s = self.now - (before.started_mono if before.started_mono is not None else self.now)
            policy = self.app.spec.restart
            assert policy.delay_s == 0.0 or lasted_s >= policy.reset_after_s

    # --- what can happen

    def command(self, number: int) -> None:
        """Somebody wants something."""
        if not self.is_shutting_down:
            self.feed(COMMANDS[number % len(COMMANDS)])

    def remove(self, number: int) -> None:
        """It leaves the configuration, and sometimes comes back before it is gone."""
        if number < 2 and not self.is_shutting_down:
            self.feed(i.Remove())
            if number and self.record is not None:
                self.feed(i.Rejoin())
            # What the configuration changes takes effect when it is on disk.
            self.sync()

    def shut_down(self, number: int) -> None:
        """droned ends everything, or begins again."""
        if self.is_shutting_down and self.record is not None and self.record.state not in WITH_PROCESS:
            self.is_shutting_down = False
            self.feed(i.Begin())
        elif number < 3 and not self.is_shutting_down:
            self.is_shutting_down = True
            self.feed(i.ShutDown())

    def order_arrives(self, number: int) -> None:
        """The guardian takes the next orders."""
        for _ in range(1 + number % 3):
            if self.orders:
                self.obey(self.orders.popleft(), is_obedient=number % 4 != 3)

    def news_arrives(self, number: int) -> None:
        """The daemon takes what the guardian has told next."""
        for _ in range(1 + number % 3):
            if self.news:
                self.take(self.news.popleft())

    def take(self, given: i.Input) -> None:
        """One piece of news; an end is to be acknowledged once the journal holds it."""
        self.feed(given)
        if isinstance(given, i.Ended | i.StartFailed):
            self.told.append(given.run)

    def sync(self, number: int = 0) -> None:
        """The journal is on disk; ends that it holds are acknowledged."""
        self.on_disk, self.boot_on_disk = self.record, self.boot
        for run in self.told:
            if run in self.rows:
                self.rows[run].is_acknowledged = True
                self.drop(self.rows[run])
        self.told.clear()

    def time_comes(self, number: int) -> None:
        """The clock moves on to what the record waits for, or a little."""
        due = None if self.record is None else self.record.due
        if due is None or number % 4 == 3:
            self.now += number
            return
        if due.kind is DueKind.STOP:
            # A stop step lasts longer than an order is on its way.
            while self.orders:
                self.obey(self.orders.popleft(), is_obedient=number % 2 == 0)
        self.now = max(self.now, due.at_mono)
        self.budget_wait_s = 0.05 if number % 4 == 2 else 0.0
        self.feed(i.Elapsed(kind=due.kind))
        self.budget_wait_s = 0.0

    def daemon_dies(self, number: int) -> None:
        """Everything that was not on disk is lost, some of the orders with it; another takes over."""
        while self.orders and number % 3:
            self.obey(self.orders.popleft(), is_obedient=True)
            number -= 1
        self.take_over()

    def take_over(self) -> None:
        """A new daemon: bring the record that is on disk to the guardian's table."""
        self.orders.clear()
        self.news.clear()
        self.told.clear()
        self.record, self.is_shutting_down = self.on_disk, False
        self.there = frozenset(self.rows)
        is_new_boot = self.boot_on_disk != self.boot
        rows = [self.rows[run] for run in sorted(self.rows)]
        if is_new_boot:
            for row in rows:
                if row.is_unseen:
                    self.find(row)
            self.feed(i.Rebooted())
        else:
            self.go_on_stopping(rows)
        for row in rows:
            if not (is_new_boot and row.is_unseen):
                self.find(row)
                if not row.lives:
                    self.feed(self.end_of(row))
            if not row.lives:
                self.told.append(row.run)
        self.there = frozenset()
        before = self.on_disk
        if before is not None and before.state in WITH_PROCESS and before.run not in self.rows:
            # The run of before: one that was ordered just now is not in the table either.
            self.feed(i.Vanished(run=before.run))
        if is_new_boot or (self.record is not None and self.record.state in LEFT_BY_A_SHUTDOWN):
            self.feed(i.Begin())

    def go_on_stopping(self, rows: list[Row]) -> None:
        """A stop whose signal may have died with the daemon before."""
        for row in rows:
            record = self.record
            if record is None or record.state is not State.STOPPING:
                continue
            is_news = record.pid is None and row.state == "running"
            if (row.lives or row.leftovers) and not is_news:
                self.feed(i.TakenOver(run=row.run))

    def find(self, row: Row) -> None:
        """A row of the table that is later than the record, or that lives."""
        record = self.record
        if record is not None and (
            row.run > record.run or (row.run == record.run and row.state == "running")
        ):
            self.feed(i.Found(run=row.run, pid=row.run, start_time=row.run, spawned_at=row.spawned_at + 1e6))

    def host_restarts(self, number: int) -> None:
        """No process is left; the journal and the guardian's ledger are as they were on disk."""
        if number < 2:
            for row in self.rows.values():
                if row.lives:
                    row.state, row.is_unseen, row.ended_at = "ended", True, self.now
                row.leftovers = 0
            self.boot += 1
            self.now = max(1.0, self.now - 900.0)
            self.take_over()

    # --- the guardian and the programs

    def obey(self, order: i.Effect, *, is_obedient: bool) -> None:
        """Carry out one order; a program that is not obedient ignores all signals but KILL."""
        match order:
            case i.Spawn(run=run):
                if run <= self.last_run or any(row.lives for row in self.rows.values()):
                    self.refusals += 1
                    return
                self.last_run = run
                self.spawned.append(run)
                self.rows[run] = Row(run=run, spawned_at=self.now)
            case i.Signal(run=run, number=number, to=to):
                row = self.rows.get(run)
                if row is None:
                    return
                if row.state == "running":
                    assert row.is_asked or number != 9, "killed without having been asked to end"
                row.is_asked = True
                if is_obedient or number == 9:
                    self.signalled(row, number, to)
            case i.Look():
                if is_obedient:
                    self.feed(i.Cleared())
            case i.Forget():
                pass

    def signalled(self, row: Row, number: int, to: str) -> None:
        """A signal that is obeyed; in the set-up only KILL is heard."""
        if to == "tree" and not row.lives:
            self.leftovers_go(row)
        elif row.state == "running" or (row.state == "setup" and number == 9):
            self.ends(row, number, 0 if to == "tree" else row.leftovers)

    def set_up_ends(self, number: int) -> None:
        """The living run's set-up succeeds or fails."""
        for row in self.rows.values():
            if row.state == "setup":
                if number < 4:
                    row.state, row.failure, row.ended_at = "ended", FAILURES[number], self.now
                    self.news.append(self.end_of(row))
                else:
                    row.state = "running"
                    self.news.append(
                        i.Spawned(run=row.run, pid=row.run, start_time=row.run, at=self.now + 1e6)
                    )

    def main_ends(self, number: int) -> None:
        """The living run's main process ends by itself, with or without leaving something."""
        for row in self.rows.values():
            if row.state == "running":
                self.ends(row, STATUSES[number % len(STATUSES)], number % 2)

    def leftovers_end(self, number: int) -> None:
        """What is left of a tree ends by itself."""
        for row in tuple(self.rows.values()):
            if not row.lives and row.leftovers:
                self.leftovers_go(row)

    def ends(self, row: Row, status: int, leftovers: int) -> None:
        """The main process is reaped."""
        row.state, row.status, row.leftovers, row.ended_at = "ended", status, leftovers, self.now
        self.news.append(self.end_of(row))

    def leftovers_go(self, row: Row) -> None:
        """The last of a tree is gone."""
        if row.leftovers:
            row.leftovers = 0
            self.news.append(i.TreeGone(run=row.run))
            self.drop(row)

    def drop(self, row: Row) -> None:
        """Forget a run of which nothing is left to tell or to end."""
        if row.is_acknowledged and not row.lives and not row.leftovers:
            self.rows.pop(row.run, None)

    def end_of(self, row: Row) -> i.Input:
        """The end as the guardian tells it."""
        if row.failure is not None:
            stage, errno = row.failure
            return i.StartFailed(run=row.run, stage=stage, errno=errno, at=row.ended_at + 1e6)
        return i.Ended(
            run=row.run,
            status=None if row.is_unseen else row.status,
            at=row.ended_at + 1e6,
            leftovers=row.leftovers,
        )

    # --- how it ends

    def settle(self) -> None:
        """Let everything that is on its way arrive, with programs that obey and live."""
        for _ in range(400):
            if self.orders:
                self.obey(self.orders.popleft(), is_obedient=True)
            elif self.news:
                self.take(self.news.popleft())
            elif any(row.state == "setup" for row in self.rows.values()):
                self.set_up_ends(9)
            elif self.record is not None and self.record.state not in AT_REST and self.record.due:
                self.time_comes(0)
            else:
                return
        raise AssertionError(f"it does not come to rest: {self.record}")

    def check_rest(self) -> None:
        """Once all has arrived, there is what was wanted, and nothing else."""
        living = [row for row in self.rows.values() if row.lives]
        left = [row for row in self.rows.values() if row.leftovers]
        record, spec = self.record, self.app.spec
        assert not self.refusals
        assert self.spawned == sorted(set(self.spawned))
        if spec.leftovers is Leftovers.STOP:
            assert not left
        if record is None:
            assert not living
            return
        assert record.state in AT_REST or record.state is State.RUNNING
        assert [row.run for row in living] == ([record.run] if record.state is State.RUNNING else [])
        if record.wanted is Wanted.DOWN:
            assert record.state is State.STOPPED
        if record.state is State.FAILED and record.enabled and not self.is_shutting_down:
            assert record.due is not None or spec.restart.retry_failed_after_s is None or is_for_good(self)
        if spec.restart.policy == "always" and record.enabled and record.wanted is Wanted.UP:
            assert record.state in (State.RUNNING, State.FAILED) or self.is_shutting_down


def is_for_good(world: World) -> bool:
    """Whether the failure is one that no other try would mend."""
    record = world.record
    assert record is not None
    exit_ = record.exit
    permanent = exit_ is not None and exit_.code in world.app.spec.restart.permanent_exit
    return permanent or (exit_ is not None and exit_.stage is not None)


NOTHING = frozenset({None})
DUE_IN: dict[State, frozenset[DueKind | None]] = {
    State.STOPPED: NOTHING,
    State.WAITING: NOTHING | {DueKind.START},
    State.STARTING: NOTHING | {DueKind.GRACE},
    State.RUNNING: NOTHING,
    State.STOPPING: frozenset({DueKind.STOP}),
    State.BACKOFF: frozenset({DueKind.START}),
    State.EXITED: NOTHING,
    State.FAILED: NOTHING | {DueKind.RETRY, DueKind.LOOK},
    State.UNKNOWN: NOTHING,
}
"""What may be waited for in each state."""

HAPPENINGS: tuple[Callable[[World, int], None], ...] = (
    World.command,
    World.command,
    World.remove,
    World.shut_down,
    World.order_arrives,
    World.order_arrives,
    World.order_arrives,
    World.news_arrives,
    World.news_arrives,
    World.news_arrives,
    World.sync,
    World.time_comes,
    World.time_comes,
    World.daemon_dies,
    World.host_restarts,
    World.set_up_ends,
    World.set_up_ends,
    World.main_ends,
    World.leftovers_end,
)

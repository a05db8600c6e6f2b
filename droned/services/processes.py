"""The guardian as the spine sees it: orders go out, what it tells comes in as inputs.

Ends are acknowledged only when the journal holds them: until then the
guardian keeps each record, so an end that this daemon did not live to write
down is told to the next one. A daemon that starts gets the whole table and
`take_over` brings the records to it: adoption is a message, not a search.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zope.interface import implementer

from droned.lifecycle import inputs
from droned.lifecycle.failed_starts import REFUSED
from droned.models.ports import ISpawner
from droned.models.records import InstanceRecord, IssueKind, State
from droned.models.registry import Registry
from droned.services.issue_book import IssueBook
from droned.services.supervision import Supervision

Message = Mapping[str, Any]
ACK_BATCH = 200
"""Ends in one acknowledgement: with the longest names it still fits a packet."""
HAS_PROCESS = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
SHOWN = 10
TROUBLE = {
    "ledger_errors": "entries that it could not write down",
    "dropped_records": "ends that it had no room to keep",
    "ignored_messages": "messages that it did not know",
}
TROUBLE_REMEDY = "make room on the disk of the state folder; ends may be unknown if it is killed now"
ORPHANS_REMEDY = "look at them; droned never signals what it cannot prove to be its own"


@implementer(ISpawner)
class GuardianSpawner:
    """Orders to the guardian, as messages of its wire."""

    def __init__(self, send: Callable[[dict[str, Any]], None], flush: Callable[[], None]) -> None:
        """`send` and `flush` are the link's."""
        self._send = send
        self._flush = flush

    def flush(self) -> None:
        """Send what was ordered now, not at the end of the reactor's turn."""
        self._flush()

    def spawn(self, instance: str, run: int, launch: Mapping[str, object]) -> None:
        """Order a process; the answer comes as an observation."""
        self._send({"type": "spawn", "instance": instance, "run": run, "launch": launch})

    def signal(self, instance: str, run: int, number: int, to: str) -> None:
        """Signal `main`, `group` or `tree` of a run."""
        self._send({"type": "signal", "instance": instance, "run": run, "signal": number, "to": to})

    def acknowledge(self, ended: list[tuple[str, int]], head_version: int, head_digest: str) -> None:
        """The ends of these runs are on disk; so is the journal up to this head."""
        head = {"version": head_version, "digest": head_digest}
        for first in range(0, len(ended), ACK_BATCH):
            pairs = [list(pair) for pair in ended[first : first + ACK_BATCH]]
            self._send({"type": "ack", "ended": pairs, "head": head})

    def forget(self, instance: str) -> None:
        """The instance is gone for good: drop its cgroup and its last run."""
        self._send({"type": "forget", "instance": instance})


class Processes:
    """Turns what the guardian tells into inputs, and acknowledges what is on disk."""

    def __init__(
        self,
        *,
        registry: Registry,
        supervision: Supervision,
        spawner: Any,
        issues: IssueBook,
        output_began: Callable[[str, int, Sequence[int] | None], None],
    ) -> None:
        """`spawner` is an ISpawner.

        `output_began` is told instance, run and the sizes of its output files
        when the run began, None for one that never wrote a word.
        """
        self._output_began = output_began
        self._registry = registry
        self._issues = issues
        self._supervision = supervision
        self._spawner = spawner
        self._unacknowledged: deque[tuple[int, str, int]] = deque()
        self._head: tuple[int, str] = (0, "")

    def received(self, message: Message) -> None:
        """Take one message about runs; those about the daemon itself are the daemon's.

        A daemon that is going takes nothing: what it does not acknowledge is
        told to the next one.
        """
        if self._supervision.is_closed:
            return
        match message["type"]:
            case "spawned":
                if "output" in message:
                    self._output_began(message["instance"], message["run"], message["output"])
                self._supervision.feed(message["instance"], _spawned(message))
            case "ended":
                self._supervision.feed(message["instance"], _ended(message))
                self._to_acknowledge(message["instance"], message["run"])
            case "spawn_failed":
                self._output_began(message["instance"], message["run"], None)
                self._supervision.feed(message["instance"], _start_failed(message))
                self._to_acknowledge(message["instance"], message["run"])
            case "tree_gone":
                self._supervision.feed(message["instance"], inputs.TreeGone(run=message["run"]))
            case "refused":
                self._refused(message)
            case "strangers":
                self._strangers(message["processes"])
            case "trouble":
                self._trouble(message)

    def durable(self, version: int, digest: str) -> None:
        """The journal is on disk up to `version`: acknowledge the ends that it holds."""
        self._head = (version, digest)
        ended: list[tuple[str, int]] = []
        while self._unacknowledged and self._unacknowledged[0][0] <= version:
            _, instance, run = self._unacknowledged.popleft()
            ended.append((instance, run))
        if ended:
            self._spawner.acknowledge(ended, version, digest)

    def take_over(self, rows: Sequence[Message], *, is_new_boot: bool) -> None:
        """Bring every record to what the guardian's table says; runs that nothing claims become an issue.

        What the table does not hold is decided before any row is taken: a row
        can lead to orders that the table does not hold either. For the same
        reason stops that were under way are gone on with first: what a row
        leads to is ordered by us, and once.
        """
        rows = sorted(rows, key=lambda row: row["run"])
        held = {(row["instance"], row["run"]) for row in rows}
        vanished = [
            (record.key, record.run)
            for record in self._registry.records("instance").values()
            if isinstance(record, InstanceRecord)
            and record.state in HAS_PROCESS
            and (record.key, record.run) not in held
        ]
        self._supervision.taking_over(held)
        if is_new_boot:
            self._take_new_boot(rows)
        else:
            self._go_on_stopping(rows)
        for row in rows:
            if not (is_new_boot and is_unseen(row)):
                self._take_row(row)
            if row["state"] == "ended":
                self._to_acknowledge(row["instance"], row["run"])
        if not is_new_boot:
            for key, run in vanished:
                self._supervision.feed(key, inputs.Vanished(run=run))
        self._supervision.taking_over(())
        self._tell_unclaimed(
            [row for row in rows if row["state"] != "ended" and self._record_of(row) is None]
        )

    def _take_new_boot(self, rows: Sequence[Message]) -> None:
        """The host was started anew: what lived before ended with it, later runs than the journal's too."""
        for row in rows:
            record = self._record_of(row)
            if is_unseen(row) and record is not None and row["run"] > record.run:
                self._supervision.feed(row["instance"], _found(row))
        for key in tuple(self._registry.records("instance")):
            self._supervision.feed(key, inputs.Rebooted())

    def _go_on_stopping(self, rows: Sequence[Message]) -> None:
        """The journal may hold a stop whose signal the guardian was never told to send."""
        for row in rows:
            record = self._record_of(row)
            if record is None or record.state is not State.STOPPING:
                continue
            is_news = record.pid is None and row["state"] == "running"  # found, and so signalled, in its turn
            if has_something_alive(row) and not is_news:
                self._supervision.feed(row["instance"], inputs.TakenOver(run=row["run"]))

    def _take_row(self, row: Message) -> None:
        """One run of the table: found first where the journal is behind, then its end if it has one."""
        record = self._record_of(row)
        if record is None or row["run"] < record.run:
            return
        if row["pid"] and (row["run"] > record.run or row["state"] == "running"):
            self._supervision.feed(row["instance"], _found(row))
        if row["state"] == "ended":
            failure = row.get("failure")
            end = _ended_row(row) if failure is None else _failed_row(row, failure)
            self._supervision.feed(row["instance"], end)

    def _record_of(self, row: Message) -> InstanceRecord | None:
        return self._registry.instance(row["instance"])

    def _to_acknowledge(self, instance: str, run: int) -> None:
        self._unacknowledged.append((self._registry.version, instance, run))
        if self._registry.version <= self._head[0]:
            self.durable(*self._head)

    def _refused(self, message: Message) -> None:
        """The guardian would not start it: it holds another run, or that number is used."""
        if message["live_run"] == message["run"]:
            return  # ordered twice; the one that lives is the one that was meant
        self._supervision.feed(
            message["instance"],
            inputs.StartFailed(
                run=message["run"], stage=REFUSED, errno=0, at=self._supervision.moment().wall
            ),
        )

    def _tell_unclaimed(self, rows: Sequence[Message]) -> None:
        """Runs of instances that are not in the registry."""
        named = [f"{row['instance']} (pid {row['pid']})" for row in rows]
        self._tell_orphans("runs", "belong to no configured instance", named)

    def _strangers(self, processes: Sequence[Message]) -> None:
        """Orphans under the guardian that no run claims."""
        named = [f"{each['name']} (pid {each['pid']})" for each in processes]
        self._tell_orphans("processes", "are orphans that no run claims", named)

    def _trouble(self, message: Message) -> None:
        """The guardian's counters of what must not be, told when they change."""
        counted = {name: message[name] for name in TROUBLE if message[name]}
        if not counted:
            self._issues.close(IssueKind.GUARDIAN, "guardian", "it is well")
            return
        text = "the guardian reports " + ", ".join(
            f"{count} {TROUBLE[name]}" for name, count in counted.items()
        )
        self._issues.open(IssueKind.GUARDIAN, "guardian", text, TROUBLE_REMEDY)

    def _tell_orphans(self, subject: str, what: str, named: Sequence[str]) -> None:
        """Such processes are shown as an issue, and never signalled."""
        if not named:
            self._issues.close(IssueKind.ORPHANS, subject, "they are gone")
            return
        more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
        text = f"{len(named)} processes {what}: {', '.join(named[:SHOWN])}{more}"
        self._issues.open(IssueKind.ORPHANS, subject, text, ORPHANS_REMEDY)


def has_something_alive(row: Message) -> bool:
    """Whether anything of the run is left that a signal could reach."""
    return row["state"] != "ended" or bool(row["leftovers"])


def is_unseen(row: Message) -> bool:
    """Whether the run is over and nobody can say how."""
    return bool(row["state"] == "ended" and row["status"] is None and row.get("failure") is None)


def _spawned(message: Message) -> inputs.Spawned:
    return inputs.Spawned(
        run=message["run"], pid=message["pid"], start_time=message["start_time"], at=message["at"]
    )


def _ended(message: Message) -> inputs.Ended:
    return inputs.Ended(
        run=message["run"], status=message["status"], at=message["at"], leftovers=message["leftovers"]
    )


def _start_failed(message: Message) -> inputs.StartFailed:
    return inputs.StartFailed(
        run=message["run"], stage=message["stage"], errno=message["errno"], at=message["at"]
    )


def _found(row: Message) -> inputs.Found:
    return inputs.Found(
        run=row["run"], pid=row["pid"], start_time=row["start_time"], spawned_at=row["spawned_at"]
    )


def _ended_row(row: Message) -> inputs.Ended:
    return inputs.Ended(
        run=row["run"],
        status=row["status"],
        at=row["ended_at"] or row["spawned_at"],
        leftovers=row["leftovers"],
    )


def _failed_row(row: Message, failure: Message) -> inputs.StartFailed:
    return inputs.StartFailed(
        run=row["run"],
        stage=failure["stage"],
        errno=failure["errno"],
        at=row["ended_at"] or row["spawned_at"],
    )

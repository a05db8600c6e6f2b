"""A registry that makes journals: its commits, and what every version of it looked like."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from droned.journal.codec import encode_commit
from droned.journal.format import GENESIS, KIND_BATCH, KIND_RECORD, digest_of, pack
from droned.journal.segments import SegmentHead, allocation, pack_head
from droned.models.events import EventType, Occurrence
from droned.models.policy import AppSpec, Launch
from droned.models.records import AppRecord, Exit, InstanceRecord, Record, State, Wanted
from droned.models.registry import Commit, Moment, Registry

States = dict[tuple[str, str], Record]


class World:
    """A registry with a few apps to which things happen, one commit at a time."""

    def __init__(self) -> None:
        self.registry = Registry(failed=lambda subscriber: None)
        self.commits: list[Commit] = []
        self.states: dict[int, States] = {0: {}}
        self.remembers = True
        """Whether commits and states are kept."""
        self.registry.subscribe(self._remember)

    def step(self) -> Commit:
        """The next thing that happens: an app is added, instances start, run, stop and go."""
        number = self.registry.version
        name = f"web{number // 40 % 3}"
        key = f"{name}/{number % 3}"
        found = self.registry.instance(key)
        changes: list[tuple[str, str, Record | None]] = []
        if self.registry.app(name) is None:
            spec = AppSpec(
                name=name, launch=Launch(command=("sleep", "1"), env=MappingProxyType({"A": "\udc80ü"}))
            )
            changes.append(("app", name, AppRecord(name=name, spec=spec, revision=number + 1)))
        if found is None:
            changes.append(("instance", key, InstanceRecord(key=key, app=name, label=key[-1])))
        elif number % 37 == 36:
            changes.append(("instance", key, None))
        else:
            changes.append(("instance", key, _lived(found, number)))
        occurred = Occurrence(
            type=EventType.INSTANCE_STARTED, subject=key, text=f"step {number}", data={"run": number}
        )
        return self.commit(changes, occurred, given=(key, "Spawned", {"pid": number}))

    def commit(
        self,
        changes: list[tuple[str, str, Record | None]],
        *occurred: Occurrence,
        given: tuple[str, str, Mapping[str, object]] | None = None,
    ) -> Commit:
        """Commit these changes as the next version."""
        number = self.registry.version
        moment = Moment(wall=1e9 + number / 8, mono=number / 8, draw=0.25)
        return self.registry.commit(changes, occurred, moment=moment, actor="test", cause=number, given=given)

    def steps(self, count: int) -> list[Commit]:
        """So many things that happen."""
        return [self.step() for _ in range(count)]

    def _remember(self, commit: Commit) -> None:
        if not self.remembers:
            return
        self.commits.append(commit)
        state = dict(self.states[commit.version - 1])
        for change in commit.changes:
            if change.after is None:
                state.pop((change.kind, change.key), None)
            else:
                state[change.kind, change.key] = change.after
        self.states[commit.version] = state


def _lived(record: InstanceRecord, number: int) -> InstanceRecord:
    match number % 4:
        case 0:
            return replace(record, state=State.STARTING, run=record.run + 1, pid=number, wanted=Wanted.UP)
        case 1:
            return replace(record, state=State.RUNNING, ready=True, started_at=float(number))
        case 2:
            ended = Exit(run=record.run, at=float(number), reason="exited 1", code=1)
            return replace(record, state=State.BACKOFF, pid=None, exit=ended, tries=record.tries + 1)
        case _:
            return replace(record, state=State.STOPPED, wanted=Wanted.DOWN, recent_mono=(1.5, float(number)))


def state_of(records: tuple[tuple[str, Record], ...]) -> States:
    """Records as `World.states` has them."""
    return {
        (kind, record.name if isinstance(record, AppRecord) else record.key): record
        for kind, record in records
    }


def segment_of(commits: list[Commit], batch: int = 4, previous: bytes = GENESIS) -> tuple[bytes, list[bytes]]:
    """A whole open segment of these commits in batches of so many, and the digest after each."""
    head = SegmentHead(first=commits[0].version, previous=previous, release="0.1.0", began=1e9)
    parts = [pack_head(head)]
    digests = []
    for index, commit in enumerate(commits):
        payload = encode_commit(commit)
        parts.append(pack(KIND_RECORD if index % batch else KIND_BATCH, commit.version, previous, payload))
        previous = digest_of(previous, commit.version, payload)
        digests.append(previous)
    content = b"".join(parts)
    return content.ljust(allocation(len(content)), b"\0"), digests

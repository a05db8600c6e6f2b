"""Records, apps and moments for the tests of the life of an instance."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from droned.lifecycle import inputs as i
from droned.lifecycle.outcome import Outcome
from droned.lifecycle.table import step
from droned.models.events import EventType
from droned.models.policy import AppSpec, Launch, RestartPolicy, StartPolicy
from droned.models.records import AppRecord, Due, DueKind, Exit, InstanceRecord, State, Then
from droned.models.registry import Moment

WALL = 1_000_000.0
MONO = 1_000.0

CRASH = 1 << 8
"""Wait status of `exit 1`."""
SUCCESS = 0
BY_TERM = 15
BY_KILL = 9


def at(seconds: float = 0.0, *, draw: float = 0.5, budget_wait_s: float = 0.0) -> Moment:
    """The moment `seconds` after the beginning of the test."""
    return Moment(wall=WALL + seconds, mono=MONO + seconds, draw=draw, budget_wait_s=budget_wait_s)


def app(*, revision: int = 1, grace_s: float = 1.0, **fields: Any) -> AppRecord:
    """An app `web` that executes `/bin/web`; `fields` as in AppSpec or in RestartPolicy."""
    restart = {key: fields.pop(key) for key in tuple(fields) if key in RestartPolicy.__struct_fields__}
    fields.setdefault("launch", Launch(command=("/bin/web",)))
    spec = AppSpec(
        name="web",
        origin="droned.yaml:3:3",
        restart=RestartPolicy(**restart),
        start=StartPolicy(grace_s=grace_s),
        **fields,
    )
    return AppRecord(name="web", spec=spec, revision=revision)


WEB = app()


def due(kind: DueKind, seconds: float = 1.0) -> Due:
    """A due that many seconds after the beginning of the test."""
    return Due(kind=kind, at_mono=MONO + seconds, at=WALL + seconds)


CRASHED = Exit(run=3, at=WALL, reason="exited 1", code=1)

_FIELDS: dict[State, dict[str, Any]] = {
    State.STOPPED: {},
    State.WAITING: {"due": due(DueKind.START)},
    State.STARTING: {"due": due(DueKind.GRACE)},
    State.RUNNING: {"ready": True},
    State.STOPPING: {"due": due(DueKind.STOP, 10.0), "stop_step": 0},
    State.BACKOFF: {"due": due(DueKind.START), "exit": CRASHED, "tries": 1},
    State.EXITED: {"exit": CRASHED},
    State.FAILED: {"due": due(DueKind.RETRY, 300.0), "exit": CRASHED, "note": "gave up: 10 restarts in 10m"},
    State.UNKNOWN: {"exit": Exit(run=3, at=WALL, reason="its end could not be seen")},
}
_PROCESS: dict[str, Any] = {
    "pid": 4711,
    "start_time": 99,
    "started_at": WALL - 5.0,
    "started_mono": MONO - 5.0,
}


def record(state: State, **fields: Any) -> InstanceRecord:
    """`web/0` in `state`, on its third run, wanted and enabled unless `fields` say otherwise.

    Where there is a process it has run for five seconds.
    """
    has_process = state in (State.STARTING, State.RUNNING, State.STOPPING)
    base: dict[str, Any] = {
        "key": "web/0",
        "app": "web",
        "label": "0",
        "run": 3,
        "revision": 1,
        "since": WALL,
    }
    base |= {"started_at": WALL - 5.0, "started_mono": MONO - 5.0} | (_PROCESS if has_process else {})
    return InstanceRecord(state=state, **(base | _FIELDS[state] | fields))


def in_setup(**fields: Any) -> InstanceRecord:
    """`web/0`, ordered and not heard of yet."""
    nothing: dict[str, Any] = {"pid": None, "start_time": None, "started_at": None, "started_mono": None}
    return record(State.STARTING, **(nothing | {"due": None} | fields))


def after_main(then: Then, **fields: Any) -> InstanceRecord:
    """`web/0` while what is left of its tree is being ended."""
    gone: dict[str, Any] = {"pid": None, "start_time": None, "exit": CRASHED, "stop_step": 1, "then": then}
    return record(State.STOPPING, **(gone | fields))


def ended(status: int | None = CRASH, *, run: int = 3, leftovers: int = 0, at_s: float = 0.0) -> i.Ended:
    """The end of a run's main process."""
    return i.Ended(run=run, status=status, at=WALL + at_s, leftovers=leftovers)


def spawned(run: int = 3, pid: int = 4712) -> i.Spawned:
    """The news that a run executes its program."""
    return i.Spawned(run=run, pid=pid, start_time=100, at=WALL)


def found(run: int = 3, pid: int = 4712, spawned_at: float = WALL - 60.0) -> i.Found:
    """A living process in the guardian's table."""
    return i.Found(run=run, pid=pid, start_time=100, spawned_at=spawned_at)


def not_started(stage: str = "limits", errno: int = 1, run: int = 3) -> i.StartFailed:
    """A start that failed."""
    return i.StartFailed(run=run, stage=stage, errno=errno, at=WALL)


def take(given: InstanceRecord, *inputs: i.Input, web: AppRecord = WEB, seconds: float = 0.0) -> Outcome:
    """The outcome of the last of `inputs`; every one is taken at the same moment."""
    outcome = Outcome(record=given)
    for each in inputs:
        assert outcome.record is not None
        outcome = step(outcome.record, web, each, at(seconds))
    return outcome


def after(
    given: InstanceRecord, *inputs: i.Input, web: AppRecord = WEB, seconds: float = 0.0
) -> InstanceRecord:
    """The record after `inputs`."""
    became = take(given, *inputs, web=web, seconds=seconds).record
    assert became is not None
    return became


def types(outcome: Outcome) -> list[EventType]:
    """The types of what happened."""
    return [each.type for each in outcome.occurrences]


def texts(outcome: Outcome) -> str:
    """What is told of an outcome."""
    return "\n".join(each.text for each in outcome.occurrences)


def signals(outcomes: Iterable[Outcome]) -> list[tuple[int, str]]:
    """Numbers and receivers of the signals that were ordered."""
    return [
        (effect.number, str(effect.to))
        for outcome in outcomes
        for effect in outcome.effects
        if isinstance(effect, i.Signal)
    ]


def with_run(given: InstanceRecord, run: int) -> InstanceRecord:
    """The record on another run."""
    return replace(given, run=run)

"""The table drawn for readers: its cells as an RST table, and the arrows between the states.

The arrows are not written anywhere: they are found by taking a step from
every representative record with every representative input. `drawn()` is
what `docs/design/lifecycle.rst` holds between its two marks; a test compares,
and `python -m droned.lifecycle.diagram` prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from msgspec.structs import replace

from droned.errors import NotNow
from droned.lifecycle import inputs as i
from droned.lifecycle.table import MATRIX, STATES, step
from droned.models.policy import AppSpec, Launch, Leftovers, RestartLimit, RestartPolicy, RestartWhen
from droned.models.records import AppRecord, Due, DueKind, Exit, InstanceRecord, State, Then, Wanted
from droned.models.registry import Moment

GONE = "gone"
"""Where an arrow ends when the record is dropped."""

NOW = Moment(wall=1_000_000.0, mono=1_000.0, draw=0.5)
SAYS_NOTHING = "·"


def drawn() -> str:
    """Cells, rules and arrows as RST, with a newline at the end."""
    parts = ("Cells", cells(), "Rules", rules(), "Arrows", arrows())
    return "\n".join(
        f"{text}\n{'-' * len(text)}\n" if index % 2 == 0 else text for index, text in enumerate(parts)
    )


def cells() -> str:
    """The matrix as an RST table: inputs down, states across, the name of the rule in each cell."""
    head = ["input", *(str(state) for state in STATES)]
    rows = [[given.__name__, *(_named(rule.__name__) for rule in row)] for given, row in MATRIX.items()]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    rule = "  ".join("=" * width for width in widths)
    return "\n".join((rule, _line(head, widths), rule, *(_line(row, widths) for row in rows), rule, ""))


def rules() -> str:
    """What each rule does, in the first line of its docstring, by name."""
    by_name = {rule.__name__: rule for row in MATRIX.values() for rule in row}
    lines = []
    for name in sorted(by_name):
        says = (by_name[name].__doc__ or "").strip().splitlines()[0]
        lines.append(f"{_named(name)}\n    {says}\n")
    return "\n".join(lines)


def arrows() -> str:
    """One line an arrow: from, to, and the inputs that can lead there."""
    found = transitions()
    ends = (*(str(state) for state in STATES), GONE)
    lines = [
        f"    {start:<9} -> {end:<9} {', '.join(found[start, end])}"
        for start, end in product(ends, ends)
        if (start, end) in found
    ]
    return "::\n\n" + "\n".join(lines) + "\n"


def transitions() -> Mapping[tuple[str, str], Sequence[str]]:
    """The inputs, in the order of the table, that can lead from a state to another one."""
    found: dict[tuple[str, str], set[type[i.Input]]] = {}
    for record, app, given in product(_records(), tuple(_apps()), tuple(_inputs())):
        try:
            became = step(record, app, given, NOW).record
        except NotNow:
            continue
        end = GONE if became is None else str(became.state)
        if end != record.state:
            found.setdefault((str(record.state), end), set()).add(type(given))
    return {ends: tuple(kind.__name__ for kind in MATRIX if kind in kinds) for ends, kinds in found.items()}


# --- what stands for all others


def _apps() -> Iterator[AppRecord]:
    policies = (
        RestartPolicy(),
        RestartPolicy(policy=RestartWhen.ALWAYS, delay_s=0.0),
        RestartPolicy(policy=RestartWhen.NEVER),
        RestartPolicy(limit=RestartLimit(count=0, within_s=60.0)),
    )
    for policy, leftovers in product(policies, Leftovers):
        spec = AppSpec(name="web", launch=Launch(command=("web",)), restart=policy, leftovers=leftovers)
        yield AppRecord(name="web", spec=spec, revision=1)


def _inputs() -> Iterator[i.Input]:
    """Every input, in the order of the table; of an observation, every kind that rules tell apart."""
    for kind in MATRIX:
        if kind is i.SendSignal:
            yield i.SendSignal(number=15, to="main")
        elif kind is i.Spawned:
            yield i.Spawned(run=3, pid=7, start_time=9, at=NOW.wall)
        elif kind is i.StartFailed:
            yield from (i.StartFailed(run=3, stage=stage, errno=2, at=NOW.wall) for stage in ("exec", "fork"))
        elif kind is i.Ended:
            for status, leftovers in product((0, 256, None), (0, 1)):
                yield i.Ended(run=3, status=status, at=NOW.wall, leftovers=leftovers)
        elif kind is i.Found:
            for run, age_s in product((3, 4), (0.0, 60.0)):
                yield i.Found(run=run, pid=7, start_time=9, spawned_at=NOW.wall - age_s)
        elif kind in (i.TreeGone, i.TakenOver, i.Vanished):
            with_run: Any = kind
            yield with_run(run=3)
        elif kind is i.Elapsed:
            yield from (i.Elapsed(kind=due) for due in DueKind)
        else:
            without_fields: Any = kind
            yield without_fields()


ENDS = (
    None,
    Exit(run=3, at=NOW.wall, reason="exited 1", code=1),
    Exit(run=3, at=NOW.wall, reason="its end could not be seen"),
    Exit(run=3, at=NOW.wall, reason="no such program", stage="exec", errno=2),
)
DUE_IN: Mapping[State, tuple[DueKind, ...]] = {
    State.WAITING: (DueKind.START,),
    State.STARTING: (DueKind.GRACE,),
    State.STOPPING: (DueKind.STOP,),
    State.BACKOFF: (DueKind.START,),
    State.FAILED: (DueKind.RETRY, DueKind.LOOK),
}


def _records() -> Iterator[InstanceRecord]:
    """Records that can come to be: with and without a process, wanted or not, enabled or not."""
    for state, wanted, enabled in product(STATES, Wanted, (True, False)):
        is_up = state in (State.STARTING, State.RUNNING, State.BACKOFF, State.WAITING)
        if is_up and wanted is Wanted.DOWN:
            continue
        plain = InstanceRecord(
            key="web/0", app="web", label="0", run=3, state=state, wanted=wanted, enabled=enabled
        )
        for kind in DUE_IN.get(state, (None,)):
            due = None if kind is None else Due(kind=kind, at_mono=NOW.mono, at=NOW.wall)
            yield from _variants(replace(plain, due=due))


def _variants(record: InstanceRecord) -> Iterable[InstanceRecord]:
    running = replace(record, pid=7, start_time=9, started_mono=NOW.mono - 5.0)
    if record.state is State.RUNNING:
        yield running
    elif record.state is State.STARTING:
        yield from (running, replace(record, due=None))
    elif record.state is State.STOPPING:
        for then in Then:
            for each in (running, record, replace(record, exit=ENDS[1])):
                yield replace(each, then=then, stop_step=0)
    else:
        yield from (replace(record, exit=end) for end in ENDS)


def _named(name: str) -> str:
    return SAYS_NOTHING if name == "same" else name.replace("_", " ")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


if __name__ == "__main__":
    print(drawn(), end="")

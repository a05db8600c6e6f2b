"""The checker: what was seen from outside against what was ordered and what droned says it remembers.

Pure: histories in, faults in words out. The rules:

* One instance, one process: two living processes under one name are a fault,
  however short (`doubled`).
* What nobody touched is never touched: one process from beginning to end
  (`disturbed`).
* An acknowledged command is done, once: each `restart` and each `start` of
  something stopped accounts for exactly one new process, between its order and
  its end; a `stop` for none until the next start (`disobeyed`). A command whose
  answer was lost is repeated under the same key until it is answered, so in the
  end every command counts.
* Every end is remembered as it was: run *n* of an instance is the *n*th program
  that stamped itself under its name, and droned's record of that run must tell
  the same code or signal (`misremembered`).
* What droned shows is what is (`shown_wrong`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.observer import History, Life
from tests.faults.stamps import Stamp

UNKNOWN = "unknown"
"""How a record that tells neither code nor signal is written here."""

LATE_S = 0.25
"""How much later than it happened a thing may be seen, on a busy machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One command to one instance, and what was heard of it."""

    key: str
    """Its idempotency key."""
    command: str
    instance: str
    issued_s: float
    answered_s: float | None = None
    """When the receipt came; None: refused, or never answered."""
    refusal: str | None = None
    ended_s: float | None = None
    """When its action was seen to have ended."""
    state: str | None = None
    """How the action ended: `succeeded` or `failed`."""
    tries: int = 1
    durable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of an instance, as its program and the observer tell together."""

    pid: int
    exec_s: float
    """Monotonic seconds, exact."""
    gone_s: float | None
    """When it had gone at the latest; None while it lives."""
    end: str | None


def doubled(history: History) -> list[str]:
    """Names under which two processes lived at once."""
    found = []
    for name, lives in history.by_name().items():
        latest: Life | None = None
        for life in sorted(lives, key=lambda one: one.seen):
            if latest is not None and (latest.gone is None or latest.gone > life.seen):
                found.append(f"{name}: two at once, pid {latest.pid} and pid {life.pid}")
            if latest is None or latest.gone is not None:
                latest = life
    return found


def disturbed(history: History, names: Iterable[str]) -> list[str]:
    """Those of `names` that did not keep one and the same process."""
    lives = history.by_name()
    found = []
    for name in names:
        own = lives.get(name, ())
        if not own:
            found.append(f"{name}: never seen")
        elif len(own) > 1:
            found.append(f"{name}: {len(own)} processes instead of one: {_ends(own)}")
        elif own[0].gone is not None:
            found.append(f"{name}: lost, pid {own[0].pid} ended with {own[0].end}")
    return found


def runs_of(stamps: Iterable[Stamp], history: History) -> dict[str, tuple[Run, ...]]:
    """Every run by the name of its instance, in order: told by the programs, their ends by the observer.

    A process that lived too short to be seen had gone when the next of its
    name began; one that was never seen and has no successor had gone as well.
    """
    seen = {(life.name, life.pid): life for life in history.lives}
    by_name: dict[str, list[Stamp]] = {}
    for stamp in stamps:
        by_name.setdefault(stamp.name, []).append(stamp)
    found: dict[str, tuple[Run, ...]] = {}
    for name, own in by_name.items():
        runs = []
        for stamp, successor in zip(own, [*own[1:], None], strict=True):
            life = seen.get((name, stamp.pid))
            gone_s = stamp.exec_ns / 1e9 if life is None else life.gone_s
            if successor is not None:
                gone_s = min(gone_s or math.inf, successor.exec_ns / 1e9)
            end = life.end if life is not None else None
            runs.append(Run(pid=stamp.pid, exec_s=stamp.exec_ns / 1e9, gone_s=gone_s, end=end))
        found[name] = tuple(runs)
    return found


def disobeyed(orders: Sequence[Order], runs: Sequence[Run], late_s: float = LATE_S) -> list[str]:
    """What one instance did other than its orders said, which came one after the other."""
    rest = list(runs)
    found: list[str] = []
    now: Run | None = rest.pop(0) if rest else None
    if now is None:
        return ["never started"]
    for number, order in enumerate(orders, 1):
        what = f"order {number}, {order.command}"
        if order.refusal is not None:
            found.append(f"{what}: refused: {order.refusal}")
            continue
        if order.ended_s is None:
            found.append(f"{what}: acknowledged {order.answered_s is not None}, but not seen to end")
            continue
        if order.state != "succeeded":
            found.append(f"{what}: {order.state}")
        if order.command in ("stop", "restart"):
            if now is not None and (now.gone_s is None or now.gone_s > order.ended_s + late_s):
                found.append(f"{what}: pid {now.pid} lived on after it had ended")
            if now is not None and now.gone_s is not None and now.gone_s < order.issued_s:
                found.append(f"{what}: pid {now.pid} had gone before it was given")
            now = None
        following_s = orders[number].issued_s if number < len(orders) else math.inf
        begun = []
        while rest and rest[0].exec_s < following_s:
            begun.append(rest.pop(0))
        found += [
            f"{what}: pid {run.pid} without an order"
            for run in begun
            if not order.issued_s <= run.exec_s <= order.ended_s + LATE_S
        ]
        wanted = 1 if order.command in ("start", "restart") and now is None else 0
        if len(begun) > wanted:
            again = f" (given {order.tries} times until it was answered)" if order.tries > 1 else ""
            found.append(f"{what}: {len(begun)} processes instead of {wanted}{again}")
        if len(begun) < wanted:
            found.append(f"{what}: no process came of it")
        now = begun[-1] if begun else now
    found += [f"pid {run.pid} without an order" for run in rest]
    if now is not None and now.gone_s is not None and not rest:
        found.append(f"pid {now.pid} ended ({now.end}) without an order")
    return found


def truths(stamps: Iterable[Stamp], history: History) -> dict[tuple[str, int], str]:
    """How every ended run ended, by instance and run number: `7`, `s9`.

    A run has ended when it was seen to, or when a later run of its name has
    begun. What the kernel told counts before what the program had meant to do;
    the last run of a name counts only with the former, since it may have been
    stopped before it could do what it meant to.
    """
    ends = {(life.name, life.pid): life.end for life in history.lives if life.gone is not None}
    runs: dict[str, list[Stamp]] = {}
    for stamp in stamps:
        runs.setdefault(stamp.name, []).append(stamp)
    found: dict[tuple[str, int], str] = {}
    for name, own in runs.items():
        for run, stamp in enumerate(own, 1):
            end = ends.get((name, stamp.pid)) or (stamp.end if run < len(own) else None)
            if end is not None:
                found[name, run] = end
    return found


def misremembered(truth: Mapping[tuple[str, int], str], told: Mapping[tuple[str, int], str]) -> list[str]:
    """Ends that droned does not tell, or tells otherwise."""
    found = []
    for (name, run), end in truth.items():
        said = told.get((name, run), "nothing of it")
        if said != end:
            found.append(f"{name} run {run}: ended with {end}, droned tells {said}")
    return found


def shown_wrong(rows: Mapping[str, Mapping[str, Any]], history: History) -> list[str]:
    """Instances that droned shows otherwise than they are: `rows` by key, of nothing that moves just now."""
    alive = {life.name: life.pid for life in history.lives if life.gone is None}
    return [
        f"{key}: droned shows {row['state']} with pid {row['pid']}, alive is {alive.get(key)}"
        for key, row in rows.items()
        if row["pid"] != alive.get(key) or (row["state"] == "running") != (key in alive)
    ]


def told_by(events: Iterable[Mapping[str, object]]) -> dict[tuple[str, int], str]:
    """The ends that droned's events tell, by instance and run number.

    An event tells an end when its data has a `run` and the keys `code` and
    `signal`, of which at most one has a value.
    """
    found: dict[tuple[str, int], str] = {}
    for event in events:
        facts = event["data"]
        assert isinstance(facts, Mapping)
        if {"run", "code", "signal"} <= facts.keys() and facts.get("stage") is None:
            found[str(event["subject"]), int(facts["run"])] = _end(facts)
    return found


def told_by_exits(key: str, exits: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int], str]:
    """The ends that the description of one instance tells: its last ones."""
    return {(key, int(facts["run"])): _end(facts) for facts in exits if facts.get("stage") is None}


def _end(facts: Mapping[str, Any]) -> str:
    code, number = facts["code"], facts["signal"]
    return f"s{number}" if number is not None else UNKNOWN if code is None else f"{code}"


def _ends(lives: Sequence[Life]) -> str:
    return ", ".join(f"{life.pid} ({'alive' if life.gone is None else life.end})" for life in lives)

"""Orders that the guardian has not answered yet, and ends that it may tell twice.

Only for the moment when a guardian is replaced: its successor knows every run
and every end, but not what was in the socket of the one that died.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Any

from droned.guardian.wire import Ended, Row, Spawned, SpawnFailed, TreeGone

Key = tuple[str, int]
_REMEMBERED = 20_000


class Awaited:
    """What was said and not answered, what was told and not acknowledged."""

    def __init__(self) -> None:
        self._spawns: dict[Key, Mapping[str, Any]] = {}
        self._signals: dict[tuple[str, int, int, str], Mapping[str, Any]] = {}
        self._told: set[Key] = set()
        self._with_leftovers: set[Key] = set()
        self._acknowledged: dict[Key, None] = {}

    def sent(self, message: Mapping[str, Any]) -> None:
        """An order has been given."""
        match message["type"]:
            case "spawn":
                self._spawns[message["instance"], message["run"]] = message
            case "signal":
                self._signals[_signal_key(message)] = message
            case "ack":
                for instance, run in message["ended"]:
                    self._told.discard((instance, run))
                    self._acknowledged[instance, run] = None
                while len(self._acknowledged) > _REMEMBERED:
                    del self._acknowledged[next(iter(self._acknowledged))]

    def answered(self, message: Mapping[str, Any]) -> None:
        """The guardian has told something."""
        match message["type"]:
            case "spawned" | "refused":
                self._spawns.pop((message["instance"], message["run"]), None)
            case "spawn_failed":
                self._spawns.pop((message["instance"], message["run"]), None)
                self._told.add((message["instance"], message["run"]))
            case "ended":
                self._told.add((message["instance"], message["run"]))
                if message["leftovers"]:
                    self._with_leftovers.add((message["instance"], message["run"]))
            case "tree_gone":
                self._with_leftovers.discard((message["instance"], message["run"]))
            case "signalled":
                self._signals.pop(_signal_key(message), None)

    def missed(self, rows: list[Row], known: Container[Key]) -> Iterator[Mapping[str, Any]]:
        """What a successor's table tells that was never heard, as messages; `known` are the live runs."""
        listed = {(row["instance"], row["run"]): row for row in rows}
        for key, row in listed.items():
            if key in self._told or key in self._acknowledged:
                continue
            if key not in known and row["failure"] is None and row["pid"]:
                yield _spawned(row)
            if row["state"] == "ended":
                yield _failed(row) if row["failure"] is not None else _ended(row)
        for instance, run in list(self._with_leftovers):
            found = listed.get((instance, run))
            if found is None or not found["leftovers"]:
                yield TreeGone(type="tree_gone", instance=instance, run=run)

    def unanswered(self, rows: list[Row]) -> Iterator[Mapping[str, Any]]:
        """The orders to give again, in their order: acknowledgements, starts, signals."""
        listed = {(row["instance"], row["run"]): row for row in rows}
        again = [[*key] for key in listed if key in self._acknowledged]
        if again:
            yield {"type": "ack", "ended": again, "head": None}
        spawns, self._spawns = self._spawns, {}
        for key, order in spawns.items():
            if key not in listed:
                yield order
        signals, self._signals = self._signals, {}
        for (instance, run, _, _), order in signals.items():
            row = listed.get((instance, run))
            if (row is not None and (row["state"] != "ended" or row["leftovers"])) or (
                instance,
                run,
            ) in spawns:
                yield order


def _signal_key(message: Mapping[str, Any]) -> tuple[str, int, int, str]:
    return message["instance"], message["run"], message["signal"], message["to"]


def _spawned(row: Row) -> Spawned:
    return {
        "type": "spawned",
        "instance": row["instance"],
        "run": row["run"],
        "pid": row["pid"],
        "start_time": row["start_time"],
        "at": row["spawned_at"],
    }


def _ended(row: Row) -> Ended:
    return {
        "type": "ended",
        "instance": row["instance"],
        "run": row["run"],
        "status": row["status"],
        "at": row["ended_at"] or row["spawned_at"],
        "cpu_s": row["cpu_s"],
        "max_rss_bytes": row["max_rss_bytes"],
        "leftovers": row["leftovers"],
    }


def _failed(row: Row) -> SpawnFailed:
    failure = row["failure"] or {"stage": "fork", "errno": 0}
    return {
        "type": "spawn_failed",
        "instance": row["instance"],
        "run": row["run"],
        "stage": failure["stage"],
        "errno": failure["errno"],
        "at": row["ended_at"] or row["spawned_at"],
    }

"""The same as logs-big, with and without readers of the API at full load beside it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import observe
from benchmarks.figures import Effort, Figure, Series
from benchmarks.managers.base import App, Failed, Manager
from benchmarks.managers.droned import Droned
from benchmarks.rows import printing
from benchmarks.rows.row import Row
from tests.faults import processes
from tests.faults.api import Refused, Unanswered

FOLLOWERS = 2
SEARCHERS = 2
ROUNDS = 3


def _apps(effort: Effort) -> Sequence[App]:
    return printing.printers(1, effort.printed_bytes, printing.CHUNK_BYTES)


@dataclass(slots=True)
class Readers:
    """Clients that take whatever the API gives, each in a thread of its own; a context manager."""

    manager: Droned
    bytes: int = 0
    answers: int = 0
    refusals: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Readers:
        questions = ["/logs?target=web&last=10&follow=true"] * FOLLOWERS
        questions += ["/logs?target=web&since=10m&grep=ERROR"] * SEARCHERS
        for question in questions:
            thread = threading.Thread(target=self._read, args=(question,))
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _read(self, question: str) -> None:
        while not self._over.is_set():
            with contextlib.closing(self.manager.api.stream(question)) as parts:
                try:
                    for part in parts:
                        self.bytes += len(part)
                        if self._over.is_set():
                            return
                    self.answers += 1
                except Unanswered:
                    if not self._over.is_set():
                        raise
                except Refused:
                    # So many readers at once are too many: come again, as it says.
                    self.refusals += 1
                    time.sleep(0.1)


def measure(manager: Manager, effort: Effort) -> Series:
    """MB/s without and with readers, in turn; and one by the other."""
    assert isinstance(manager, Droned)
    names = sorted(manager.running)
    without, beside, shares = [], [], []
    read = 0.0
    for _ in range(1 if effort.is_quick else ROUNDS):
        observe.become_quiet(manager.own_pids())
        without.append(printing.printed(manager, names).mb_per_s)
        observe.become_quiet(manager.own_pids())
        with Readers(manager) as readers:
            if not processes.until(lambda: readers.bytes > 0, 5.0):
                raise Failed("the API gives nothing to read")
            beside.append(printing.printed(manager, names).mb_per_s)
        read += readers.bytes / 1e6
        shares.append(beside[-1] / without[-1])
    return {"api_mb_per_s": beside, "api_share": shares, "api_read_mb": [read]}


ROW = Row(
    name="logs-api",
    measure=measure,
    managers=("droned",),
    apps=_apps,
    once=True,
    figures=(
        Figure(
            series="api_mb_per_s",
            title="one program prints 1 GiB beside two followers and two searchers of the API",
            unit="MB/s",
            target="",
        ),
        Figure(
            series="api_share",
            title="the same as a share of what it is without them",
            unit="×",
            target="≥ 0.9",
            at_least=0.9,
        ),
    ),
)

"""The service `forward`: which sinks there are follows the configuration, and costs nothing without any."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Collection
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred

from droned.models.sinks import Address, Sink, SinkKind
from droned.services.forward import ForwardService

ROOT = Path(__file__).resolve().parents[2]
PORT = 514


def sink(name: str, port: int = PORT) -> Sink:
    return Sink(name=name, kind=SinkKind.SYSLOG, address=Address(scheme="udp", host="far", port=port))


class Place:
    """A service over sinks that only say what they are told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.kept: list[tuple[str, ...]] = []
        self.stopping: Deferred[None] | None = None
        self.failing = ""
        self.service = ForwardService(
            make=self._make,
            keep_only=self._keep_only,
            run=self._run,
        )

    def _run(self, work: Awaitable[object], what: str) -> None:
        running: Deferred[object] = Deferred.fromCoroutine(work)  # type: ignore[arg-type]  # a coroutine
        running.addErrback(lambda failure: self.told.append(f"failed: {failure.value}"))

    async def _make(self, made: Sink, is_new: bool) -> OneFake:
        return OneFake(self, made, is_new)

    async def _keep_only(self, names: Collection[str]) -> None:
        self.kept.append(tuple(sorted(names)))

    def news(self) -> list[str]:
        told, self.told = self.told, []
        return told


class OneFake:
    """One sink."""

    def __init__(self, place: Place, made: Sink, is_new: bool) -> None:
        self.sink = made
        self.note = f"{made.name} at {made.address.port}"
        self._place = place
        self._is_new = is_new

    async def begin(self) -> None:
        if self._place.failing == self.sink.name:
            raise OSError("no")
        self._place.told.append(f"{'new' if self._is_new else 'old'} {self.note}")

    async def stop(self) -> None:
        if self._place.stopping is not None:
            await self._place.stopping
        self._place.told.append(f"end {self.note}")


def test_sinks_follow_the_configuration() -> None:
    place = Place()
    place.service.configure((sink("a"), sink("b")))
    assert place.news() == []
    assert place.service.note == "no sinks"
    place.service.startService()
    assert place.news() == ["old a at 514", "old b at 514"]
    assert place.service.note == "a at 514; b at 514"
    # Only what differs is touched.
    place.service.configure((sink("b", 515), sink("c"), sink("a")))
    assert place.news() == ["end b at 514", "new b at 515", "new c at 514"]
    place.service.configure((sink("a"), sink("b", 515), sink("c")))
    place.service.configure(())
    assert sorted(place.news()) == ["end a at 514", "end b at 515", "end c at 514"]
    assert place.kept == [("a", "b"), ("a", "b", "c"), ("a", "b", "c"), ()]


def test_a_stop_waits_for_every_sink_and_a_start_begins_anew() -> None:
    place = Place()
    place.service.configure((sink("a"),))
    place.service.startService()
    place.news()
    place.stopping = stopping = Deferred[None]()
    stopped = place.service.stopService()
    place.service.configure((sink("b"),))
    assert place.news() == []
    place.stopping = None
    stopping.callback(None)
    assert stopped.called
    assert place.news() == ["end a at 514"]
    place.service.startService()
    assert place.news() == ["old b at 514"]


def test_changes_take_their_turns() -> None:
    place = Place()
    place.service.configure((sink("a"),))
    place.service.startService()
    stopping: Deferred[None] = Deferred()
    place.stopping = stopping
    place.service.configure((sink("b"),))
    place.service.configure((sink("c"),))
    place.news()
    place.stopping = None
    stopping.callback(None)
    assert place.news() == ["end a at 514", "new b at 514", "end b at 514", "new c at 514"]


def test_a_sink_that_cannot_begin_is_tried_with_the_next_change() -> None:
    place = Place()
    place.service.startService()
    place.failing = "a"
    place.service.configure((sink("a"),))
    assert place.news() == ["failed: no"]
    place.failing = ""
    place.service.configure((sink("a"), sink("b")))
    assert place.news() == ["new a at 514", "new b at 514"]


def test_nothing_of_it_is_imported_without_a_sink() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from droned.daemon.main import install_reactor; install_reactor('epoll')\n"
        "import droned.daemon.run, droned.services.api, json; print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    heavy = ("droned.protocols", "droned.daemon.sinks", "droned.services.forwarding", "droned.drivers.sink_")
    assert "droned.services.forward" in loaded
    assert not [name for name in loaded if name.startswith(heavy)]
    assert not loaded & {"OpenSSL", "twisted.web.client", "twisted.internet.endpoints"}


@pytest.mark.parametrize("is_secure", [False, True])
def test_openssl_is_imported_for_https_alone(is_secure: bool) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from droned.daemon.main import install_reactor; install_reactor('epoll')\n"
        "from droned.drivers.sink_loki import import_client\n"
        "import_client(is_secure=False).Agent\n"
        f"import_client(is_secure={is_secure})\n"
        "print('OpenSSL' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{is_secure}\n"

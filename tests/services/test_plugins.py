"""Services: a failing one, in whatever phase, is shown failed and the rest run."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.application.service import Service as TwistedService
from twisted.internet.defer import Deferred, fail
from zope.interface.verify import verifyObject

from droned.errors import CannotRun
from droned.models.ports import IServicePlugin
from droned.services.plugins import Plugin, Service, Services
from tests.services.spine import result_of


class Recorded(TwistedService):
    """A service that notes what is done to it, and fails where it is told to."""

    def __init__(self, name: str, done: list[str], fails_in: str = "") -> None:
        self.name = name
        self._done = done
        self._fails_in = fails_in

    def startService(self) -> Any:
        if self._fails_in == "start":
            raise RuntimeError("no start")
        if self._fails_in == "start later":
            return fail(RuntimeError("no start"))
        self._done.append(f"start {self.name}")
        return super().startService()

    def stopService(self) -> Any:
        if self._fails_in == "stop":
            raise RuntimeError("no stop")
        self._done.append(f"stop {self.name}")
        return super().stopService()


def failing(phase: str, done: list[str]) -> Plugin:
    """A plugin that fails in this phase."""

    def check(settings: object) -> list[str]:
        if phase == "check":
            raise RuntimeError("no check")
        return ["its settings are wrong"] if phase == "settings" else []

    def make(context: object) -> Recorded:
        if phase == "make":
            raise CannotRun("cannot be made")
        return Recorded("bad", done, phase)

    return Plugin("bad", make, check=check)


def services(*plugins: Plugin) -> tuple[Services, list[tuple[str, str]], list[str]]:
    """Services of these plugins, the changes of state they told, and the failures they logged."""
    changes: list[tuple[str, str]] = []
    failures: list[str] = []

    def changed(service: Service, before: str) -> None:
        changes.append((service.name, service.state))

    return Services(plugins, changed=changed, log_failure=failures.append), changes, failures


@pytest.mark.parametrize("phase", ["check", "settings", "make", "start", "start later"])
def test_a_service_that_fails_in_a_phase_is_shown_and_the_others_run(phase: str) -> None:
    done: list[str] = []
    first = Plugin("first", lambda context: Recorded("first", done))
    last = Plugin("last", lambda context: Recorded("last", done))
    all_, changes, _ = services(first, failing(phase, done), last)
    result_of(all_.start(None, None))
    assert [(each["name"], each["state"]) for each in all_.shown()] == [
        ("first", "running"),
        ("bad", "failed"),
        ("last", "running"),
    ]
    assert all_.shown()[1]["note"]
    assert ("bad", "failed") in changes
    result_of(all_.stop())
    assert done == ["start first", "start last", "stop last", "stop first"]


def test_a_service_that_fails_to_stop_does_not_keep_the_others_from_it() -> None:
    done: list[str] = []
    first = Plugin("first", lambda context: Recorded("first", done))
    all_, _, failures = services(first, failing("stop", done))
    result_of(all_.start(None, None))
    result_of(all_.stop())
    assert [each["state"] for each in all_.shown()] == ["stopped", "failed"]
    assert failures == ["the service bad (stop)"]


def test_a_service_whose_need_failed_is_not_started() -> None:
    done: list[str] = []
    needy = Plugin("needy", lambda context: Recorded("needy", done), needs=("bad",))
    all_, _, _ = services(failing("make", done), needy)
    result_of(all_.start(None, None))
    assert [each["state"] for each in all_.shown()] == ["failed", "failed"]
    assert "bad" in all_.shown()[1]["note"]


def test_the_next_service_waits_until_the_one_before_has_started() -> None:
    started: Deferred[None] = Deferred()

    class Slow(TwistedService):
        def startService(self) -> Any:
            super().startService()
            return started

    all_, _, _ = services(
        Plugin("slow", lambda context: Slow()), Plugin("next", lambda context: Recorded("next", []))
    )
    Deferred.fromCoroutine(all_.start(None, None))
    assert [each["state"] for each in all_.shown()] == ["starting", "stopped"]
    started.callback(None)
    assert [each["state"] for each in all_.shown()] == ["running", "running"]


def test_a_service_may_be_made_later() -> None:
    done: list[str] = []
    made: Deferred[Recorded] = Deferred()
    all_, _, _ = services(Plugin("late", lambda context: made))
    Deferred.fromCoroutine(all_.start(None, None))
    assert [each["state"] for each in all_.shown()] == ["starting"]
    made.callback(Recorded("late", done))
    assert [each["state"] for each in all_.shown()] == ["running"]


def test_a_plugin_made_of_functions_is_a_service_plugin() -> None:
    assert verifyObject(IServicePlugin, Plugin("name", lambda context: None))


def test_what_failed_is_started_again_when_asked_and_with_it_what_needed_it() -> None:
    done: list[str] = []
    is_mended: list[bool] = []

    def make(context: object) -> Recorded:
        if not is_mended:
            raise CannotRun("cannot be made yet")
        return Recorded("bad", done)

    bad = Plugin("bad", make)
    sound = Plugin("sound", lambda context: Recorded("sound", done))
    needy = Plugin("needy", lambda context: Recorded("needy", done), needs=("bad",))
    all_, _, _ = services(bad, sound, needy)
    result_of(all_.start(None, None))
    result_of(all_.start_failed(None, None))
    assert [each["state"] for each in all_.shown()] == ["failed", "running", "failed"]
    is_mended.append(True)
    result_of(all_.start_failed(None, None))
    assert [each["state"] for each in all_.shown()] == ["running", "running", "running"]
    assert done == ["start sound", "start bad", "start needy"]


def test_a_service_is_restarted_alone_and_only_if_it_runs() -> None:
    done: list[str] = []
    first = Plugin("first", lambda context: Recorded("first", done))
    all_, _, _ = services(first, Plugin("last", lambda context: Recorded("last", done)))
    result_of(all_.restart("first", None, None))
    assert done == []
    result_of(all_.start(None, None))
    result_of(all_.restart("first", None, None))
    assert done == ["start first", "start last", "stop first", "start first"]

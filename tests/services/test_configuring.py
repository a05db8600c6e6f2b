"""Configuration put in force, refused, and scaled, over a spine in memory."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from droned.errors import BadRequest, ConfigurationError
from droned.models.policy import (
    AppSpec,
    Configuration,
    DaemonSettings,
    Launch,
    LogFormat,
    LogPolicy,
    RestartPolicy,
    StartBudget,
    StderrTo,
)
from droned.models.records import State, Wanted
from tests.services.spine import Spine, app, ended, result_of

CRASHED = 1 << 8


@pytest.fixture
def spine() -> Spine:
    """A spine with nothing configured."""
    return Spine()


def test_only_what_changed_is_touched_by_a_reload(spine: Spine) -> None:
    spine.configure(app("web"), app("db"))
    spine.up("web/0")
    spine.up("db/0")
    spine.configure(app("web"), app("db"), app("new"))
    assert spine.spawner.spawned == [("web/0", 1), ("db/0", 1), ("new/0", 1)]
    assert spine.spawner.signals == []


def test_a_reload_tells_what_it_changed(spine: Spine) -> None:
    labels = ("0", "1")
    spine.configure(app("web", labels=labels), app("api"), app("old"), app("same"))
    for key in ("web/0", "web/1", "api/0", "old/0", "same/0"):
        spine.up(key)
    result_of(spine.command("stop", "web/1"))
    spine.tell("web/1", ended(1, 15))
    done = spine.configure(
        with_command(app("web", labels=labels), "false"),
        app("api", labels=labels, restart=RestartPolicy(delay_s=5.0)),
        app("same", origin="somewhere else"),
        app("new"),
    )
    assert (done.added, done.changed, done.removed) == (("new",), ("web", "api"), ("old",))
    assert done.restarted == ("web/0",), "web/1 is down and is not outdated, and api only changed its policy"
    assert (done.started, done.stopped) == (("api/1", "new/0"), ("old/0",))
    assert not done.has_new_settings


def test_a_reload_of_the_same_changes_nothing(spine: Spine) -> None:
    spine.configure(app("web"))
    version = spine.registry.version
    done = spine.configure(app("web"))
    assert (done.version, spine.registry.version) == (version, version)
    assert (done.added, done.changed, done.removed) == ((), (), ())
    assert (done.started, done.restarted, done.stopped) == ((), (), ())


def test_a_reload_tells_that_only_settings_changed(spine: Spine) -> None:
    spine.configure(app("web"))
    settings = DaemonSettings(start_budget=StartBudget(burst=1, per_second=1.0))
    spine.configuration = Configuration(apps={"web": app("web")}, settings=settings)
    done = result_of(spine.configuring.reload("test"))
    assert (done.changed, done.has_new_settings) == ((), True)


def test_a_policy_applies_live(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.configure(app(restart=RestartPolicy(delay_s=5.0)))
    assert spine.spawner.signals == []
    spine.tell("web/0", ended(1, CRASHED))
    spine.clock.advance(4.9)
    assert len(spine.spawner.spawned) == 1
    spine.clock.advance(0.2)
    assert len(spine.spawner.spawned) == 2


def test_how_logs_are_kept_applies_live(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    done = spine.configure(app(logs=LogPolicy(format=LogFormat.JSON, keep=1, max_age_s=None)))
    assert (done.changed, done.restarted) == (("web",), ())
    assert spine.spawner.signals == []


@pytest.mark.parametrize("policy", [LogPolicy(stderr=StderrTo.MERGED), LogPolicy(direct=True)])
def test_where_a_process_writes_to_needs_a_new_one(spine: Spine, policy: LogPolicy) -> None:
    spine.configure(app())
    spine.up("web/0")
    assert spine.configure(app(logs=policy)).restarted == ("web/0",)


def with_command(spec: AppSpec, command: str) -> AppSpec:
    return replace(spec, launch=Launch(command=(command,)))


def test_a_changed_command_replaces_one_instance_after_the_other(spine: Spine) -> None:
    labels = ("0", "1")
    spine.configure(app(labels=labels))
    spine.up("web/0")
    spine.up("web/1")
    changed = with_command(app(labels=labels), "false")
    spine.configure(changed)
    assert [key for key, _, _, _ in spine.spawner.signals] == ["web/0"]
    spine.tell("web/0", ended(1, 15))
    assert [key for key, _, _, _ in spine.spawner.signals] == ["web/0"]
    spine.up("web/0", 200)
    assert [key for key, _, _, _ in spine.spawner.signals] == ["web/0", "web/1"]
    spine.tell("web/1", ended(1, 15))
    spine.up("web/1", 201)
    assert spine.spawner.launches["web/1"]["argv"] == ["false"]


def test_a_changed_command_that_fails_stops_at_its_first_victim(spine: Spine) -> None:
    labels = ("0", "1")
    spine.configure(app(labels=labels))
    spine.up("web/0")
    spine.up("web/1")
    spine.configure(with_command(app(labels=labels), "missing"))
    spine.tell("web/0", ended(1, 15))
    spine.tell("web/0", {"type": "spawn_failed", "run": 2, "stage": "exec", "errno": 2, "at": 1.0})
    assert spine.record("web/0").state is State.FAILED
    assert spine.record("web/1").state is State.RUNNING
    assert "instance-failed:web/0" in spine.registry.records("issue")


def test_an_app_that_left_goes_with_its_last_instance(spine: Spine) -> None:
    spine.configure(app("web", labels=("0", "1")))
    spine.up("web/0")
    spine.up("web/1")
    spine.configure()
    assert spine.registry.app("web") is not None
    spine.tell("web/0", ended(1, 15))
    spine.tell("web/1", ended(1, 15))
    assert spine.registry.app("web") is None
    assert spine.registry.instance("web/0") is None
    assert spine.spawner.forgotten == ["web/0", "web/1"]


def test_an_app_without_instances_goes_at_once(spine: Spine) -> None:
    spine.configure(app("web"), app("none", labels=()), app("old"))
    spine.up("web/0")
    result_of(spine.command("scale", counts={"web": 0}))
    spine.tell("web/0", ended(1, 15))
    assert spine.registry.app("web") is not None
    done = spine.configure(app("old"))
    assert done.removed == ("web", "none")
    assert list(spine.registry.records("app")) == ["old"]


def test_an_app_that_stayed_behind_without_instances_goes_with_the_next_reload(spine: Spine) -> None:
    """As one of a journal from before they went at once."""
    spine.configure(app("web", labels=()))
    record = spine.registry.app("web")
    assert record is not None
    change = ("app", "web", replace(record, is_removed=True))
    spine.registry.commit((change,), (), moment=spine.supervision.moment(), actor="test", cause=0)
    assert spine.configure().removed == ()
    assert spine.registry.app("web") is None


def test_an_app_that_comes_back_after_it_was_scaled_to_nothing_is_as_configured(spine: Spine) -> None:
    spine.configure(app("web"))
    spine.up("web/0")
    result_of(spine.command("scale", counts={"web": 0}))
    spine.tell("web/0", ended(1, 15))
    spine.configure()
    spine.configure(app("web"))
    assert spine.record("web/0").state is State.STARTING


def test_a_refused_configuration_changes_nothing_but_opens_an_issue(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    spine.configuration = ConfigurationError("cannot use it", ("droned.yaml:1:1: no",))
    with pytest.raises(ConfigurationError):
        result_of(spine.configuring.reload("test"))
    assert spine.record("web/0").state is State.RUNNING
    assert "configuration-refused:server" in spine.registry.records("issue")
    spine.configure(app())
    assert "configuration-refused:server" not in spine.registry.records("issue")


def test_scale_adds_and_removes_the_highest(spine: Spine) -> None:
    spine.configure(app())
    spine.up("web/0")
    result_of(spine.command("scale", counts={"web": 3}))
    assert {key for key, _ in spine.spawner.spawned} == {"web/0", "web/1", "web/2"}
    result_of(spine.command("scale", counts={"web": 1}))
    assert {key for key, _, _, _ in spine.spawner.signals} == {"web/1", "web/2"}
    spine.configure(app())
    assert {key for key, _ in spine.spawner.spawned} == {"web/0", "web/1", "web/2"}


def test_scale_survives_a_reload_that_leaves_the_count_alone(spine: Spine) -> None:
    spine.configure(app())
    result_of(spine.command("scale", counts={"web": 2}))
    spine.configure(app(restart=RestartPolicy(delay_s=2.0)))
    assert spine.registry.instance("web/1") is not None
    assert spine.record("web/1").wanted is Wanted.UP


def test_more_instances_than_can_be_looked_after_are_refused_before_anything_changes(spine: Spine) -> None:
    spine.configure(app(labels=("0", "1")), app("db", labels=("0",)))
    spine.operations._most_instances = 4
    result_of(spine.command("scale", counts={"web": 3}))
    version = spine.registry.version
    with pytest.raises(BadRequest, match="cannot scale to 5 instances"):
        result_of(spine.command("scale", counts={"web": 4}))
    assert spine.registry.version == version

"""The registry: versions, causes, subscribers, snapshots, entities."""

from __future__ import annotations

import threading
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from droned.models.events import EventType, Occurrence
from droned.models.policy import AppSpec, Launch
from droned.models.records import (
    ActionRecord,
    AppRecord,
    InstanceRecord,
    IssueKind,
    IssueRecord,
    Record,
    ServerRecord,
    State,
)
from droned.models.registry import (
    ENTITY_OF,
    KIND_OF,
    TABLES,
    AppInstance,
    Commit,
    Moment,
    Registry,
    Subscriber,
)

NOW = Moment(wall=1_000_000.0, mono=10.0, draw=0.5)
WEB = InstanceRecord(key="web/0", app="web", label="0")
HAPPENED = Occurrence(type=EventType.INSTANCE_STARTED, subject="web/0", text="running", data={"pid": 1})


def fresh() -> Registry:
    """A registry whose subscribers must not raise."""

    def failed(subscriber: Subscriber) -> None:
        raise AssertionError(f"{subscriber} raised")

    return Registry(failed)


def put(registry: Registry, *records: Record | None, key: str = "web/0", cause: int = 0) -> Commit:
    """Commit these instances, or drop the one of `key`."""
    changes = [
        ("instance", key if each is None else cast(InstanceRecord, each).key, each) for each in records
    ]
    return registry.commit(changes, (), moment=NOW, actor="test", cause=cause)


# --- versions and causes


def test_every_commit_that_changes_something_is_a_version() -> None:
    registry = fresh()
    assert registry.version == 0
    assert put(registry, WEB).version == 1
    assert put(registry, replace(WEB, state=State.RUNNING)).version == 2
    assert registry.version == 2


def test_a_record_that_is_as_it_was_is_no_change_and_no_version() -> None:
    registry = fresh()
    put(registry, WEB)
    present = registry.instance("web/0")
    told: list[Commit] = []
    registry.subscribe(told.append)
    done = put(registry, present)
    assert (done.version, done.changes, registry.version, told) == (1, (), 1, [])
    assert registry.instance("web/0") is present


def test_an_event_alone_is_a_version() -> None:
    registry = fresh()
    done = registry.commit((), (HAPPENED,), moment=NOW, actor="ann", cause=0)
    assert (done.version, registry.version) == (1, 1)


def test_a_record_carries_the_version_that_made_it_what_it_is() -> None:
    registry = fresh()
    put(registry, WEB, replace(WEB, key="web/1", label="1"))
    put(registry, replace(WEB, run=1))
    causes = {key: record.cause for key, record in registry.records("instance").items()}
    assert causes == {"web/0": 2, "web/1": 1}


def test_a_change_tells_what_was_and_what_is() -> None:
    registry = fresh()
    put(registry, WEB)
    before = registry.instance("web/0")
    (change,) = put(registry, replace(WEB, run=1)).changes
    assert (change.kind, change.key, change.before) == ("instance", "web/0", before)
    assert change.after == replace(WEB, run=1, cause=2)
    (change,) = put(registry, None).changes
    assert (change.before, change.after) == (replace(WEB, run=1, cause=2), None)


def test_dropping_what_is_not_there_is_no_change() -> None:
    registry = fresh()
    assert put(registry, None).changes == ()
    assert registry.version == 0


def test_the_last_of_two_changes_of_one_record_holds() -> None:
    registry = fresh()
    put(registry, WEB, replace(WEB, run=1))
    present = registry.instance("web/0")
    assert present is not None
    assert present.run == 1
    put(registry, replace(WEB, run=2), None)
    assert registry.instance("web/0") is None


def test_events_carry_version_place_actor_cause_and_time() -> None:
    registry = fresh()
    put(registry, WEB)
    done = registry.commit((), (HAPPENED, HAPPENED), moment=NOW, actor="ann", cause=1)
    assert [(each.version, each.index, each.actor, each.cause, each.at) for each in done.events] == [
        (2, 0, "ann", 1, NOW.wall),
        (2, 1, "ann", 1, NOW.wall),
    ]
    first = done.events[0]
    assert (first.type, first.subject, first.text, first.data) == (
        HAPPENED.type,
        "web/0",
        "running",
        {"pid": 1},
    )


def test_a_commit_keeps_its_input_and_its_moment() -> None:
    registry = fresh()
    given = ("web/0", "Start", {"number": 1})
    done = registry.commit((), (HAPPENED,), moment=NOW, actor="ann", cause=7, given=given)
    assert (done.given, done.moment, done.actor, done.cause) == (given, NOW, "ann", 7)


# --- subscribers


def test_subscribers_are_told_in_their_order_after_it_has_taken_effect() -> None:
    registry = fresh()
    told: list[tuple[str, int, bool]] = []
    for name in ("first", "second"):

        def tell(done: Commit, name: str = name) -> None:
            told.append((name, done.version, registry.instance("web/0") is not None))

        registry.subscribe(tell)
    put(registry, WEB)
    assert told == [("first", 1, True), ("second", 1, True)]


def test_a_subscriber_that_raises_holds_up_nobody() -> None:
    failed: list[Subscriber] = []
    registry = Registry(failed.append)
    told: list[int] = []

    def broken(done: Commit) -> None:
        raise RuntimeError("a subscriber's own fault")

    registry.subscribe(broken)
    registry.subscribe(lambda done: told.append(done.version))
    put(registry, WEB)
    assert (failed, told, registry.version) == ([broken], [1], 1)


def test_a_subscription_can_be_ended_also_from_inside_the_call() -> None:
    registry = fresh()
    told: list[str] = []

    def once(done: Commit) -> None:
        told.append("once")
        end()

    end = registry.subscribe(once)
    registry.subscribe(lambda done: told.append("always"))
    put(registry, WEB)
    put(registry, replace(WEB, run=1))
    assert told == ["once", "always", "always"]


# --- snapshots


def test_a_snapshot_stays_what_it_was() -> None:
    registry = fresh()
    put(registry, WEB)
    snapshot = registry.snapshot()
    put(registry, replace(WEB, run=1))
    assert (snapshot.version, snapshot.instances["web/0"].run) == (1, 0)
    assert registry.snapshot().instances["web/0"].run == 1


def test_a_snapshot_is_made_once_a_version() -> None:
    registry = fresh()
    put(registry, WEB)
    assert registry.snapshot() is registry.snapshot()
    first = registry.snapshot()
    put(registry, registry.instance("web/0"))
    assert registry.snapshot() is first
    put(registry, None)
    assert registry.snapshot() is not first


def test_a_snapshot_cannot_be_changed() -> None:
    registry = fresh()
    put(registry, WEB)
    snapshot = registry.snapshot()
    with pytest.raises(TypeError):
        snapshot.instances["web/0"] = WEB  # type: ignore[index]  # this is what is refused
    with pytest.raises(AttributeError):
        snapshot.version = 9  # type: ignore[misc]  # this is what is refused
    with pytest.raises(AttributeError):
        snapshot.instances["web/0"].run = 9  # type: ignore[misc]  # this is what is refused


def test_a_snapshot_holds_every_kind() -> None:
    registry = fresh()
    spec = AppSpec(name="web", launch=Launch(command=("web",)))
    records: dict[str, Record] = {
        "instance": WEB,
        "app": AppRecord(name="web", spec=spec, revision=1),
        "issue": IssueRecord(
            key="instance-failed:web/0",
            kind=IssueKind.INSTANCE_FAILED,
            subject="web/0",
            text="cannot",
            remedy="",
            opened_at=0.0,
        ),
        "action": ActionRecord(key="a1", command="start", targets=(), actor="ann", reason="", began_at=0.0),
        "server": ServerRecord(key="server", name="web1"),
    }
    assert set(records) == set(TABLES) == set(ENTITY_OF) == set(KIND_OF.values())
    assert all(TABLES[kind] is type(record) for kind, record in records.items())
    keys = {"app": "web"}
    changes = [(kind, keys.get(kind, getattr(record, "key", "")), record) for kind, record in records.items()]
    registry.commit(changes, (), moment=NOW, actor="test", cause=0)
    snapshot = registry.snapshot()
    assert [len(getattr(snapshot, f"{kind}s")) for kind in TABLES] == [1] * 5


def test_snapshots_can_be_read_while_the_registry_goes_on() -> None:
    registry = fresh()
    for number in range(50):
        put(registry, replace(WEB, key=f"web/{number}"))
    snapshot = registry.snapshot()
    sums: list[int] = []
    reader = threading.Thread(
        target=lambda: sums.extend(sum(each.run for each in snapshot.instances.values()) for _ in range(50))
    )
    reader.start()
    for number in range(500):
        put(registry, replace(WEB, key=f"web/{number % 50}", run=number + 1))
    reader.join()
    assert sums == [0] * 50


# --- entities


def test_one_key_is_one_object_that_always_has_the_record_of_now() -> None:
    registry = fresh()
    web = registry.entity("instance", "web/0")
    assert isinstance(web, AppInstance)
    seen = [web.record]
    for record in (WEB, replace(WEB, run=3), None, WEB):
        put(registry, record)
        assert registry.entity("instance", "web/0") is web
        assert web.record is registry.instance("web/0")
        seen.append(web.record)
    assert [each and each.run for each in seen] == [None, 0, 3, None, 0]


def test_keys_of_different_kinds_are_different_things() -> None:
    registry = fresh()
    kinds = {type(registry.entity(kind, "web")) for kind in TABLES}
    assert kinds == set(ENTITY_OF.values())
    assert repr(registry.entity("app", "web")) == "<App web>"


def test_a_subscriber_sees_entities_as_they_are_after_the_commit() -> None:
    registry = fresh()
    web = registry.entity("instance", "web/0")
    seen: list[object] = []
    registry.subscribe(lambda done: seen.append(web.record))
    put(registry, WEB)
    assert seen == [replace(WEB, cause=1)]


# --- restoring


def test_a_registry_goes_on_from_where_a_journal_left_it() -> None:
    registry = fresh()
    spec = AppSpec(name="web", launch=Launch(command=("web",)))
    app = AppRecord(name="web", spec=spec, revision=3, cause=3)
    registry.restore(41, [("instance", replace(WEB, cause=40)), ("app", app)])
    assert (registry.version, registry.instance("web/0"), registry.app("web")) == (
        41,
        replace(WEB, cause=40),
        app,
    )
    assert put(registry, replace(WEB, run=1)).version == 42


def test_nothing_is_restored_over_what_there_is() -> None:
    registry = fresh()
    put(registry, WEB)
    with pytest.raises(RuntimeError, match="cannot restore into a registry that is at version 1"):
        registry.restore(5, [])


# --- replay


CHANGES = st.lists(
    st.tuples(st.integers(0, 3), st.none() | st.integers(0, 3)).map(
        lambda pair: (
            f"web/{pair[0]}",
            None if pair[1] is None else replace(WEB, key=f"web/{pair[0]}", run=pair[1]),
        )
    ),
    max_size=4,
)


@given(st.lists(CHANGES, max_size=15))
def test_the_changes_of_all_commits_rebuild_the_state(
    commits: list[list[tuple[str, InstanceRecord | None]]],
) -> None:
    registry = fresh()
    rebuilt: dict[str, Record] = {}
    versions: list[int] = []

    def follow(done: Commit) -> None:
        versions.append(done.version)
        for change in done.changes:
            assert rebuilt.get(change.key) == change.before
            if change.after is None:
                del rebuilt[change.key]
            else:
                rebuilt[change.key] = change.after

    registry.subscribe(follow)
    for changes in commits:
        registry.commit(
            [("instance", key, record) for key, record in changes], (), moment=NOW, actor="test", cause=0
        )
    assert rebuilt == registry.records("instance") == registry.snapshot().instances
    assert versions == list(range(1, registry.version + 1))

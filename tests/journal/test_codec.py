"""Commits as records: nothing is lost on the way, whatever the texts hold."""

from __future__ import annotations

from contextlib import suppress
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.errors import CannotRun, JournalDamaged
from droned.journal.codec import decode, decode_commit, encode, encode_commit, events_of
from droned.journal.records import (
    State,
    UnknownContent,
    apply,
    refuse,
    replay,
    state_at,
    typed,
    typed_records,
)
from droned.models.events import EventType, Occurrence
from droned.models.policy import AppSpec, Launch, LogPolicy, LogSettings, ResourceLimit
from droned.models.records import AppRecord, InstanceRecord, ServerRecord
from tests.journal.commits import World, state_of

# Bytes that are no UTF-8 come as low surrogates (PEP 383).
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda below: st.lists(below) | st.dictionaries(TEXTS, below),
    max_leaves=8,
)


@given(VALUES)
def test_every_value_comes_back(value: object) -> None:
    assert decode(encode(value)) == value


@given(st.binary(max_size=200))
def test_bytes_that_are_no_json_are_damage(content: bytes) -> None:
    with suppress(JournalDamaged):  # and nothing else
        decode(content)


def test_deep_nesting_is_damage_and_no_crash() -> None:
    with pytest.raises(JournalDamaged):
        decode(b"[" * 100_000)


def test_a_value_without_a_json_word_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot journal a value of type complex"):
        encode({"x": 1j})


@given(st.lists(TEXTS, min_size=1), st.dictionaries(TEXTS, TEXTS), st.floats(0, 1e9), st.none() | TEXTS)
def test_an_app_comes_back_whole(
    command: list[str], env: dict[str, str], grace_s: float, directory: str | None
) -> None:
    launch = Launch(
        command=tuple(command),
        env=MappingProxyType(env),
        directory=directory,
        limits=(ResourceLimit(name="nofile", soft=1, hard=None),),
        groups=(1, "staff"),
    )
    record = AppRecord(name="web", spec=AppSpec(name="web", launch=launch), revision=1)
    world = World()
    world.commit([("app", "web", record)])
    state = replay([encode_commit(world.commits[0])], State())
    (found,) = typed_records(state)
    assert found == ("app", world.registry.app("web"))
    assert hasattr(found[1].spec.launch.env, "copy")


def test_an_app_of_before_there_were_logs_has_the_default_policy() -> None:
    plain = {"name": "web", "spec": {"name": "web", "launch": {"command": ["sleep", "1"]}}, "revision": 1}
    found = typed("app", plain)
    assert isinstance(found, AppRecord)
    assert found.spec.logs == LogPolicy()
    settings = typed("server", {"key": "server", "name": "web1", "settings": {"journal": {"keep_s": 1.0}}})
    assert isinstance(settings, ServerRecord)
    assert settings.settings.logs == LogSettings()


def test_a_replay_gives_every_version_as_it_was() -> None:
    world = World()
    world.steps(300)
    state = State()
    for commit in world.commits:
        replay([encode_commit(commit)], state)
        assert state_of(tuple(typed_records(state))) == world.states[commit.version]
    assert not state.uncertain
    assert state.version == 300


def test_a_past_version_can_be_shown() -> None:
    world = World()
    payloads = [encode_commit(commit) for commit in world.steps(50)]
    state = state_at(20, payloads, State())
    assert state_of(tuple(typed_records(state))) == world.states[20]
    with pytest.raises(JournalDamaged, match="cannot show version 51"):
        state_at(51, payloads, State())


def test_only_fields_that_changed_are_written() -> None:
    world = World()
    world.commit([("server", "server", ServerRecord(key="server", name="here"))])
    world.commit([("server", "server", ServerRecord(key="server", name="here", boot_id="b"))])
    record = decode_commit(encode_commit(world.commits[1]))
    assert record["changes"] == [
        {"kind": "server", "key": "server", "from": 1, "set": {"boot_id": "b", "cause": 2}}
    ]


def test_events_come_back_as_they_were_told() -> None:
    world = World()
    occurred = [
        Occurrence(type=EventType.INSTANCE_CRASHED, subject="web/0", text="exited 1", data={"code": 1}),
        Occurrence(type=EventType.INSTANCE_BACKOFF, subject="web/0", text="again in 1 s"),
    ]
    commit = world.commit([], *occurred, given=("web/0", "Exited", {"status": 256}))
    record = decode_commit(encode_commit(commit))
    assert events_of(record) == commit.events
    assert record["input"] == ["web/0", "Exited", {"status": 256}]
    assert record["moment"] == {"wall": 1e9, "mono": 0.0, "draw": 0.25, "budget_wait_s": 0.0}


def test_an_event_of_an_unknown_type_is_left_out_and_keeps_the_places_of_the_others() -> None:
    world = World()
    record = decode_commit(encode_commit(world.step()))
    record["events"] = [{**record["events"][0], "type": "app-sang"}, record["events"][0]]
    (event,) = events_of(record)
    assert event.index == 1


NEW_FIELD = {"kind": "instance", "key": "web/0", "record": {"key": "web/0", "mood": "good"}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"kind": "peer", "key": "x", "drop": True}, "peer"),
        (NEW_FIELD, "mood"),
        ({"kind": "instance", "key": "web/0", "from": 0, "set": {"mood": "good"}}, "mood"),
        ({"kind": "instance", "key": "web/0", "drop": True, "because": "x"}, "because"),
    ],
)
def test_what_another_release_wrote_is_named_and_nothing_is_applied(
    change: dict[str, object], named: str
) -> None:
    world = World()
    record = decode_commit(encode_commit(world.step()))
    record["changes"].append(change)
    state = State()
    with pytest.raises(UnknownContent, match=named) as caught:
        apply(state, record)
    assert state.version == 0
    assert not any(state.tables.values())
    refused = refuse("journal-1.seg", "0.9.0", "0.1.0", caught.value)
    assert isinstance(refused, CannotRun)
    assert "droned 0.9.0" in str(refused)


@pytest.mark.parametrize(
    "plain",
    [
        {"key": "web/0", "app": "web", "label": "0", "state": "dancing"},
        {"key": "web/0", "app": "web", "label": "0", "exit": {"run": 1, "at": 1, "reason": "", "mood": 1}},
    ],
)
def test_unknown_values_and_nested_fields_are_another_releases_too(plain: dict[str, object]) -> None:
    with pytest.raises(UnknownContent):
        typed("instance", plain)


def test_a_record_without_what_every_release_has_is_damage() -> None:
    with pytest.raises(JournalDamaged, match="missing required field"):
        typed("instance", {"key": "web/0"})


def test_a_field_that_an_older_release_did_not_have_gets_its_default() -> None:
    assert typed("instance", {"key": "a/0", "app": "a", "label": "0"}) == InstanceRecord(
        key="a/0", app="a", label="0"
    )


@pytest.mark.parametrize("payload", [b"", b"null", b"[]", b"{}", b'{"version":"1","changes":[],"events":[]}'])
def test_json_that_is_no_commit_is_damage(payload: bytes) -> None:
    with pytest.raises(JournalDamaged):
        decode_commit(payload)


@pytest.mark.parametrize("change", [1, {}, {"kind": "app"}, {"kind": "app", "key": "x", "set": 1, "from": 1}])
def test_changes_without_their_shape_are_damage(change: object) -> None:
    world = World()
    record = decode_commit(encode_commit(world.step()))
    record["changes"] = [change]
    with pytest.raises(JournalDamaged):
        apply(State(), record)


def test_behind_a_hole_the_newest_word_on_each_field_counts_and_the_record_is_named() -> None:
    world = World()
    payloads = [encode_commit(commit) for commit in world.steps(20)]
    del payloads[9:12]
    state = replay(payloads, State())
    assert state.version == 20
    assert ("instance", "web0/0") in state.uncertain
    found = state_of(tuple(typed_records(state)))
    assert found.keys() == world.states[20].keys()

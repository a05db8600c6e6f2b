"""The issue of a failed instance: when it opens, what it says, when it closes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from droned.lifecycle import inputs as i
from droned.lifecycle.issues import failure_text, issue_changes, issue_key
from droned.models.events import EventType, Occurrence
from droned.models.policy import Launch, RestartLimit
from droned.models.records import (
    AppRecord,
    DueKind,
    InstanceRecord,
    IssueKind,
    IssueRecord,
    State,
    Then,
)
from tests.lifecycle.samples import WALL, WEB, after, app, at, ended, in_setup, not_started, record

WWW = app(launch=Launch(command=("web",), user="www"))


def changed(
    before: InstanceRecord | None,
    became: InstanceRecord | None,
    present: IssueRecord | None = None,
    web: AppRecord | None = WEB,
) -> tuple[IssueRecord | None, list[str]]:
    """The issue after the step, and the types of what was told."""
    changes, occurrences = issue_changes(before, became, web, at(5.0), present=present)
    issue = present
    for kind, key, after_step in changes:
        assert (kind, key) == ("issue", issue_key("web/0"))
        issue = after_step
    return issue, [each.type for each in occurrences]


def opened() -> IssueRecord:
    issue, _ = changed(record(State.RUNNING), record(State.FAILED))
    assert issue is not None
    return issue


def test_it_opens_when_the_instance_fails() -> None:
    issue, told = changed(in_setup(), after(in_setup(), not_started("user", 2), web=WWW), web=WWW)
    assert issue == IssueRecord(
        key="instance-failed:web/0",
        kind=IssueKind.INSTANCE_FAILED,
        subject="web/0",
        text='cannot start web/0: no user "www" on this host (app "web", droned.yaml:3:3)',
        remedy="put it there, or correct the configuration; droned looks every 30s and starts it then",
        opened_at=WALL + 5.0,
    )
    assert told == [EventType.ISSUE_OPENED]


def test_its_event_says_the_same() -> None:
    _, occurrences = issue_changes(None, record(State.FAILED), WEB, at(), present=None)
    assert occurrences == (
        Occurrence(
            type=EventType.ISSUE_OPENED,
            subject="web/0",
            text="cannot keep web/0 running: gave up: 10 restarts in 10m, the last run exited 1"
            ' (app "web", droned.yaml:3:3)',
            data={"issue": "instance-failed:web/0"},
        ),
    )


@pytest.mark.parametrize(
    ("web", "given", "text"),
    [
        (
            app(limit=RestartLimit(count=0, within_s=60.0)),
            ended(9),
            "cannot keep web/0 running: gave up: 0 restarts in 1m, the last run killed by KILL",
        ),
        (
            app(permanent_exit=(78,)),
            ended(78 << 8),
            "cannot keep web/0 running: gave up: exit code 78 is permanent, the last run exited 78",
        ),
        (
            app(limit=RestartLimit(count=0, within_s=60.0)),
            not_started("limits", 1),
            (
                "cannot start web/0: set-up failed at limits: operation not permitted (EPERM);"
                " gave up: 0 restarts in 1m"
            ),
        ),
    ],
)
def test_it_says_why_in_words(web: AppRecord, given: i.Input, text: str) -> None:
    before = record(State.RUNNING) if isinstance(given, i.Ended) else in_setup()
    assert failure_text(after(before, given, web=web), web) == f'{text} (app "web", droned.yaml:3:3)'


def test_it_does_without_an_app_that_is_gone() -> None:
    assert failure_text(record(State.FAILED), None).endswith('(app "web")')


def test_its_remedy_says_what_droned_does_meanwhile() -> None:
    by_hand = "see `dronectl describe web/0`, then `dronectl start web/0`"
    assert opened().remedy == f"{by_hand}; droned tries it again by itself"
    for_good, _ = changed(None, record(State.FAILED, due=None))
    assert for_good is not None
    assert for_good.remedy == by_hand


@pytest.mark.parametrize("state", [State.STARTING, State.BACKOFF, State.WAITING, State.STOPPING])
def test_it_stays_while_it_is_tried_again(state: State) -> None:
    assert changed(record(State.FAILED), record(state), opened()) == (opened(), [])


@pytest.mark.parametrize("state", [State.RUNNING, State.STOPPED, State.EXITED, State.UNKNOWN])
def test_it_closes_when_the_instance_runs_or_rests_otherwise(state: State) -> None:
    assert changed(record(State.STARTING), record(state), opened()) == (None, [EventType.ISSUE_CLOSED])


def test_it_closes_with_the_instance() -> None:
    leaving = record(State.STOPPING, then=Then.REMOVE)
    assert changed(leaving, None, opened()) == (None, [EventType.ISSUE_CLOSED])


def test_the_same_failure_again_is_no_news() -> None:
    assert changed(record(State.STARTING), record(State.FAILED), opened()) == (opened(), [])
    looked = replace(record(State.FAILED), due=None)
    assert changed(record(State.FAILED), looked, opened()) == (opened(), [])


def test_another_failure_changes_the_text_and_not_the_age() -> None:
    other = record(State.FAILED, note="gave up: exit code 3 is permanent", due=None)
    issue, told = changed(record(State.STARTING), other, replace(opened(), opened_at=7.0))
    assert issue is not None
    assert issue.opened_at == 7.0
    assert "exit code 3" in issue.text
    assert told == []


def test_a_failure_without_its_issue_opens_it() -> None:
    """The commit that opened it was lost."""
    issue, told = changed(record(State.FAILED), record(State.FAILED))
    assert issue is not None
    assert told == [EventType.ISSUE_OPENED]


@pytest.mark.parametrize("state", [state for state in State if state is not State.FAILED])
def test_nothing_is_told_where_there_is_none(state: State) -> None:
    assert changed(record(State.STARTING), record(state)) == (None, [])


def test_it_closes_when_what_was_missing_is_there_and_runs() -> None:
    failed = after(in_setup(), not_started("user", 2), web=WWW)
    issue, _ = changed(in_setup(), failed, web=WWW)
    starting = after(failed, i.Cleared(), web=WWW)
    issue, _ = changed(failed, starting, issue)
    assert issue is not None
    spawned = after(starting, i.Spawned(run=4, pid=5, start_time=1, at=WALL), web=WWW)
    running = after(spawned, i.Elapsed(kind=DueKind.GRACE), web=WWW)
    assert changed(spawned, running, issue) == (None, [EventType.ISSUE_CLOSED])

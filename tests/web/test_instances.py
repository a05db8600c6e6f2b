"""`/instances`: the status, and what is known about one instance."""

import pytest
from msgspec.structs import replace

from droned.models.events import EventType, Occurrence
from droned.models.records import (
    Due,
    DueKind,
    Exit,
    InstanceRecord,
    IssueKind,
    IssueRecord,
    State,
    Wanted,
)
from tests.web.harness import Place, Visit

ROW = {
    "instance": "web/0",
    "app": "web",
    "label": "0",
    "server": "web1",
    "wanted": "up",
    "enabled": True,
    "state": "backoff",
    "ready": False,
    "pid": None,
    "run": 3,
    "started_at": "2026-11-22T12:04:30.000000Z",
    "since": "2026-11-22T12:04:31.000000Z",
    "restarts": 7,
    "exit": {"code": 1, "signal": None, "at": "2026-11-22T12:04:31.118204Z", "reason": "exited 1", "run": 3},
    "next_start_at": "2026-11-22T12:04:43.000000Z",
    "release": None,
    "revision": 1,
    "cpu_percent": None,
    "rss_bytes": None,
    "note": "exited 1",
    "cause": 2,
}


def crashed(place: Place, run: int = 3) -> InstanceRecord:
    """Commit a crash of web/0."""
    record = place.registry.instance("web/0")
    assert record is not None
    after = replace(
        record,
        wanted=Wanted.UP,
        state=State.BACKOFF,
        run=run,
        started_at=1795349070.0,
        since=1795349071.0,
        restarts=7,
        exit=Exit(run=run, at=1795349071.118204, reason="exited 1", code=1),
        due=Due(kind=DueKind.START, at_mono=9.0, at=1795349083.0),
        revision=1,
        note="exited 1",
    )
    event = Occurrence(type=EventType.INSTANCE_CRASHED, subject="web/0", text=f"run {run} exited 1")
    place.commit([("instance", "web/0", after)], [event])
    place.turn()
    return after


def test_status_has_the_agreed_shape() -> None:
    place = Place()
    crashed(place)
    reply = place.client().get("/instances")
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    answer = reply.json
    assert list(answer) == ["server", "version", "usage_version", "at", "instances"]
    assert answer["server"] == "web1"
    assert answer["version"] == 2
    assert answer["usage_version"] == 0
    assert answer["at"] == "1970-01-12T13:46:40.000000Z"
    assert [row["instance"] for row in answer["instances"]] == ["web/0", "web/1", "db/0"]
    assert answer["instances"][0] == ROW
    assert list(answer["instances"][0]) == list(ROW)


def test_at_is_the_time_of_the_version_and_the_body_stays_the_same() -> None:
    place = Place()
    client = place.client()
    first = client.get("/instances")
    place.clock.advance(50.0)
    assert client.get("/instances").body == first.body
    crashed(place)
    assert client.get("/instances").json["at"] == "1970-01-12T13:47:30.000000Z"


def test_only_what_changed_is_written_anew() -> None:
    place = Place()
    client = place.client()
    client.get("/instances")
    before = place.status.row("web/1")
    crashed(place)
    client.get("/instances")
    assert place.status.row("web/1") is before
    assert b"exited 1" in place.status.row("web/0")


def test_instances_come_and_go_in_configuration_order() -> None:
    place = Place()
    client = place.client()
    client.get("/instances")
    place.commit([("instance", "web/2", InstanceRecord(key="web/2", app="web", label="2"))])
    names = [row["instance"] for row in client.get("/instances").json["instances"]]
    assert names == ["web/0", "web/1", "web/2", "db/0"]
    place.commit([("instance", "web/0", None)])
    names = [row["instance"] for row in client.get("/instances").json["instances"]]
    assert names == ["web/1", "web/2", "db/0"]


@pytest.mark.parametrize("sent", ['"a1-1-0"', 'W/"a1-1-0"', '"a1-9-9", "a1-1-0"', "*"])
def test_who_has_the_version_already_is_told_so(sent: str) -> None:
    place = Place()
    client = place.client()
    assert client.get("/instances").headers["etag"] == '"a1-1-0"'
    reply = client.get("/instances", If_None_Match=sent)
    assert (reply.status, reply.body) == (304, b"")
    assert reply.headers["etag"] == '"a1-1-0"'
    crashed(place)
    if sent != "*":
        assert client.get("/instances", If_None_Match=sent).status == 200


def test_the_same_version_of_another_life_is_another_answer() -> None:
    """A killed daemon's last versions, which no disk has, are given again to other states."""
    had = Place().client().get("/instances").headers["etag"]
    reply = Place(life="b2").client().get("/instances", If_None_Match=had)
    assert reply.status == 200
    assert reply.headers["etag"] == '"b2-1-0"'


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?target=web", ["web/0", "web/1"]),
        ("?target=db/0&target=web/1", ["web/1", "db/0"]),
        ("?target=%2A/0", ["web/0", "db/0"]),
        ("?limit=2", ["web/0", "web/1"]),
        ("?limit=2&after=web/1", ["db/0"]),
        ("?target=web&limit=1&after=web/0", ["web/1"]),
        ("?limit=0", []),
    ],
)
def test_a_part_can_be_asked_for(query: str, names: list[str]) -> None:
    answer = Place().client().get(f"/instances{query}").json
    assert [row["instance"] for row in answer["instances"]] == names


def test_pages_say_where_the_next_begins() -> None:
    client = Place().client()
    first = client.get("/instances?limit=2").json
    assert first["next"] == "web/1"
    assert "next" not in client.get("/instances?limit=2&after=web/1").json


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/instances?target=wbe", 404, "no-such-target"),
        ("/instances?target=web2:web", 404, "no-such-target"),
        ("/instances?after=web/9", 404, "no-such-target"),
        ("/instances?tagret=web", 400, "bad-request"),
        ("/instances?limit=-1", 400, "bad-request"),
        ("/instances?limit=1&limit=2", 400, "bad-request"),
        ("/instances?target=%ff", 400, "bad-request"),
        ("/instances/web", 404, "no-such-target"),
        ("/instances/web/9", 404, "no-such-target"),
        ("/instances/web/%ff", 404, "no-such-target"),
        ("/instances/web/0/what", 404, "no-such-target"),
        ("/instances/web/9/why", 404, "no-such-target"),
        ("/instances/web/9/history", 404, "no-such-target"),
        ("/instances/web/0/history?limit=10001", 400, "bad-request"),
        ("/instances/", 404, "no-such-target"),
        ("", 404, "no-such-target"),
        ("/", 404, "no-such-target"),
        ("/nothing", 404, "no-such-target"),
        ("/../../etc/passwd", 404, "no-such-target"),
    ],
)
def test_what_is_not_there_is_a_problem_document(path: str, status: int, code: str) -> None:
    reply = Place().client().get(path)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
    problem = reply.json
    assert problem["code"] == code
    assert problem["type"] == f"urn:droned:problem:{code}"
    assert problem["status"] == status
    assert problem["detail"].startswith("cannot ")
    assert problem["title"]


def test_near_names_are_in_the_problem() -> None:
    assert Place().client().get("/instances/web/00").json["near"][0] == "web/0"


def test_who_has_no_role_is_told_nothing() -> None:
    place = Place(visit=Visit(role=None))
    for path in ("/instances", "/instances/web/0", "/nothing", "/events?follow=1", "/daemon"):
        assert place.client().get(path).status == 403
    assert place.client().post({"command": "stop", "all": True}).status == 403


def test_describe_tells_all_that_is_known() -> None:
    place = Place()
    for run in range(1, 9):
        crashed(place, run)
    issue = IssueRecord(
        key="instance-failed:web/0",
        kind=IssueKind.INSTANCE_FAILED,
        subject="web/0",
        text="gave up",
        remedy="look",
        opened_at=place.clock.wall(),
    )
    place.commit([("issue", issue.key, issue)])
    answer = place.client().get("/instances/web/0").json
    assert answer["instance"]["run"] == 8
    assert answer["app"]["origin"] == "droned.yaml:3:3"
    assert answer["app"]["spec"]["launch"]["command"] == ["sleep", "1000"]
    assert [each["key"] for each in answer["issues"]] == [issue.key]
    assert [each["run"] for each in answer["exits"]] == [4, 5, 6, 7, 8]
    assert answer["exits"][-1]["reason"] == "exited 1"
    assert [each["text"] for each in answer["events"]] == [f"run {run} exited 1" for run in range(1, 9)]
    assert answer["logs"] == {"stdout": "/logs/web/0/stdout", "stderr": "/logs/web/0/stderr"}
    assert answer["complete"] is True


def test_describe_remembers_over_a_restart_of_the_daemon() -> None:
    place = Place()
    for run in range(1, 9):
        crashed(place, run)
    place.serve()
    answer = place.client().get("/instances/web/0").json
    assert [each["run"] for each in answer["exits"]] == [4, 5, 6, 7, 8]
    assert len(answer["events"]) == 8


def test_describe_without_its_journal_says_that_it_is_not_complete() -> None:
    place = Place()
    crashed(place)
    place.journal.fault = OSError("broken")
    answer = place.client().get("/instances/web/0").json
    assert answer["complete"] is False
    assert [each["run"] for each in answer["exits"]] == [3]


def test_describe_of_an_instance_that_never_ran() -> None:
    answer = Place().client().get("/instances/db/0").json
    assert (answer["exits"], answer["events"], answer["issues"]) == ([], [], [])


def test_describe_of_what_is_in_memory_reads_no_journal() -> None:
    place = Place()
    for run in range(1, 15):
        crashed(place, run)
    place.client().get("/instances/web/0")
    assert place.journal.reads == []


def test_history_is_the_last_events_of_the_instance_oldest_first() -> None:
    place = Place(kept=4)
    for number in range(40):
        place.happens(f"event {number}", subject="web/0" if number % 2 else "db/0")
    answer = place.client().get("/instances/web/0/history?limit=5").json
    assert [event["text"] for event in answer["events"]] == [f"event {n}" for n in (31, 33, 35, 37, 39)]
    since = answer["events"][2]["id"]
    later = place.client().get(f"/instances/web/0/history?since={since}").json
    assert [event["text"] for event in later["events"]] == ["event 37", "event 39"]


def test_history_outlives_the_instance() -> None:
    place = Place()
    place.commit([("instance", "web/1", None)])
    place.happens("removed", subject="web/1", type=EventType.INSTANCE_REMOVED)
    assert place.client().get("/instances/web/1/history").json["events"][0]["text"] == "removed"
    assert place.client().get("/instances/web/1").status == 404


def test_why_walks_from_the_last_event_to_the_command() -> None:
    place = Place(kept=2)
    asked = place.happens("restart", subject="action 1", type=EventType.COMMAND_ACCEPTED)
    stopping = place.happens("asked to stop", type=EventType.INSTANCE_STOPPING, cause=asked)
    place.happens("noise", subject="db/0")
    silent = place.commit(
        [("app", "web", replace(place.registry.app("web"), scaled_to=2))],  # type: ignore[type-var]  # it is there
        cause=stopping,
    )
    place.turn()
    place.happens("running", cause=silent, actor="droned")
    for number in range(20):
        place.happens(f"noise {number}", subject="db/0")
    answer = place.client().get("/instances/web/0/why").json
    assert [event["text"] for event in answer["chain"]] == ["running", "asked to stop", "restart"]
    assert answer["instance"]["instance"] == "web/0"


def test_why_ends_in_the_version_in_which_the_command_was_taken() -> None:
    place = Place()
    place.commit(
        (),
        [
            Occurrence(type=EventType.COMMAND_ACCEPTED, subject="action 2", text="stop web"),
            Occurrence(type=EventType.INSTANCE_STOPPING, subject="web/0", text="stopping"),
        ],
    )
    place.turn()
    chain = place.client().get("/instances/web/0/why").json["chain"]
    assert [event["text"] for event in chain] == ["stopping", "stop web"]


def test_why_goes_on_behind_a_configuration_that_somebody_had_loaded() -> None:
    place = Place()
    asked = place.happens("daemon-reload: new port", subject="action 3", type=EventType.COMMAND_ACCEPTED)
    place.commit(
        (),
        [
            Occurrence(
                type=EventType.CONFIGURATION_LOADED, subject="server", text="configuration from a.yaml"
            ),
            Occurrence(type=EventType.INSTANCE_STOPPING, subject="web/0", text="replaced"),
        ],
        cause=asked,
    )
    place.turn()
    chain = place.client().get("/instances/web/0/why").json["chain"]
    assert [event["text"] for event in chain] == [
        "replaced",
        "configuration from a.yaml",
        "daemon-reload: new port",
    ]


def test_why_of_an_instance_to_which_nothing_happened() -> None:
    assert Place().client().get("/instances/db/0/why").json["chain"] == []


def test_texts_that_are_no_utf8_do_not_break_an_answer() -> None:
    place = Place()
    record = place.registry.instance("web/0")
    assert record is not None
    place.commit([("instance", "web/0", replace(record, note="odd \udcff byte"))])
    place.happens("odd \udcff byte")
    client = place.client()
    assert client.get("/instances").json["instances"][0]["note"] == "odd ? byte"
    assert client.get("/events").json["events"][-1]["text"] == "odd ? byte"


def test_head_is_get_without_a_body() -> None:
    client = Place().client()
    length = client.get("/instances").headers["content-length"]
    client.transport.clear()
    client.ask("HEAD", "/api/v1/instances")
    head, _, body = client.raw.partition(b"\r\n\r\n")
    assert f"Content-Length: {length}".encode() in head
    assert body == b""
    assert client.get("/instances").status == 200

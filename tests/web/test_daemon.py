"""`/apps`, `/issues`, `/daemon`."""

from droned.models.records import IssueKind, IssueRecord, ServerRecord
from tests.web.harness import Place


def test_apps_are_what_is_configured() -> None:
    answer = Place().client().get("/apps").json
    assert [(each["app"], each["instances"], each["scaled_to"]) for each in answer["apps"]] == [
        ("web", 2, None),
        ("db", 1, None),
    ]
    assert answer["apps"][0]["spec"]["restart"]["policy"] == "on-failure"
    assert answer["apps"][0]["spec"]["stop"][0] == {"signal": 15, "to": "main", "for_s": 10.0}


def test_issues_have_a_remedy() -> None:
    place = Place()
    assert place.client().get("/issues").json["issues"] == []
    issue = IssueRecord(
        key="guardian:server",
        kind=IssueKind.GUARDIAN,
        subject="server",
        text="it was lost",
        remedy="look",
        opened_at=1_000_000.0,
    )
    place.commit([("issue", issue.key, issue)])
    assert place.client().get("/issues").json["issues"] == [
        {
            "key": "guardian:server",
            "kind": "guardian",
            "subject": "server",
            "text": "it was lost",
            "remedy": "look",
            "opened_at": "1970-01-12T13:46:40.000000Z",
            "version": 2,
        }
    ]


def test_the_daemon_says_how_it_is() -> None:
    place = Place()
    answer = place.client().get("/daemon").json
    assert answer == {
        "pid": 7,
        "socket": "/run/droned.sock",
        "degraded": [],
        "server": "web1",
        "boot_id": None,
        "issues": 0,
        "registry_version": 1,
    }
    place.commit([("server", "server", ServerRecord(key="server", name="web1", boot_id="b-1"))])
    assert place.client().get("/daemon").json["boot_id"] == "b-1"

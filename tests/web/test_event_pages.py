"""`/events` as pages."""

import pytest

from droned.models.events import EventType, Occurrence
from tests.web.harness import Place
from tests.web.streams import follow, place_with_events


def test_an_event_has_the_agreed_shape() -> None:
    place = Place()
    place.commit(
        (),
        [
            Occurrence(
                type=EventType.INSTANCE_STARTED, subject="web/0", text="running, pid 7", data={"run": 1}
            ),
            Occurrence(type=EventType.INSTANCE_STARTED, subject="web/1", text="running, pid 8"),
        ],
        cause=1,
        actor="alice (uid 1000)",
    )
    place.turn()
    event = place.client().get("/events").json["events"][-2]
    assert event == {
        "id": "2.0",
        "version": 2,
        "at": "1970-01-12T13:46:40.000000Z",
        "type": "instance-started",
        "subject": "web/0",
        "actor": "alice (uid 1000)",
        "cause": 1,
        "text": "running, pid 7",
        "data": {"run": 1},
    }


def test_a_page_without_a_place_is_the_last_events() -> None:
    place = place_with_events()
    answer = place.client().get("/events?limit=2").json
    assert [event["text"] for event in answer["events"]] == ["event 4", "event 5"]
    assert answer["next"] == "7"
    assert answer["version"] == 7


def test_pages_follow_each_other_without_a_hole() -> None:
    place = place_with_events()
    client = place.client()
    found, after = [], "0"
    while True:
        answer = client.get(f"/events?limit=2&since={after}").json
        if not answer["events"]:
            break
        found += [event["text"] for event in answer["events"]]
        after = answer["next"]
    assert found == ["loaded", *(f"event {number}" for number in range(6))]
    assert after == "7"


def test_a_version_means_behind_all_of_its_events() -> None:
    place = Place()
    place.commit(
        (), [Occurrence(type=EventType.INSTANCE_FOUND, subject="web/0", text=str(n)) for n in range(3)]
    )
    place.turn()
    client = place.client()
    assert [event["text"] for event in client.get("/events?since=2.0").json["events"]] == ["1", "2"]
    assert client.get("/events?since=2").json["events"] == []
    assert [event["text"] for event in client.get("/events?since=1").json["events"]] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("type=instance-started", ["0", "1"]),
        ("type=instance-started&type=app-changed", ["0", "1", "2"]),
        ("target=web", ["0", "2"]),
        ("target=web/0", ["0"]),
        ("target=db/*&target=web/0", ["0", "1"]),
        ("target=web1:db", ["1"]),
        ("target=gone/9", []),
        ("target=@web1", ["loaded", "0", "1", "2", "3"]),
        ("target=web&type=instance-started", ["0"]),
    ],
)
def test_events_can_be_chosen(query: str, found: list[str]) -> None:
    place = Place()
    place.happens("0", subject="web/0")
    place.happens("1", subject="db/0")
    place.happens("2", subject="app web", type=EventType.APP_CHANGED)
    place.happens("3", subject="service journal", type=EventType.SERVICE_FAILED)
    events = place.client().get(f"/events?since=0&{query}").json["events"]
    assert [event["text"] for event in events] == found


@pytest.mark.parametrize(
    "query", ["type=instance-startd", "target=web2:web", "since=x", "target=", "follow=2", "types=a"]
)
def test_a_wrong_choice_is_refused(query: str) -> None:
    assert Place().client().get(f"/events?{query}").status in (400, 404)
    assert follow(Place(), f"&{query}").reply().status in (400, 404)


def test_an_unknown_type_names_its_neighbour() -> None:
    assert Place().client().get("/events?type=instance-startd").json["near"][0] == "instance-started"


def test_pages_reach_back_before_the_daemons_start() -> None:
    place = place_with_events()
    place.serve()
    place.happens("event 6")
    client = place.client()
    everything = ["loaded", *(f"event {number}" for number in range(7))]
    assert [event["text"] for event in client.get("/events").json["events"]] == everything
    assert [event["text"] for event in client.get("/events?since=0").json["events"]] == everything
    page = client.get("/events?since=5&limit=2").json
    assert [event["text"] for event in page["events"]] == ["event 4", "event 5"]
    assert page["next"] == "7.0"

"""`/events` as a stream: resumed exactly, whatever happens in between."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from droned.models.events import EventType, Occurrence
from tests.web.harness import Place, SteppedPool
from tests.web.streams import follow, lines, place_with_events, stream, texts

HEARTBEAT_S = 15.0


def test_a_stream_begins_with_where_it_stands_and_goes_on() -> None:
    place = place_with_events(2)
    client = follow(place)
    assert stream(client).headers["content-type"] == "application/x-ndjson"
    assert lines(client) == [{"type": "sync", "id": "3", "version": 3}]
    place.happens("now")
    assert texts(client) == ["now"]
    assert lines(client)[-1]["id"] == "4.0"


def test_server_sent_events_for_those_who_accept_them() -> None:
    place = place_with_events(1)
    client = place.client()
    client.ask("GET", "/api/v1/events", b"", Accept="text/event-stream", Accept_Encoding="gzip")
    place.happens("now")
    reply = stream(client)
    assert reply.headers["content-type"] == "text/event-stream"
    assert "content-encoding" not in reply.headers
    opening, sync, event, rest = reply.text.split("\n\n")
    assert opening == "retry: 1000"
    assert sync == 'id: 2\nevent: sync\ndata: {"type":"sync","version":2}'
    event_id, data = event.split("\n")
    assert event_id == "id: 3.0"
    assert json.loads(data.removeprefix("data: "))["text"] == "now"
    assert rest == ""


@pytest.mark.parametrize("headers", [{"Accept": "application/x-ndjson"}, {"Last-Event-ID": "2.0"}])
def test_json_lines_for_those_who_accept_them(headers: dict[str, str]) -> None:
    place = place_with_events(2)
    client = place.client()
    query = "" if "Accept" in headers else "?follow=1"
    client.ask("GET", f"/api/v1/events{query}", b"", **headers)
    assert lines(client)[0]["type"] == "sync"


def test_the_last_id_wins_over_since() -> None:
    place = place_with_events(4)
    client = follow(place, "&since=1", **{"Last-Event-ID": "4.0"})
    assert texts(client) == ["event 3"]
    assert follow(place, "&since=3").reply().body.count(b"event") == 2


def test_a_wrong_last_id_is_refused() -> None:
    client = follow(Place(), **{"Last-Event-ID": "4.0; drop"})
    assert stream(client).status == 400


def test_a_stream_tells_only_what_is_on_disk() -> None:
    """An id that a client has seen means the same after a kill -9 of the daemon."""
    place = place_with_events(1)
    client = follow(place)
    place.journal.is_held = True
    place.happens("first")
    place.happens("second")
    assert texts(client) == []
    assert place.client().get("/events?since=0").json["events"][-1]["text"] == "event 0"
    place.journal.write()
    assert texts(client) == ["first"]
    place.journal.write()
    assert texts(client) == ["first", "second"]


def test_a_version_that_is_not_on_disk_yet_can_be_waited_for() -> None:
    """A receipt may be older than the feed: no gap, and nothing from before."""
    place = place_with_events(1)
    place.journal.is_held = True
    version = place.happens("asked")
    client = follow(place, f"&since={version}")
    place.happens("came of it")
    place.journal.write()
    place.journal.write()
    assert texts(client) == ["came of it"]
    assert [line["type"] for line in lines(client)] == ["sync", "instance-started"]


def test_a_journal_that_cannot_write_does_not_silence_the_events() -> None:
    place = place_with_events(1)
    client = follow(place)
    place.journal.is_degraded = True
    place.happens("trouble", type=EventType.JOURNAL_ERROR, subject="service journal")
    assert texts(client) == ["trouble"]


def test_a_stream_resumes_over_a_restart_of_the_daemon() -> None:
    place = place_with_events(3)
    first = follow(place, "&since=0")
    seen = texts(first)
    last_id = lines(first)[-1]["id"]
    place.serve()
    place.happens("after the restart")
    second = follow(place, "", **{"Last-Event-ID": last_id})
    assert [*seen, *texts(second)] == ["loaded", "event 0", "event 1", "event 2", "after the restart"]


def test_a_place_that_was_never_reached_is_a_gap() -> None:
    """The last moments before a crash were told while the journal could not write."""
    place = place_with_events(1)
    client = follow(place, "&since=99.0")
    assert lines(client) == [
        {"type": "sync", "version": 2},
        {"type": "gap", "id": "2", "after": 99, "until": 2, "version": 2},
    ]
    place.happens("now")
    assert texts(client) == ["now"]


def test_what_the_journal_has_no_more_is_a_gap() -> None:
    place = place_with_events(6)
    del place.journal.records[:4]
    place.serve()
    client = follow(place, "&since=1")
    assert lines(client)[1] == {"type": "gap", "id": "4", "after": 1, "until": 4, "version": 7}
    assert texts(client) == ["event 3", "event 4", "event 5"]


def test_a_journal_that_cannot_be_read_ends_the_stream_with_a_gap() -> None:
    place = place_with_events(6)
    place.serve()
    place.journal.fault = OSError("broken")
    client = follow(place, "&since=1")
    assert [line["type"] for line in lines(client)] == ["sync", "gap"]
    assert client.raw.endswith(b"0\r\n\r\n")


def test_a_fault_in_the_middle_of_a_stream_cuts_it_off() -> None:
    """Half an answer cannot become a problem document; the client resumes from its last id."""
    place = place_with_events(6)
    place.serve()
    place.journal.fault = ZeroDivisionError("unforeseen")
    client = follow(place, "&since=1")
    assert [line["type"] for line in lines(client)] == ["sync"]
    assert not client.is_open()
    place.happens("now")


def test_a_slow_reader_gets_a_gap_and_resumes_without_a_loss() -> None:
    place = place_with_events(0, kept=8)
    client = follow(place)
    place.happens("seen")
    client.channel.pauseProducing()
    for number in range(30):
        place.happens(f"missed {number}")
    assert texts(client) == ["seen"]
    client.channel.resumeProducing()
    assert lines(client)[-1] == {"type": "gap", "after": 2, "until": None, "version": 32}
    assert client.raw.endswith(b"0\r\n\r\n")
    last_id = [line["id"] for line in lines(client) if "text" in line][-1]
    again = follow(place, "", **{"Last-Event-ID": last_id})
    assert texts(again) == [f"missed {number}" for number in range(30)]


def test_a_short_pause_costs_nothing() -> None:
    place = place_with_events(0)
    client = follow(place)
    client.channel.pauseProducing()
    place.happens("while paused")
    assert texts(client) == []
    client.channel.resumeProducing()
    assert texts(client) == ["while paused"]


def test_the_past_waits_for_a_slow_reader_too() -> None:
    place = Place()
    for number in range(1_700):
        place.commit(
            (), [Occurrence(type=EventType.INSTANCE_STARTED, subject="web/0", text=f"event {number}")]
        )
    place.turn()
    place.serve()
    client = place.client()
    client.transport.most = 50_000
    client.ask("GET", "/api/v1/events?follow=1&since=1")
    assert len(texts(client)) == 500
    client.transport.most = None
    client.channel.resumeProducing()
    assert texts(client) == [f"event {number}" for number in range(1_700)]
    place.happens("now")
    assert texts(client)[-1] == "now"


def test_a_client_that_goes_while_the_past_is_read_leaves_nothing_behind() -> None:
    pool = SteppedPool()
    place = Place(pool=pool)
    place.turn()
    place.serve()
    client = follow(place, "&since=0")
    client.transport.loseConnection()
    pool.waiting.clear()
    place.turn()
    assert place.clock.pending == 0


def test_silence_is_broken_by_a_heartbeat() -> None:
    place = Place()
    place.turn()
    by_line, by_event = follow(place), place.client()
    by_event.ask("GET", "/api/v1/events", b"", Accept="text/event-stream")
    place.clock.advance(HEARTBEAT_S)
    assert lines(by_line)[-1] == {"type": "heartbeat"}
    assert stream(by_event).text.endswith(": heartbeat\n\n")
    by_line.transport.loseConnection()
    by_event.transport.loseConnection()
    assert place.clock.pending == 0


def test_nothing_is_left_of_a_client_that_goes() -> None:
    place = place_with_events(2)
    client = follow(place, "&since=0")
    client.transport.loseConnection()
    place.happens("nobody hears")
    assert place.clock.pending == 0


def test_head_of_a_stream_is_answered_and_over() -> None:
    client = Place().client()
    client.ask("HEAD", "/api/v1/events?follow=1")
    assert b"application/x-ndjson" in client.raw
    client.transport.clear()
    assert client.get("/issues").status == 200


def test_the_connection_serves_on_after_a_stream_has_ended() -> None:
    place = place_with_events(1)
    client = follow(place)
    place.root.finish()
    assert client.raw.endswith(b"0\r\n\r\n")
    assert client.get("/issues").status == 200


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("happen"), st.integers(1, 6)),
            st.tuples(st.just("break"), st.just(0)),
            st.tuples(st.just("pause"), st.just(0)),
            st.tuples(st.just("resume"), st.just(0)),
            st.tuples(st.just("restart"), st.just(0)),
        ),
        max_size=30,
    )
)
def test_whoever_resumes_from_the_last_id_sees_every_event_once(steps: list[tuple[str, int]]) -> None:
    """Over broken connections, slow readers and restarts of the daemon alike."""
    place = Place(kept=8)
    place.turn()
    told: list[str] = []
    seen: list[str] = []
    last_id = "1"
    client = follow(place, f"&since={last_id}")

    def gather() -> None:
        nonlocal last_id
        for line in lines(client):
            if "text" in line:
                seen.append(line["text"])
                last_id = line["id"]

    def again() -> None:
        nonlocal client
        gather()
        if client.is_open():
            client.transport.loseConnection()
        client = follow(place, f"&since={last_id}")

    for step, count in steps:
        if step == "happen":
            for _ in range(count):
                told.append(f"event {len(told)}")
                place.happens(told[-1])
        elif step == "pause":
            client.channel.pauseProducing()
        elif step == "resume":
            client.channel.resumeProducing()
        elif step == "restart":
            gather()
            client.transport.loseConnection()
            place.serve()
            client = follow(place, f"&since={last_id}")
        else:
            again()
    client.channel.resumeProducing()
    again()
    gather()
    assert seen == told


def test_a_burst_is_kept_for_those_who_read() -> None:
    place = place_with_events(0, kept=8)
    client = follow(place)
    client.channel.pauseProducing()
    for number in range(30):
        place.commit((), [Occurrence(type=EventType.INSTANCE_STARTED, subject="web/0", text=str(number))])
    place.turn()
    client.channel.resumeProducing()
    assert texts(client) == [str(number) for number in range(30)]


def test_a_burst_beyond_all_measure_is_not_kept() -> None:
    place = place_with_events(0, kept=8)
    client = follow(place)
    client.channel.pauseProducing()
    for number in range(50):
        place.commit((), [Occurrence(type=EventType.INSTANCE_STARTED, subject="web/0", text=str(number))])
    place.turn()
    assert len(place.feed.everything()) == 8
    client.channel.resumeProducing()
    assert lines(client)[-1]["type"] == "gap"

"""`/logs`: the question that a reader is asked, and what becomes of its answer."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.commands.table import Role
from droned.errors import Busy, ShuttingDown
from droned.models.policy import LogPolicy
from droned.web.log_stream import LogMessages
from tests.web.harness import Client, Place, ScriptedReading, Visit, app
from tests.web.test_instances import crashed

LINE = b'{"position": 4711, "at": "Z", "instance": "web/0", "run": 3, "stream": "stdout", "line": "hello"}\n'
END = b'{"event": "end", "position": 4711}\n'
CAUGHT_UP = b'{"event": "caught_up", "position": 4711}\n'


def asked(place: Place, query: str = "", **headers: str) -> tuple[Client, ScriptedReading]:
    """A client that has asked for logs, and the reader that was started for it."""
    client = place.client()
    client.ask("GET", f"/api/v1/logs{query}", b"", **headers)
    assert len(place.logs.readings) == 1, client.raw
    return client, place.logs.readings[0]


def refused(query: str, place: Place | None = None) -> Any:
    """The problem that a question is answered with."""
    place = place or Place()
    reply = place.client().get(f"/logs{query}")
    assert place.logs.readings == []
    assert reply.status >= 400
    assert reply.json["detail"].startswith("cannot ")
    return reply.json


def test_without_arguments_everything_is_asked_for() -> None:
    _, reading = asked(Place())
    assert reading.question == {
        "instances": [],
        "apps": [],
        "streams": ["stdout", "stderr", "output"],
        "since": None,
        "until": None,
        "after": None,
        "last": None,
        "run": None,
        "is_previous": False,
        "grep": None,
        "is_inverted": False,
        "ignore_case": False,
        "follow": False,
    }


def test_every_argument_is_in_the_question() -> None:
    _, reading = asked(
        Place(),
        "?stream=stderr&after=4711&last=200&run=3&grep=ERR.R&invert=true&ignore_case=true&follow=true",
    )
    question = reading.question
    assert (question["streams"], question["after"], question["last"]) == (["stderr"], 4711, 200)
    assert (question["run"], question["grep"]) == (3, "ERR.R")
    assert question["is_inverted"] is question["ignore_case"] is question["follow"] is True


@pytest.mark.parametrize(
    ("target", "apps", "instances"),
    [
        ("?target=web", ["web"], []),
        ("?target=web/*", ["web"], []),
        ("?target=w*", ["web"], []),
        ("?target=web/0&target=db", ["db"], ["web/0"]),
        ("?target=*/0", [], ["web/0", "db/0"]),
        ("?target=@web1", [], []),
        ("?target=web/0&target=@web1", [], []),
        ("?target=web1:web/1", [], ["web/1"]),
        ("?target=droned/log", [], ["droned/log"]),
        ("?target=droned/log&target=web", ["web"], ["droned/log"]),
    ],
)
def test_an_app_is_asked_for_with_what_it_will_have(
    target: str, apps: list[str], instances: list[str]
) -> None:
    _, reading = asked(Place(), target)
    assert (reading.question["apps"], reading.question["instances"]) == (apps, instances)


@pytest.mark.parametrize(
    ("target", "apps", "instances"),
    [
        ("?target=oldapp", ["oldapp"], []),
        ("?target=old*", ["oldapp"], []),
        ("?target=oldapp/*", ["oldapp"], []),
        ("?target=oldapp/0", [], ["oldapp/0"]),
        ("?target=oldapp/0&target=web/9&target=web/0&target=db", ["db"], ["oldapp/0", "web/9", "web/0"]),
        ("?target=w*", ["web"], []),
        ("?target=web1:oldapp/1", [], ["oldapp/1"]),
    ],
)
def test_what_left_the_configuration_is_found_by_what_is_kept_of_it(
    target: str, apps: list[str], instances: list[str]
) -> None:
    place = Place()
    place.logs.gone = ("oldapp/0", "oldapp/1", "web/0", "web/9", "worker/0")
    _, reading = asked(place, target)
    assert (reading.question["apps"], reading.question["instances"]) == (apps, instances)


@pytest.mark.parametrize(
    ("target", "hint"),
    [("olddap", "oldapp"), ("oldapp/7", "oldapp/0"), ("web/7", "web/0"), ("elsewhere:oldapp", "")],
)
def test_what_was_never_there_is_an_error_with_a_hint(target: str, hint: str) -> None:
    place = Place()
    place.logs.gone = ("oldapp/0",)
    problem = refused(f"?target={target}", place)
    assert problem["status"] == 404
    assert hint in problem["detail"]


def test_moments_become_seconds() -> None:
    place = Place()
    place.clock.advance(1000.0)
    version = place.happens("something")
    at = place.clock.wall()
    place.clock.advance(50.0)
    now = place.clock.wall()
    for text, second in (
        ("10m", now - 600.0),
        ("1h30m", now - 5400.0),
        ("boot", now - place.clock.mono()),
        (f"@{version}", at),
        ("1970-01-12T13:46:40.5Z", 1000000.5),
        ("1970-01-12T15:46:40.5%2B02:00", 1000000.5),
    ):
        place.logs.readings.clear()
        _, reading = asked(place, f"?since={text}&until={text}")
        assert (reading.question["since"], reading.question["until"]) == (second, second), text


def test_a_version_of_before_this_daemon_is_looked_up_in_the_journal() -> None:
    place = Place()
    version = place.happens("something")
    at = place.clock.wall()
    place.clock.advance(10.0)
    place.serve()
    _, reading = asked(place, f"?since=@{version}")
    assert reading.question["since"] == at


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?grep=(", "as grep: it must be a regular expression"),
        (f"?grep={'x' * 1001}", "as grep: it must be one line of at most 1000 characters"),
        ("?last=100001", "as last: it must be a whole number from 0 to 100000"),
        ("?last=-1", "as last"),
        ("?stream=stdin", "as stream: it must be one of stdout, stderr, output"),
        ("?since=yesterday", "as since: it must be how long ago"),
        ("?since=2026-11-27T04:31:02", "as since"),
        ("?since=10", "as since"),
        ("?until=2026-13-27T04:31:02Z", "as until"),
        ("?since=@99999", "cannot find the moment of version 99999"),
        ("?since=9999-01-01T00:00:00Z", "cannot begin at 9999-01-01T00:00:00.000000Z: that is yet to come"),
        ("?since=10m&until=20m", "and end before"),
        ("?after=x", "as after"),
        ("?run=3&previous=true", "cannot take both run and previous"),
        ("?folow=true", 'cannot take "folow" with logs'),
        ("?follow=yes", "as follow"),
        ("?target=wbe", 'cannot find instance or app "wbe"'),
        ("?target=web/7", 'cannot find instance or app "web/7"'),
        ("?target=elsewhere:web", "cannot reach server"),
    ],
)
def test_a_question_that_cannot_be_meant_starts_no_reader(query: str, said: str) -> None:
    assert said in refused(query)["detail"]


def test_who_has_no_role_reads_nothing() -> None:
    assert refused("", Place(visit=Visit(role=None)))["status"] == 403


def test_lines_are_handed_on_as_they_are_printed() -> None:
    client, reading = asked(Place())
    reading.prints(LINE[:20])
    assert client.raw == b""
    reading.prints(LINE[20:] + END)
    reading.ends(0)
    reply = client.reply()
    assert (reply.status, reply.headers["content-type"]) == (200, "application/x-ndjson")
    assert reply.body == LINE + END
    assert client.is_open()


def test_what_is_not_captured_is_told_first_with_its_files() -> None:
    """Of what is asked for by name; it has no position, so nobody goes on from it."""
    place = Place()
    direct = app("web", ("0", "1"))
    direct = msgspec.structs.replace(
        direct, spec=msgspec.structs.replace(direct.spec, logs=LogPolicy(direct=True))
    )
    place.commit([("app", "web", direct)], [])
    events = [
        {
            "event": "direct",
            "instance": key,
            "files": {"stdout": f"/logs/{key}/stdout", "stderr": f"/logs/{key}/stderr"},
        }
        for key in ("web/0", "web/1")
    ]
    for query, told in (
        ("?target=web&follow=true", events),
        ("?target=web/1&target=db", events[1:]),
        ("?target=db", []),
        ("", []),
    ):
        place.logs.readings.clear()
        client, reading = asked(place, query)
        reading.prints(LINE)
        assert [json.loads(each) for each in client.reply().body.splitlines()] == [*told, json.loads(LINE)]
    place.logs.readings.clear()
    client, reading = asked(place, "?target=web/1", Accept="text/event-stream")
    reading.prints(LINE)
    message = client.reply().text.split("\n\n")[1]
    assert message.startswith("event: direct\ndata: {")


def test_positions_are_the_ids_of_server_sent_events() -> None:
    client, reading = asked(Place(), "?follow=true", Accept="text/event-stream")
    odd = LINE.replace(b"hello", rb"\udcff").replace(b"4711", b"4712")
    reading.prints(LINE + odd + CAUGHT_UP)
    reading.prints(CAUGHT_UP[:9])
    reading.prints(CAUGHT_UP[9:])
    reply = client.reply()
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.text.split("\n\n") == [
        "retry: 1000",
        f"id: 4711\ndata: {LINE.decode().strip()}",
        f"id: 4712\ndata: {odd.decode().strip()}",
        f"id: 4711\nevent: caught_up\ndata: {CAUGHT_UP.decode().strip()}",
        ": heartbeat",
        "",
    ]


@given(st.lists(st.integers(0, 2**62)), st.integers(1, 40))
def test_events_are_the_same_however_the_pieces_fall(positions: list[int], size: int) -> None:
    lines = [json.dumps({"position": each, "line": "x\udc80 é"}).encode() + b"\n" for each in positions]
    printed = b"".join(lines)
    framing = LogMessages()
    written = b"".join(
        framing.framed(printed[start : start + size]) for start in range(0, len(printed), size)
    )
    assert written == LogMessages().framed(printed)
    assert written.count(b"\n\n") == len(positions)


def test_the_last_id_is_where_it_goes_on() -> None:
    _, reading = asked(Place(), "?after=3", **{"Last-Event-ID": "4711"})
    assert reading.question["after"] == 4711
    reply = Place().client().get("/logs", **{"Last-Event-ID": "4711.0"})
    assert reply.status == 400


def test_heartbeats_come_while_a_reader_is_silent() -> None:
    place = Place()
    client, reading = asked(place, "", Accept="text/event-stream")
    reading.prints(LINE)
    place.clock.advance(15.0)
    assert client.reply().text.endswith("\n\n: heartbeat\n\n")


def test_what_the_reader_refuses_is_a_problem() -> None:
    client, reading = asked(Place(), "?grep=x")
    reading.prints(b'{"error": "cannot search for this: it is too hard"}\n')
    reading.ends(2 << 8)
    reply = client.reply()
    assert (reply.status, reply.json["detail"]) == (400, "cannot search for this: it is too hard")


def test_a_reader_that_fails_at_once_is_an_error() -> None:
    for printed, said in (
        (b"", "cannot read logs: the reader failed; droned's log says why"),
        (b'{"error": "cannot read the logs: EIO"}\n', "cannot read the logs: EIO"),
    ):
        client, reading = asked(Place())
        reading.prints(printed)
        reading.ends(1 << 8)
        reply = client.reply()
        assert (reply.status, reply.json["code"], reply.json["detail"]) == (500, "internal", said)


def test_an_error_in_the_middle_is_an_event_of_its_own() -> None:
    client, reading = asked(Place(), "", Accept="text/event-stream")
    reading.prints(LINE + b'{"error": "cannot read the logs: EIO"}\n')
    assert b'event: error\ndata: {"error": "cannot read the logs: EIO"}\n\n' in client.raw


def test_a_reader_that_fails_later_leaves_the_answer_unfinished() -> None:
    client, reading = asked(Place())
    reading.prints(LINE)
    reading.ends(9)
    assert not client.is_open()
    assert not client.raw.endswith(b"0\r\n\r\n")


def test_the_reader_is_killed_when_its_client_goes() -> None:
    for has_begun in (False, True):
        client, reading = asked(Place(), "?follow=true")
        if has_begun:
            reading.prints(LINE)
        client.transport.loseConnection()
        assert reading.is_killed


def test_a_client_that_does_not_read_stops_its_reader_and_nothing_is_kept_for_it() -> None:
    client, reading = asked(Place(), "?follow=true")
    client.transport.most = 1000
    while not reading.is_paused:
        reading.prints(LINE)
    assert len(client.raw) < 1000 + 2 * len(LINE)
    client.channel.resumeProducing()
    assert not reading.is_paused


def test_streams_end_in_order_with_the_site() -> None:
    place = Place()
    client, reading = asked(place, "?follow=true")
    reading.prints(LINE)
    place.root.finish()
    assert reading.is_killed
    assert client.raw.endswith(b"0\r\n\r\n")
    assert place.clock.pending <= 1, "only the sweep of the connections"


def test_one_reader_too_many_is_told_when_to_come_again() -> None:
    place = Place()
    place.logs.fault = Busy("cannot follow logs: 16 do so already", 2)
    reply = place.client().get("/logs?follow=true")
    assert (reply.status, reply.headers["retry-after"], reply.json["code"]) == (503, "2", "busy")
    assert reply.json["retry_after_s"] == 2


def test_the_head_of_an_answer_starts_no_reader() -> None:
    place = Place()
    client = place.client()
    client.ask("HEAD", "/api/v1/logs")
    assert client.raw.startswith(b"HTTP/1.1 200 OK")
    assert b"application/x-ndjson" in client.raw
    assert place.logs.readings == []


def test_usage_is_what_droned_logs_says() -> None:
    reply = Place().client().get("/logs/usage").json
    assert reply["instances"]["web/0"]["segments"] == 2
    assert (reply["index_bytes"], reply["total_bytes"], reply["server"]) == (9, 10, "web1")
    place = Place()
    place.logs.fault = ShuttingDown("cannot tell the usage of logs: droned-logs does not answer")
    assert place.client().get("/logs/usage").status == 503


def post(place: Place, path: str, document: object, **headers: str) -> Any:
    client = place.client()
    headers.setdefault("Content_Type", "application/json")
    client.ask("POST", f"/api/v1/logs/{path}", json.dumps(document).encode(), **headers)
    return client.reply()


@pytest.mark.parametrize(("path", "command"), [("rotate", "logs-rotate"), ("clear", "logs-clear")])
def test_orders_are_commands(path: str, command: str) -> None:
    place = Place()
    reply = post(place, path, {"targets": ["web"], "reason": "room"})
    assert (reply.status, reply.json) == (200, {"version": 1, "durable": True})
    [(request, caller)] = place.requests
    assert (request.command, request.targets, request.reason) == (command, ("web",), "room")
    assert caller.actor == "root"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "without a target"),
        ({"targets": ["web"], "command": "stop"}, "cannot take a command here"),
        ({"target": "web"}, "cannot take member"),
        ({"targets": ["web"], "arguments": {"x": 1}}, 'cannot take "x" with logs-clear'),
        ([], "it must be a JSON object"),
    ],
)
def test_a_wrong_order_is_refused(document: object, said: str) -> None:
    place = Place()
    reply = post(place, "clear", document)
    assert reply.status == 400
    assert said in reply.json["detail"]
    assert place.requests == []


def test_an_order_needs_its_role_its_method_and_its_type() -> None:
    assert post(Place(visit=Visit(role=Role.READ)), "rotate", {"targets": ["web"]}).status == 403
    assert post(Place(visit=Visit(role=Role.OPERATE)), "rotate", {"targets": ["web"]}).status == 200
    assert post(Place(visit=Visit(role=Role.OPERATE)), "clear", {"targets": ["web"]}).status == 403
    assert post(Place(), "clear", {"targets": ["web"]}, Content_Type="text/plain").status == 400
    assert Place().client().get("/logs/clear").status == 405
    assert Place().client().get("/logs/nothing").status == 404


def test_describe_and_why_show_the_last_lines_of_runs_that_failed() -> None:
    place = Place()
    for run in (1, 2):
        crashed(place, run)
    lines = [{"stream": "stderr", "line": "Traceback"}]
    place.logs.lines = {2: lines}
    exits = place.client().get("/instances/web/0").json["exits"]
    assert [each.get("last_lines") for each in exits] == [None, lines]
    assert place.client().get("/instances/web/0/why").json["last_lines"] == lines
    place.logs.lines = {}
    assert place.client().get("/instances/web/0/why").json["last_lines"] == []

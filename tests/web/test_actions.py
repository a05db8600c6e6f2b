"""`/actions`: commands come in, actions are waited for."""

import json

import pytest
from msgspec.structs import replace

from droned.commands.dispatcher import Receipt
from droned.errors import Degraded, KeyReused
from droned.models.records import ActionItem, ActionRecord, ActionState, Goal, State
from tests.web.harness import Place, replies


def action(key: str = "5", **more: object) -> ActionRecord:
    return replace(
        ActionRecord(
            key=key,
            command="restart",
            targets=("web",),
            actor="root",
            reason="why not",
            began_at=1_000_000.0,
            items=tuple(
                ActionItem(instance=f"web/{label}", goal=Goal.RUNNING, after_run=1) for label in "01"
            ),
        ),
        **more,
    )


def place_with_action() -> Place:
    place = Place()
    place.commit([("action", "5", action())])
    return place


def test_a_command_is_handed_to_the_dispatcher_and_answered_with_its_receipt() -> None:
    place = place_with_action()
    place.receipt = Receipt(version=9, durable=True, action="5", result={"instances": 2})
    reply = place.client().post(
        {"command": "restart", "targets": ["web"], "reason": "why not"}, Idempotency_Key="k-1"
    )
    assert reply.status == 202
    assert reply.headers["location"] == "/api/v1/actions/5"
    answer = reply.json
    assert list(answer) == ["version", "durable", "action", "result"]
    assert (answer["version"], answer["durable"], answer["result"]) == (9, True, {"instances": 2})
    assert answer["action"] == {
        "id": "5",
        "command": "restart",
        "targets": ["web"],
        "actor": "root",
        "reason": "why not",
        "state": "running",
        "began_at": "1970-01-12T13:46:40.000000Z",
        "ended_at": None,
        "durable": True,
        "items": [
            {"instance": "web/0", "goal": "running", "after_run": 1, "state": "running", "text": ""},
            {"instance": "web/1", "goal": "running", "after_run": 1, "state": "running", "text": ""},
        ],
    }
    [(request, caller)] = place.requests
    assert request.idempotency_key == "k-1"
    assert request.targets == ("web",)
    assert caller.actor == "root"


def test_a_receipt_without_an_action_has_no_place() -> None:
    place = Place()
    reply = place.client().post({"command": "daemon-reload"})
    assert reply.status == 202
    assert reply.json["action"] is None
    assert "location" not in reply.headers


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "bad-request"),
        (b"{", 400, "bad-request"),
        (b"[]", 400, "bad-request"),
        (b'{"command": "stop", "all": true, "force": true}', 400, "bad-request"),
        (b'{"command": "stop"}', 400, "bad-request"),
        (b'{"command": "stop", "targets": ["web\\ud800"]}', 400, "bad-request"),
        (b'{"command": "stop", "targets": "web"}', 400, "bad-request"),
        (b'{"command": "status"}', 400, "bad-request"),
        (b'{"command": "kill", "all": true, "arguments": {"signal": "NOPE"}}', 400, "bad-request"),
        (b'{"command": "stpo", "all": true}', 404, "no-such-target"),
        (b'{"command": "start", "all": true}', 503, "not-in-service"),
        (b"[" * 100_000, 400, "bad-request"),
    ],
)
def test_a_wrong_command_changes_nothing(body: bytes, status: int, code: str) -> None:
    place = Place()
    reply = place.client().post(body)
    assert (reply.status, reply.json["code"]) == (status, code)
    assert place.requests == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_only_json_is_taken(kind: str) -> None:
    place = Place()
    reply = place.client().post({"command": "daemon-reload"}, Content_Type=kind)
    assert (reply.status, reply.json["code"]) == (400, "bad-request")
    assert place.requests == []


def test_the_character_set_of_json_may_be_told() -> None:
    reply = (
        Place().client().post({"command": "daemon-reload"}, Content_Type="application/json; charset=utf-8")
    )
    assert reply.status == 202


@pytest.mark.parametrize("key", ["", "a b", "x" * 129])
def test_a_wrong_idempotency_key_is_refused(key: str) -> None:
    assert Place().client().post({"command": "daemon-reload"}, Idempotency_Key=key).status == 400


def test_two_idempotency_keys_are_refused() -> None:
    client = Place().client()
    client.send(
        "POST /api/v1/actions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert client.reply().status == 400


@pytest.mark.parametrize(
    ("error", "status"), [(KeyReused("cannot do this"), 422), (Degraded("cannot write"), 503)]
)
def test_what_the_function_says_is_the_answer(error: Exception, status: int) -> None:
    place = Place()
    place.receipt = error
    reply = place.client().post({"command": "daemon-reload"})
    assert (reply.status, reply.json["detail"]) == (status, str(error))


def test_what_nobody_foresaw_is_told_by_an_id_and_nothing_else() -> None:
    place = Place()
    place.receipt = ZeroDivisionError("secret detail")
    reply = place.client().post({"command": "daemon-reload"})
    assert reply.status == 500
    problem = reply.json
    assert problem["code"] == "internal"
    assert problem["id"] in problem["detail"]
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body


def test_methods_that_do_not_fit_are_told_which_do() -> None:
    client = Place().client()
    for method, path, allowed in (
        ("PUT", "/api/v1/actions", "GET, HEAD, POST"),
        ("DELETE", "/api/v1/actions", "GET, HEAD, POST"),
        ("POST", "/api/v1/instances", "GET, HEAD"),
        ("BREW", "/api/v1/instances", "GET, HEAD"),
    ):
        client.transport.clear()
        client.ask(method, path)
        reply = client.reply()
        assert (reply.status, reply.headers["allow"]) == (405, allowed)
        assert reply.json["code"] == "wrong-method"


def test_actions_are_listed() -> None:
    place = place_with_action()
    answer = place.client().get("/actions").json
    assert [each["id"] for each in answer["actions"]] == ["5"]
    assert answer["version"] == 2


def test_an_action_comes_with_its_instances() -> None:
    place = place_with_action()
    answer = place.client().get("/actions/5").json
    assert list(answer) == ["version", "at", "action", "instances"]
    assert answer["action"]["id"] == "5"
    assert [row["instance"] for row in answer["instances"]] == ["web/0", "web/1"]
    place.commit([("instance", "web/1", None)])
    answer = place.client().get("/actions/5").json
    assert [row["instance"] for row in answer["instances"]] == ["web/0"]


def test_an_unknown_action_is_not_there() -> None:
    assert place_with_action().client().get("/actions/55?wait=5").status == 404


def moved(place: Place, key: str = "web/0") -> None:
    record = place.registry.instance(key)
    assert record is not None
    place.commit([("instance", key, replace(record, state=State.RUNNING, run=record.run + 1))])


def test_waiting_ends_when_an_instance_of_the_action_moves() -> None:
    place = place_with_action()
    client = place.client()
    client.ask("GET", f"/api/v1/actions/5?wait=30&since={place.registry.version}")
    moved(place, "db/0")
    place.turn()
    assert client.raw == b""
    moved(place)
    moved(place, "web/1")
    place.turn()
    answer = client.reply().json
    assert [row["state"] for row in answer["instances"]] == ["running", "running"]
    assert answer["version"] == place.registry.version


def test_waiting_ends_when_the_action_moves() -> None:
    place = place_with_action()
    client = place.client()
    client.ask("GET", "/api/v1/actions/5?wait=30")
    place.commit([("action", "5", action(state=ActionState.SUCCEEDED, ended_at=1_000_001.0))])
    place.turn()
    assert client.reply().json["action"]["state"] == "succeeded"
    assert place.clock.pending == 1  # the sweep


def test_waiting_ends_after_its_time() -> None:
    place = place_with_action()
    client = place.client()
    client.ask("GET", "/api/v1/actions/5?wait=2.5")
    place.clock.advance(2.4)
    assert client.raw == b""
    place.clock.advance(0.2)
    assert client.reply().json["action"]["state"] == "running"


def test_what_moved_already_is_not_waited_for() -> None:
    place = place_with_action()
    seen = place.registry.version
    moved(place)
    assert place.client().get(f"/actions/5?wait=30&since={seen}").status == 200


def test_an_action_that_has_ended_is_not_waited_for() -> None:
    place = place_with_action()
    place.commit([("action", "5", action(state=ActionState.FAILED, ended_at=1_000_001.0))])
    version = place.registry.version
    assert place.client().get(f"/actions/5?wait=30&since={version}").json["action"]["state"] == "failed"


def test_the_end_of_the_site_answers_those_who_wait() -> None:
    place = place_with_action()
    client = place.client()
    client.ask("GET", "/api/v1/actions/5?wait=30")
    place.root.finish()
    assert client.reply().json["action"]["state"] == "running"


def test_an_action_that_is_dropped_while_waited_for_is_not_there() -> None:
    place = place_with_action()
    client = place.client()
    client.ask("GET", "/api/v1/actions/5?wait=30")
    place.commit([("action", "5", None)])
    place.turn()
    assert client.reply().status == 404


def test_a_client_that_stops_waiting_leaves_nothing_behind() -> None:
    place = place_with_action()
    place.turn()
    client = place.client()
    client.ask("GET", "/api/v1/actions/5?wait=30")
    client.transport.loseConnection()
    assert place.clock.pending == 0
    moved(place)
    place.turn()


def test_a_command_is_done_even_if_its_asker_has_gone() -> None:
    place = Place()
    client = place.client()
    body = json.dumps({"command": "daemon-reload"})
    client.send(
        "POST /api/v1/actions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    )
    client.transport.loseConnection()
    assert len(place.requests) == 1


def test_requests_are_answered_in_their_order_though_one_waits() -> None:
    place = place_with_action()
    client = place.client()
    client.ask("GET", "/api/v1/actions/5?wait=1")
    client.ask("GET", "/api/v1/issues")
    assert client.raw == b""
    place.clock.advance(1.0)
    first, second = replies(client.raw)
    assert "action" in first.json
    assert second.json["issues"] == []

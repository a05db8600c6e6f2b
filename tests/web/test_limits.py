"""What a connection may do, and what becomes of it when it does more."""

import pytest

from droned.errors import BadRequest
from droned.web.channel import MOST_BODY, MOST_HEADER, Limits
from tests.web.harness import HOST, Client, Place, replies

GET = f"GET /api/v1/issues HTTP/1.1\r\n{HOST}\r\n"


def refusal(client: Client, status: int) -> None:
    """The client was told so in a problem document, and hung up on."""
    reply = client.reply()
    assert reply.status == status, reply
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["detail"].startswith("cannot ")
    assert not client.is_open()


@pytest.mark.parametrize(
    "text",
    [
        "GET /api/v1/issues HTTP/1.1\r\n\r\n",
        "GET /api/v1/issues HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /api/v1/issues HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET /api/v1/issues HTTP/1.0\r\n\r\n",
        f"GET /api/v1/issues HTTP/1.1\r\n{HOST}X: a\r\n b\r\n\r\n",
        f"GET /api/v1/issues HTTP/1.1\r\n{HOST}X: a\r\n\tb\r\n\r\n",
        f"GET /api/v1/issues HTTP/1.1\r\n{HOST}X : a\r\n\r\n",
        f"GET /api/v1/issues HTTP/1.1\r\n{HOST}no colon\r\n\r\n",
        f"GET /api/v1/issues HTTP/1.1\r\n{HOST}: nameless\r\n\r\n",
        f"GET /api/v1/issues HTTP/1.1\r\n{HOST}X: a\0b\r\n\r\n",
        f"GET /api/v1/issues HTTP/2.0\r\n{HOST}\r\n",
        f"GET  /api/v1/issues HTTP/1.1\r\n{HOST}\r\n",
        f"GET /api/v1/iss\x01ues HTTP/1.1\r\n{HOST}\r\n",
        f"G\xc3T /api/v1/issues HTTP/1.1\r\n{HOST}\r\n",
        "garbage\r\n\r\n",
        "\x16\x03\x01\x02\r\n",
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Content-Length: +5\r\n\r\n",
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Content-Length: -5\r\n\r\n",
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Content-Length: 0x5\r\n\r\n",
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Transfer-Encoding: gzip\r\n\r\n",
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_not_http_is_refused(text: str) -> None:
    place = Place()
    client = place.client()
    client.send(text)
    refusal(client, 400)
    assert place.requests == []
    assert place.site.connections == 0


def test_an_empty_line_in_front_of_a_request_is_forgiven() -> None:
    client = Place().client()
    client.send(f"\r\n{GET}")
    assert client.reply().status == 200


def test_the_host_may_be_anything() -> None:
    client = Place().client()
    client.send("GET /api/v1/issues HTTP/1.1\r\nHost: anything at all\r\n\r\n")
    assert client.reply().status == 200


@pytest.mark.parametrize(
    "head",
    [
        "GET /" + "x" * MOST_HEADER,
        "GET /x HTTP/1.1\r\nX: " + "x" * MOST_HEADER,
        "GET /x HTTP/1.1\r\n" + f"X: {'x' * 1000}\r\n" * 17,
        "GET /x HTTP/1.1\r\n" + "X: \r\n" * 4_000,
    ],
)
def test_a_header_that_is_too_large_is_refused(head: str) -> None:
    client = Place().client()
    client.send(head)
    if client.is_open():
        client.send("\r\n\r\n")
    assert client.reply().status in (400, 431)
    assert not client.is_open()


def test_a_header_just_within_the_limit_is_taken() -> None:
    client = Place().client()
    client.send(f"GET /api/v1/issues HTTP/1.1\r\n{HOST}X: {'x' * (MOST_HEADER - 200)}\r\n\r\n")
    assert client.reply().status == 200


def test_a_body_that_is_announced_too_large_is_refused_at_once() -> None:
    client = Place().client()
    client.send(f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Content-Length: {MOST_BODY + 1}\r\n\r\n")
    refusal(client, 413)


def test_a_body_that_grows_too_large_is_refused() -> None:
    client = Place().client()
    client.send(f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(17):
        if client.is_open():
            client.send(chunk)
    refusal(client, 413)


def test_a_chunked_body_within_the_limit_is_taken() -> None:
    place = Place()
    client = place.client()
    body = b'{"command": "daemon-reload"}'
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:9], body[9:])) + b"0\r\n\r\n"
    client.send(
        f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n".encode()
        + pieces
    )
    assert client.reply().status == 202


def test_a_dribbled_header_is_cut_after_ten_seconds_whatever_comes() -> None:
    place = Place()
    client = place.client()
    for byte in GET[:8]:
        client.send(byte)
        place.clock.advance(1.0)
    assert client.is_open()
    client.send("x")
    place.clock.advance(1.0)
    client.send("x")
    place.clock.advance(1.0)
    refusal(client, 408)


def test_a_connection_that_says_nothing_is_cut_without_a_word() -> None:
    place = Place()
    client = place.client()
    place.clock.advance(5.0)
    assert client.is_open()
    for _ in range(6):
        place.clock.advance(1.0)
    assert not client.is_open()
    assert client.raw == b""
    assert place.clock.pending == 0


def test_a_dribbled_body_is_cut_after_a_minute_whatever_comes() -> None:
    place = Place()
    client = place.client()
    client.send(f"POST /api/v1/actions HTTP/1.1\r\n{HOST}Content-Length: 1000\r\n\r\n")
    for _ in range(59):
        client.send("x")
        place.clock.advance(1.0)
    assert client.is_open()
    client.send("x")
    place.clock.advance(1.0)
    refusal(client, 408)


def test_the_deadline_counts_from_the_first_byte_of_each_request() -> None:
    place = Place()
    client = place.client()
    for _ in range(3):
        client.transport.clear()
        client.send(GET[:10])
        place.clock.advance(8.0)
        client.send(GET[10:])
        assert client.reply().status == 200
        place.clock.advance(100.0)
    assert client.is_open()


def test_an_idle_connection_is_closed_after_five_minutes() -> None:
    place = Place()
    client = place.client()
    client.get("/issues")
    for _ in range(299):
        place.clock.advance(1.0)
    assert client.is_open()
    client.transport.clear()
    place.clock.advance(2.0)
    assert not client.is_open()
    assert client.raw == b""


def test_a_long_answer_is_no_reason_to_hang_up() -> None:
    place = Place()
    client = place.client()
    client.ask("GET", "/api/v1/events?follow=1")
    for _ in range(700):
        place.clock.advance(1.0)
    assert client.is_open()


def test_a_client_that_does_not_read_is_cut_after_a_minute() -> None:
    place = Place()
    client = place.client()
    client.ask("GET", "/api/v1/events?follow=1")
    client.channel.pauseProducing()
    for _ in range(61):
        place.clock.advance(1.0)
    assert not client.is_open()


def test_one_connection_too_many_is_turned_away() -> None:
    place = Place(limits=Limits(connections=2))
    first, _ = place.client(), place.client()
    assert place.site.buildProtocol(None) is None
    first.transport.loseConnection()
    assert place.client().get("/issues").status == 200


def test_a_client_that_wants_to_close_is_closed() -> None:
    client = Place().client()
    client.ask("GET", "/api/v1/issues", b"", Connection="close")
    assert client.reply().status == 200
    assert not client.is_open()


def test_nothing_is_taken_after_a_refusal() -> None:
    place = Place()
    client = place.client()
    client.channel.refuse(BadRequest("cannot"))
    client.send(GET)
    client.channel.refuse(BadRequest("cannot again"))
    assert len(replies(client.raw)) == 1


def test_pipelined_requests_are_answered_in_order() -> None:
    client = Place().client()
    client.send(GET * 20)
    assert [reply.status for reply in replies(client.raw)] == [200] * 20


def test_the_end_of_the_site_lets_answers_finish() -> None:
    place = Place()
    idle, waiting = place.client(), place.client()
    idle.get("/issues")
    waiting.ask("GET", "/api/v1/events?follow=1")
    done: list[object] = []
    place._run(_after(place.site.farewell(), done), "farewell")
    assert not idle.is_open()
    assert waiting.is_open()
    assert place.site.buildProtocol(None) is None
    place.root.finish()
    assert not waiting.is_open()
    assert done == [None]
    place.turn()
    assert place.clock.pending == 0


def test_the_end_of_the_site_does_not_wait_for_ever() -> None:
    place = Place()
    client = place.client()
    client.ask("GET", "/api/v1/events?follow=1")
    done: list[object] = []
    place._run(_after(place.site.farewell(), done), "farewell")
    place.clock.advance(2.0)
    assert not client.is_open()
    assert done == [None]


async def _after(work: object, done: list[object]) -> None:
    done.append(await work)  # type: ignore[misc]  # a coroutine of the site

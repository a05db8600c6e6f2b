"""Following the events of a made-up place."""

import json
from typing import Any

from tests.web.harness import Client, Place, Reply


def lines(client: Client) -> list[Any]:
    """What a stream of JSON lines said so far."""
    return [json.loads(line) for line in stream(client).body.splitlines()]


def stream(client: Client) -> Reply:
    return client.reply()


def texts(client: Client) -> list[str]:
    return [line["text"] for line in lines(client) if "text" in line]


def follow(place: Place, query: str = "", **headers: str) -> Client:
    client = place.client()
    client.ask("GET", f"/api/v1/events?follow=1{query}", b"", **headers)
    return client


def place_with_events(count: int = 6, **more: Any) -> Place:
    place = Place(**more)
    place.turn()
    for number in range(count):
        place.happens(f"event {number}", subject=("web/0", "db/0")[number % 2])
    return place

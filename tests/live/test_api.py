"""The API over a real socket: streams, limits, throughput."""

import json
import os
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.live.api_client import ServerProcess, Wire, open_files, serving

pytestmark = pytest.mark.live


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path / "s", tmp_path) as running:
        assert running.first_line == "ready"
        yield running


def test_status_of_a_thousand_is_answered_again_and_again(server: ServerProcess) -> None:
    """Prints what it measured; figures that count are those of `bin/bench`."""
    with Wire(server.path) as wire:
        first = wire.get("/instances")
        assert len(first["instances"]) == 1_000
        took, body = [], b""
        for number in range(300):
            if number % 50 == 0:
                server.tell("crash web-000/1")
            began = time.perf_counter()
            wire.ask("/instances")
            status, _, body = wire.answer()
            took.append(time.perf_counter() - began)
            assert status == 200
        changed = json.loads(body)
    assert changed["version"] == first["version"] + 6
    assert changed["instances"][1]["state"] == "backoff"
    took.sort()
    print(
        f"\nstatus of 1,000 ({len(body) / 1024:.0f} KiB), one connection: {1 / statistics.mean(took):.0f}/s, "
        f"p50 {took[150] * 1e3:.2f} ms, p99 {took[296] * 1e3:.2f} ms"
    )


@pytest.mark.parametrize("reactor", ["epoll", "poll", "select", "asyncio"])
def test_every_reactor_serves(tmp_path: Path, reactor: str) -> None:
    with serving(tmp_path / "s", tmp_path, "--reactor", reactor, "--instances", "10") as running:
        with Wire(running.path) as wire:
            assert len(wire.get("/instances")["instances"]) == 10
            wire.ask("/events?follow=1&since=0")
            running.tell("events 1")
            lines = wire.lines()
            assert [next(lines)["type"] for _ in range(3)] == ["sync", "instance-crashed", "instance-crashed"]
        running.tell("stop")
        assert running.wait() == 0


def test_many_connections_at_once_are_all_answered(server: ServerProcess) -> None:
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.path)) for _ in range(400)]
        for wire in wires:
            wire.ask("/issues")
        assert {wire.answer()[0] for wire in wires} == {200}


def test_a_slow_reader_is_told_so_and_resumes_without_a_loss(server: ServerProcess) -> None:
    with Wire(server.path) as slow:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.ask("/events?follow=1")
        time.sleep(0.2)
        begun = 0
        for _ in range(10):
            begun = server.tell("events 2000")
            time.sleep(0.2)
        seen = []
        for line in slow.lines():
            if line["type"] == "gap":
                break
            seen.append(line)
        events = [line for line in seen if "text" in line]
        assert 0 < len(events) < 20_000
        assert line["until"] is None
    with Wire(server.path) as again:
        again.ask(f"/events?follow=1&since={events[-1]['id']}")
        for line in again.lines():
            if "text" in line:
                events.append(line)
                if line["version"] == begun:
                    break
    numbers = [int(event["text"].split()[1]) for event in events]
    assert numbers == [*range(2_000)] * 10


def test_a_burst_does_not_outrun_a_client_that_reads(server: ServerProcess) -> None:
    with Wire(server.path) as wire:
        wire.ask("/events?follow=1")
        lines = wire.lines()
        assert next(lines)["type"] == "sync"
        last = server.tell("events 10000")
        events = []
        for line in lines:
            events.append(line)
            if line.get("version") == last:
                break
    assert [int(event["text"].split()[1]) for event in events] == list(range(10_000))


def test_a_stream_resumes_exactly_over_kills_of_the_daemon(tmp_path: Path) -> None:
    versions: list[int] = []
    last_id = "1"
    for number in range(4):
        with serving(tmp_path / "s", tmp_path, "--instances", "10") as running:
            with Wire(running.path) as wire:
                wire.ask(f"/events?follow=1&since={last_id}")
                lines = wire.lines()
                assert next(lines)["type"] == "sync"
                running.tell("events 50")
                last = running.tell("events 50")
                if number % 2:
                    running.kill()
                with suppress(ConnectionError):
                    for line in lines:
                        if "text" in line:
                            versions.append(line["version"])
                            last_id = line["id"]
                            if line["version"] == last:
                                break
            running.kill()
    with serving(tmp_path / "s", tmp_path, "--instances", "10") as running, Wire(running.path) as wire:
        page = wire.get(f"/events?since={last_id}&limit=10000")
        versions += [event["version"] for event in page["events"]]
    assert versions == list(range(2, versions[-1] + 1))
    assert len(versions) >= 400


def test_a_dribbled_header_is_cut_though_bytes_keep_coming(tmp_path: Path) -> None:
    with serving(tmp_path / "s", tmp_path, "--header-s", "1") as running, Wire(running.path) as wire:
        began = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            for byte in b"GET /api/v1/issues HTTP/1.1\r\nHost: " + b"x" * 200:
                wire.send(bytes([byte]))
                time.sleep(0.05)
                if time.monotonic() - began > 6:
                    break
        status, _, body = wire.answer()
        assert status == 408
        assert json.loads(body)["code"] == "bad-request"
        assert wire.reader.read() == b""
        assert time.monotonic() - began < 6


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000, 431),
        (b"POST /api/v1/actions HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n" + b"x" * 50_000, 413),
    ],
)
def test_what_is_wrong_is_told_and_hung_up_on(server: ServerProcess, data: bytes, status: int) -> None:
    with Wire(server.path) as wire:
        with suppress(BrokenPipeError):
            wire.send(data)
        found, headers, body = wire.answer()
        assert (found, headers["content-type"]) == (status, "application/problem+json")
        assert json.loads(body)["detail"].startswith("cannot ")
        with suppress(ConnectionResetError):
            assert wire.reader.read() == b""
    with Wire(server.path) as wire:
        wire.get("/issues")


def test_nothing_is_left_of_clients_that_went(server: ServerProcess) -> None:
    before = open_files(server.pid)
    for number in range(60):
        with Wire(server.path) as wire:
            wire.ask("/events?follow=1&since=0" if number % 2 else "/instances")
            if number % 3:
                wire.head()
    with Wire(server.path) as wire:
        wire.get("/issues")
    server.tell("events 1")
    deadline = time.monotonic() + 10
    while open_files(server.pid) > before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert open_files(server.pid) <= before


def test_the_server_outlives_a_flood_of_connections_without_spinning(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "s", tmp_path, "--files", "60", "--instances", "10") as running,
        ExitStack() as crowd,
    ):
        for _ in range(100):
            end = crowd.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            end.setblocking(False)
            with suppress(BlockingIOError):
                end.connect(running.path)
        time.sleep(0.5)
        before = _cpu_s(running.pid)
        time.sleep(2.0)
        spent = _cpu_s(running.pid) - before
        crowd.close()
        with Wire(running.path) as wire:
            assert len(wire.get("/instances")["instances"]) == 10
    assert spent < 0.5, f"{spent} s of CPU in 2 s"


def test_the_end_of_the_service_finishes_streams_and_takes_the_socket_away(server: ServerProcess) -> None:
    with Wire(server.path) as following, Wire(server.path) as idle:
        idle.get("/issues")
        following.ask("/events?follow=1")
        lines = following.lines()
        assert next(lines)["type"] == "sync"
        server.tell("stop")
        assert list(lines) == []
        assert idle.reader.read() == b""
    assert server.wait() == 0
    assert not os.path.exists(server.path)


def test_commands_under_way_are_answered_at_the_end(server: ServerProcess) -> None:
    answers: list[int] = []

    def ask() -> None:
        with Wire(server.path) as wire:
            answers.append(wire.post({"command": "restart", "targets": ["web-000"]})[0])

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 5


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

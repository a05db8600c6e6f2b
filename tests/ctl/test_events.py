"""`events`, `wait` and the stream below them: positions, resuming, what is printed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from droned.ctl import following
from droned.ctl.api import Api
from droned.ctl.following import events_of
from droned.ctl.positions import position_of
from droned.ctl.session import Session
from droned.errors import BadRequest
from tests.ctl.conftest import Ctl
from tests.ctl.stub import RESET, Asked, Reply, StubDaemon, event, problem, row

NDJSON = "application/x-ndjson"


def lines(*documents: dict[str, Any], cut: bool = True) -> Reply:
    pieces = [json.dumps(each).encode() + b"\n" for each in documents]
    return Reply(200, pieces=pieces, content_type=NDJSON, cut=cut)


def sync(version: int) -> dict[str, Any]:
    return {"type": "sync", "version": version}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAUSE_S", 0.01)


def test_events_are_a_table_oldest_first(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.events = [
        event(1, "command-accepted", "web/0", "start web/0 by root", actor="root"),
        event(2, "instance-crashed", "web/0", "exited 1\n\x1b[2J", cause=1),
        event(3, "instance-enabled", "web/0", "enabled", actor="alice (uid 1000)"),
    ]
    done = ctl("events", "--since", "0")
    assert done.err == ""
    assert done.out.splitlines() == [
        "VERSION  AT                           TYPE              SUBJECT  TEXT",
        "1        2026-11-22T12:04:31.118204Z  command-accepted  web/0    start web/0 by root",
        "2        2026-11-22T12:04:31.118204Z  instance-crashed  web/0    exited 1\\n\\x1b[2J",
        "3        2026-11-22T12:04:31.118204Z  instance-enabled  web/0    enabled (by alice (uid 1000))",
    ]


def test_filters_go_to_the_daemon_and_pages_are_joined(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.events = [event(number, "instance-started", "web/0", "") for number in range(1, 2502)]
    done = ctl("events", "--since", "@1", "--type", "instance-started", "-o", "jsonl", "web", "db/0")
    found = [json.loads(line)["version"] for line in done.out.splitlines()]
    assert found == list(range(2, 2502))
    first = daemon.asked_for("GET", "/events")[0]
    assert first.query["type"] == ["instance-started"]
    assert first.query["target"] == ["web", "db/0"]
    assert first.query["since"] == ["1"]
    assert ctl("events", "--since", "0", "-n", "2", "--no-headers").out.count("\n") == 2


def test_following_goes_on_exactly_where_the_connection_broke(ctl: Ctl, daemon: StubDaemon) -> None:
    """Cut in the middle, then refused, then a gap; no event is missed or doubled."""
    heartbeat = {"type": "heartbeat"}
    away = problem(503, "not-in-service", "cannot: droned is starting")
    daemon.will(
        "GET",
        "/events",
        lines(sync(9), event(10, "a", "x", ""), heartbeat, event(11, "b", "x", "")),
        RESET,
        away,
        lines(sync(11), event(12, "c", "x", ""), {"type": "gap", "after": 12, "until": None}, cut=False),
        lines(sync(12), event(13, "d", "x", ""), cut=False),
        problem(500, "internal", "cannot go on"),
    )
    done = ctl("events", "-f", "-o", "jsonl")
    assert [json.loads(line)["version"] for line in done.out.splitlines()] == [10, 11, 12, 13]
    assert done.status == 1
    asked = daemon.asked_for("GET", "/events")
    assert [each.query.get("since") for each in asked] == [
        None,
        ["11.0"],
        ["11.0"],
        ["11.0"],
        ["12.0"],
        ["13.0"],
    ]
    assert all(each.headers["accept"] == NDJSON for each in asked)
    assert done.err.count("the daemon is away") == 1
    assert done.err.count("the daemon answers again") == 1


def test_a_hole_that_cannot_be_filled_is_told(ctl: Ctl, daemon: StubDaemon) -> None:
    """As after a crash that took the last, never acknowledged moments with it: the stream goes on."""
    gap = {"type": "gap", "id": "50", "after": 90, "until": 50, "version": 50}
    daemon.will(
        "GET",
        "/events",
        lines(sync(50), gap, event(51, "a", "x", "")),
        lines(sync(50), gap),
        problem(500, "internal", "cannot go on"),
    )
    done = ctl("events", "-f", "--since", "90", "-o", "jsonl")
    assert [json.loads(line)["version"] for line in done.out.splitlines()] == [51]
    assert "what happened after version 90 until 50 is not kept any more" in done.err
    assert [each.query["since"] for each in daemon.asked_for("GET", "/events")] == [["90"], ["51.0"], ["50"]]


def test_a_stream_without_events_resumes_at_the_version_it_began_at(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/events", lines(sync(7)), lines(sync(9)), problem(500, "internal", "end"))
    ctl("events", "-f")
    assert [each.query.get("since") for each in daemon.asked_for("GET", "/events")] == [None, ["7"], ["7"]]


def test_a_daemon_that_stays_away_ends_the_stream_with_5(
    ctl: Ctl, daemon: StubDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.2)
    daemon.will("GET", "/events", lines(sync(7)), RESET)
    done = ctl("events", "-f")
    assert done.status == 5
    assert "it stayed away for" in done.err


def test_no_daemon_at_all_is_told_at_once(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.stop()
    assert ctl("events", "-f").status == 5


def test_a_timeout_ends_following_with_7(ctl: Ctl, daemon: StubDaemon) -> None:
    def slowly(asked: Asked) -> Reply:
        def pieces() -> Iterator[bytes]:
            import time

            yield json.dumps(sync(1)).encode() + b"\n"
            time.sleep(0.4)

        return Reply(200, pieces=pieces(), content_type=NDJSON)

    daemon.will("GET", "/events", slowly)
    assert ctl("events", "-f", "--timeout", "100ms").status == 7


def test_garbage_in_the_stream_is_said(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.will("GET", "/events", Reply(200, pieces=[b"nonsense\n"], content_type=NDJSON))
    done = ctl("events", "-f")
    assert (done.status, done.err[:24]) == (1, "error: cannot understand")


def test_ticks_come_while_nothing_happens(daemon: StubDaemon) -> None:
    def slowly(asked: Asked) -> Reply:
        def pieces() -> Iterator[bytes]:
            import time

            yield json.dumps(sync(1)).encode() + b"\n"
            time.sleep(0.2)

        return Reply(200, pieces=pieces(), content_type=NDJSON)

    daemon.will("GET", "/events", slowly)
    with Session(host=daemon.host) as session:
        stream = events_of(session, tick_s=0.02)
        assert [next(stream) for _ in range(4)] == [None] * 4
        stream.close()


@pytest.mark.parametrize(
    ("text", "position"), [("88", "88"), ("@88", "88"), ("88.2", "88.2"), ("2026-11-22T12:00:05Z", "4")]
)
def test_positions(daemon: StubDaemon, text: str, position: str) -> None:
    daemon.events = [
        event(number, "a", "x", "", at=f"2026-11-22T12:00:{number:02}.5Z") for number in (1, 2, 4, 8, 16)
    ]
    daemon.version = 20
    with Session(host=daemon.host) as session:
        api: Api = session.asking()
        found = position_of(api, text)
        # Any version between two events is as good: nothing lies behind it that should not.
        assert found == position or 4 <= int(found) < 8


def test_a_time_before_or_behind_everything(daemon: StubDaemon) -> None:
    daemon.events = [event(3, "a", "x", ""), event(9, "a", "x", "")]
    daemon.version = 12
    with Session(host=daemon.host) as session:
        api = session.asking()
        assert int(position_of(api, "2001-01-01T00:00:00Z")) < 3
        assert int(position_of(api, "2099-01-01T00:00:00Z")) >= 9
        assert int(position_of(api, "36500d")) < 3
        with pytest.raises(BadRequest, match="RFC 3339"):
            position_of(api, "yesterday")


def test_wait_looks_again_at_every_event(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.rows = [row("web/0", "starting")]

    def stream(asked: Asked) -> Reply:
        def pieces() -> Iterator[bytes]:
            yield json.dumps(sync(1)).encode() + b"\n"
            daemon.rows = [row("web/0")]
            yield json.dumps(event(2, "instance-started", "web/0", "")).encode() + b"\n"

        return Reply(200, pieces=pieces(), content_type=NDJSON)

    daemon.will("GET", "/events", stream)
    done = ctl("wait", "web", "--for", "running")
    assert (done.status, done.out) == (0, "web/0 running\n")
    assert done.err.splitlines()[-1] == "web/0: running (pid 48213)"


@pytest.mark.parametrize(
    ("condition", "state", "status"),
    [
        ("running", "running", 0),
        ("running", "failed", 1),
        ("stopped", "stopped", 0),
        ("stopped", "exited", 0),
        ("exit", "stopped", 0),
        ("stopped", "running", 7),
        ("exit", "running", 7),
        ("running", "backoff", 7),
    ],
)
def test_what_wait_waits_for(ctl: Ctl, daemon: StubDaemon, condition: str, state: str, status: int) -> None:
    daemon.rows = [row("web/0", state)]
    done = ctl("wait", "web/0", "--for", condition, "--timeout", "300ms")
    assert done.status == status
    assert bool(done.out) == (status == 0)


def test_wait_for_exit_ends_when_another_run_is_on(ctl: Ctl, daemon: StubDaemon) -> None:
    replies = [[row("web/0", run=3)], [row("web/0", run=4, exit={"reason": "exited 1", "run": 3})]]
    daemon.will("GET", "/instances", *(Reply(200, {"version": 1, "instances": each}) for each in replies))
    assert ctl("wait", "web/0", "--for", "exit", "--timeout", "5s").out == "web/0 exited 1\n"


def test_wait_for_exit_tells_no_end_of_an_earlier_run(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.rows = [row("web/0", "stopped", exit={"reason": "exited 1", "run": 3})]
    assert ctl("wait", "web/0", "--for", "exit").out == "web/0 stopped\n"


def test_wait_says_why_it_cannot_run(ctl: Ctl, daemon: StubDaemon) -> None:
    daemon.rows = [row("web/0", "failed", note="gave up: 10 restarts in 10m", exit={"reason": "exited 1"})]
    done = ctl("wait", "web/0")
    assert (done.status, done.out) == (1, "")
    assert "it failed: gave up: 10 restarts in 10m; exited 1\n" in done.err


def test_wait_for_an_unknown_target_is_4(ctl: Ctl) -> None:
    assert ctl("wait", "nope").status == 4

"""What is said again, and what is told, when a guardian is replaced."""

from typing import Any

from droned.drivers.replies import Awaited


def order(instance: str, run: int) -> dict[str, Any]:
    return {"type": "spawn", "instance": instance, "run": run, "launch": {}}


def signal(instance: str, run: int) -> dict[str, Any]:
    return {"type": "signal", "instance": instance, "run": run, "signal": 15, "to": "main"}


def row(instance: str, run: int, state: str = "running", **changes: Any) -> Any:
    return {
        "instance": instance,
        "run": run,
        "pid": 500,
        "start_time": 1,
        "spawned_at": 5.0,
        "state": state,
        "status": None,
        "seen": False,
        "ended_at": 6.0 if state == "ended" else None,
        "failure": None,
        "cpu_s": None,
        "max_rss_bytes": None,
        "leftovers": 0,
        "adopted": True,
        **changes,
    }


def kinds(messages: Any) -> list[tuple[str, str]]:
    return [(message["type"], message.get("instance", "")) for message in messages]


def test_a_start_that_was_not_done_is_ordered_again() -> None:
    awaited = Awaited()
    for number in range(3):
        awaited.sent(order(f"web/{number}", 1))
    awaited.answered({"type": "spawned", "instance": "web/0", "run": 1})
    rows = [row("web/0", 1), row("web/1", 1)]
    assert kinds(awaited.unanswered(rows)) == [("spawn", "web/2")]


def test_a_start_that_was_done_is_told() -> None:
    awaited = Awaited()
    awaited.sent(order("web/0", 1))
    awaited.sent(order("web/1", 1))
    rows = [row("web/0", 1), row("web/1", 1, "ended", status=256)]
    assert kinds(awaited.missed(rows, set())) == [
        ("spawned", "web/0"),
        ("spawned", "web/1"),
        ("ended", "web/1"),
    ]


def test_an_end_that_was_told_is_not_told_again() -> None:
    awaited = Awaited()
    awaited.answered({"type": "ended", "instance": "web/0", "run": 1, "leftovers": 0})
    rows = [row("web/0", 1, "ended", status=0), row("web/1", 1, "ended")]
    assert kinds(awaited.missed(rows, {("web/1", 1)})) == [("ended", "web/1")]


def test_a_lost_acknowledgement_is_given_again() -> None:
    awaited = Awaited()
    awaited.answered({"type": "ended", "instance": "web/0", "run": 1, "leftovers": 0})
    awaited.sent({"type": "ack", "ended": [["web/0", 1]], "head": None})
    rows = [row("web/0", 1, "ended", status=0)]
    assert kinds(awaited.missed(rows, set())) == []
    assert list(awaited.unanswered(rows)) == [{"type": "ack", "ended": [["web/0", 1]], "head": None}]


def test_a_signal_without_an_answer_is_sent_again_to_what_is_there() -> None:
    awaited = Awaited()
    for number in range(3):
        awaited.sent(signal(f"web/{number}", 1))
    awaited.answered({**signal("web/0", 1), "type": "signalled", "delivered": 1})
    rows = [row("web/0", 1), row("web/1", 1), row("web/2", 1, "ended")]
    assert kinds(awaited.unanswered(rows)) == [("signal", "web/1")]


def test_a_failed_start_and_a_tree_that_is_gone_are_told() -> None:
    awaited = Awaited()
    awaited.sent(order("web/0", 1))
    awaited.answered({"type": "ended", "instance": "web/1", "run": 1, "leftovers": 2})
    rows = [row("web/0", 1, "ended", pid=0, failure={"stage": "exec", "errno": 2})]
    told = list(awaited.missed(rows, set()))
    assert kinds(told) == [("spawn_failed", "web/0"), ("tree_gone", "web/1")]
    assert (told[0]["stage"], told[0]["errno"], told[0]["at"]) == ("exec", 2, 6.0)

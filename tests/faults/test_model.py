"""The checker finds what it is there to find, and nothing in a clean history."""

from __future__ import annotations

from dataclasses import replace

from tests.faults.model import (
    Order,
    Run,
    disobeyed,
    disturbed,
    doubled,
    misremembered,
    runs_of,
    shown_wrong,
    told_by,
    truths,
)
from tests.faults.observer import History, Life, history
from tests.faults.stamps import Stamp


def run(pid: int, exec_s: float, gone_s: float | None = None) -> Run:
    return Run(pid=pid, exec_s=exec_s, gone_s=gone_s, end=None if gone_s is None else "s15")


def life(name: str, pid: int, seen: int, gone: int | None = None, end: str | None = "s9") -> Life:
    """A life whose places in the order are its times in seconds as well."""
    return Life(
        name=name,
        pid=pid,
        start=1,
        seen=seen,
        seen_s=float(seen),
        gone=gone,
        gone_s=None if gone is None else float(gone),
        end=None if gone is None else end,
    )


def order(command: str, issued_s: float, ended_s: float) -> Order:
    return Order(
        key=f"{command}-{issued_s}",
        command=command,
        instance="web/0",
        issued_s=issued_s,
        answered_s=issued_s,
        ended_s=ended_s,
        state="succeeded",
    )


def test_the_observers_lines_become_lives() -> None:
    lines = [
        "+ 1000000000 10 7 web/0@t\n",
        "- 2000000000 10 7 web/0@t\n",
        "x 2000000000 10 7 s15\n",
        "+ 3000000000 11 8 web/0@t\n",
        "g 4000000000 21000000 200\n",
        "- 40000000",
    ]
    seen = history(lines)
    assert [(one.pid, one.end, one.gone_s) for one in seen.lives] == [(10, "s15", 2.0), (11, None, None)]
    assert seen.longest_gap_s == 0.021


def test_one_after_the_other_is_not_doubled() -> None:
    assert doubled(History(lives=(life("web/0", 10, 1, 2), life("web/0", 11, 3)))) == []


def test_two_at_once_are_found() -> None:
    overlapping = History(lives=(life("web/0", 10, 1, 4), life("web/0", 11, 3), life("web/1", 12, 1)))
    assert doubled(overlapping) == ["web/0: two at once, pid 10 and pid 11"]


def test_a_third_that_comes_while_the_first_still_lives_is_found() -> None:
    lives = (life("web/0", 10, 1), life("web/0", 11, 2, 3), life("web/0", 12, 4))
    assert len(doubled(History(lives=lives))) == 2


def test_whoever_is_gone_missing_or_replaced_was_disturbed() -> None:
    lives = (life("a", 10, 1), life("b", 11, 1, 5), life("c", 12, 1, 5), life("c", 13, 6))
    found = disturbed(History(lives=lives), ("a", "b", "c", "d"))
    assert [fault.partition(":")[0] for fault in found] == ["b", "c", "d"]


def test_orders_that_were_obeyed_once_are_fine() -> None:
    orders = (order("restart", 2, 4), order("stop", 6, 8), order("stop", 8, 9), order("start", 10, 12))
    assert disobeyed(orders, (run(10, 1, 2.1), run(11, 3, 7), run(12, 11))) == []


def test_a_start_of_what_is_up_brings_no_process() -> None:
    assert disobeyed((order("start", 2, 2.5),), (run(10, 1),)) == []


def test_an_order_that_was_done_twice_is_found() -> None:
    twice = replace(order("restart", 2, 5), tries=3)
    found = disobeyed((twice,), (run(10, 1, 2.1), run(11, 3, 4), run(12, 4)))
    assert found == ["order 1, restart: 2 processes instead of 1 (given 3 times until it was answered)"]


def test_an_order_that_was_undone_is_found() -> None:
    assert disobeyed((order("stop", 2, 3),), (run(10, 1, 2.1), run(11, 9))) == [
        "order 1, stop: pid 11 without an order",
        "order 1, stop: 1 processes instead of 0",
    ]
    assert "no process came of it" in disobeyed((order("restart", 2, 3),), (run(10, 1, 2.1),))[0]


def test_a_process_between_two_orders_is_found() -> None:
    orders = (order("stop", 2, 3), order("start", 8, 9))
    found = disobeyed(orders, (run(10, 1, 2.1), run(11, 5, 6), run(12, 8.5)))
    assert found[0] == "order 1, stop: pid 11 without an order"


def test_a_start_right_after_a_stop_is_its_own() -> None:
    orders = (order("stop", 2, 3), order("start", 3.1, 3.3))
    assert disobeyed(orders, (run(10, 1, 2.1), run(11, 3.15))) == []


def test_an_end_without_an_order_is_found() -> None:
    assert disobeyed((), (run(10, 1, 5),)) == ["pid 10 ended (s15) without an order"]


def test_an_acknowledged_order_that_never_ends_is_found() -> None:
    waiting = replace(order("stop", 2, 3), ended_s=None, state=None)
    assert "not seen to end" in disobeyed((waiting,), (run(10, 1),))[0]


def test_runs_are_told_by_stamps_and_their_ends_by_the_observer() -> None:
    seen = History(lives=(life("loop/0", 10, 3, 6), life("loop/0", 12, 8)))
    found = runs_of((stamp(10, None), stamp(11, None), stamp(12, None)), seen)["loop/0"]
    assert [(each.pid, each.gone_s is None) for each in found] == [(10, False), (11, False), (12, True)]


def stamp(pid: int, end: str | None) -> Stamp:
    return Stamp(name="loop/0", pid=pid, exec_ns=pid, end=end)


def test_the_kernels_word_counts_before_the_programs_intention() -> None:
    seen = History(lives=(life("loop/0", 10, 1, 2, "s15"), life("loop/0", 11, 3)))
    assert truths((stamp(10, "7"), stamp(11, "3")), seen) == {("loop/0", 1): "s15"}


def test_a_run_too_short_to_be_seen_is_told_by_its_own_stamp() -> None:
    seen = History(lives=(life("loop/0", 11, 3),))
    assert truths((stamp(10, "7"), stamp(11, "3")), seen) == {("loop/0", 1): "7"}


def test_ends_that_are_missing_or_wrong_are_found() -> None:
    truth = {("a", 1): "7", ("a", 2): "s9", ("b", 1): "0"}
    assert misremembered(truth, {("a", 1): "7", ("a", 2): "unknown"}) == [
        "a run 2: ended with s9, droned tells unknown",
        "b run 1: ended with 0, droned tells nothing of it",
    ]


def test_whatever_is_shown_otherwise_than_it_is_is_found() -> None:
    rows: dict[str, dict[str, object]] = {
        "a": {"state": "running", "pid": 10},
        "b": {"state": "running", "pid": 11},
        "c": {"state": "backoff", "pid": None},
        "d": {"state": "stopped", "pid": None},
    }
    lives = (life("a", 10, 1), life("b", 12, 1), life("c", 13, 1), life("d", 14, 1, 2))
    found = shown_wrong(rows, History(lives=lives))
    assert [fault.partition(":")[0] for fault in found] == ["b", "c"]


def test_events_tell_ends_by_code_signal_or_neither() -> None:
    events = [
        {"subject": "a/0", "data": {"run": 1, "code": 7, "signal": None}},
        {"subject": "a/0", "data": {"run": 2, "code": None, "signal": 9}},
        {"subject": "a/0", "data": {"run": 3, "code": None, "signal": None}},
        {"subject": "a/0", "data": {"run": 4, "code": None, "signal": None, "stage": "exec"}},
        {"subject": "a/0", "data": {"run": 5}},
    ]
    assert told_by(events) == {("a/0", 1): "7", ("a/0", 2): "s9", ("a/0", 3): "unknown"}

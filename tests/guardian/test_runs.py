"""The table: one live run an instance, numbers that only grow, records until they are acknowledged."""

import json

from hypothesis import given
from hypothesis import strategies as st

from droned.guardian.runs import Run, Table


def started(table: Table, instance: str, number: int) -> Run:
    run = Run(instance, number, 1000 + number, 1.0)
    run.state = "running"
    table.add(run)
    return run


def over(table: Table, run: Run, status: int | None = 0) -> None:
    table.end(run, 2.0, status=status)
    table.reaped(run)


def test_a_run_that_is_yet_to_be_born_bars_others_and_has_no_pid() -> None:
    table = Table()
    run = Run("web/0", 1, 0, 1.0)
    table.add(run)
    assert table.refusal("web/0", 2) is not None
    assert table.by_pid == {}
    run.pid = 7
    table.born(run)
    assert table.by_pid == {7: run}


def test_a_second_life_and_an_old_number_are_refused() -> None:
    table = Table()
    run = started(table, "web/0", 2)
    refusal = table.refusal("web/0", 3)
    assert refusal is not None
    assert (refusal["live_run"], refusal["last_run"]) == (2, 2)
    over(table, run)
    assert table.refusal("web/0", 3) is None
    for old in (1, 2):
        refusal = table.refusal("web/0", old)
        assert refusal is not None
        assert refusal["live_run"] is None


def test_a_run_that_timed_out_holds_its_instance_until_it_is_reaped() -> None:
    table = Table()
    run = started(table, "web/0", 1)
    table.end(run, 2.0, failure={"stage": "timeout at exec", "errno": 110})
    assert table.refusal("web/0", 2) is not None
    table.reaped(run)
    assert table.refusal("web/0", 2) is None


def test_a_pid_that_has_changed_hands_stays_the_new_owners() -> None:
    """The end of an adopted run can be seen after its pid went to a child of ours."""
    table = Table()
    old = started(table, "web/0", 1)
    new = Run("web/1", 1, old.pid, 2.0)
    table.add(new)
    over(table, old)
    assert table.by_pid == {old.pid: new}


def test_a_record_stays_until_it_is_acknowledged_and_its_tree_is_gone() -> None:
    table = Table()
    run = started(table, "web/0", 1)
    assert table.acknowledge([["web/0", 1]]) == []  # it has not ended
    run.leftovers = 2
    over(table, run)
    assert table.acknowledge([["web/0", 1], ["web/9", 1]]) == [("web/0", 1)]
    assert [row["leftovers"] for row in table.rows()] == [2]
    table.tree_gone(run)
    assert table.rows() == []


def test_an_instance_is_forgotten_once_its_last_record_is() -> None:
    table = Table()
    over(table, started(table, "web/0", 5))
    table.forget("web/0")
    assert table.refusal("web/0", 1) is not None
    table.acknowledge([["web/0", 5]])
    assert table.refusal("web/0", 1) is None
    assert table.last_runs() == {}


def test_the_oldest_ends_give_way_and_are_counted() -> None:
    table = Table(most=3)
    kept = started(table, "live/0", 1)
    for number in range(5):
        over(table, started(table, f"web/{number}", 1))
    assert [row["instance"] for row in table.rows()] == ["live/0", "web/3", "web/4"]
    assert table.dropped == 3
    assert table.live("live/0") is kept


@given(
    st.lists(st.tuples(st.sampled_from(["start", "end", "ack", "forget"]), st.integers(0, 3)), max_size=60)
)
def test_whatever_happens_there_is_one_life_and_numbers_grow(steps: list[tuple[str, int]]) -> None:
    table = Table()
    numbers: dict[str, int] = {}
    for what, at in steps:
        instance = f"web/{at}"
        live = table.live(instance)
        if what == "start":
            number = numbers.get(instance, 0) + 1
            assert (table.refusal(instance, number) is None) == (live is None)
            if live is None:
                numbers[instance] = number
                started(table, instance, number)
        elif what == "end" and live is not None:
            over(table, live, None)
        elif what == "ack":
            table.acknowledge([[instance, number] for number in range(1, numbers.get(instance, 0) + 1)])
        elif what == "forget":
            table.forget(instance)
            if table.live(instance) is None and not any(row["instance"] == instance for row in table.rows()):
                numbers.pop(instance, None)
        assert len({run.instance for run in table.living()}) == len(table.living())
        assert {run.pid for run in table.living()} >= set(table.by_pid)
    again = Table()
    for run in table.runs.values():
        again.add(run)
    again.resume(json.loads(json.dumps(table.saved())))
    assert again.last_runs() == table.last_runs()
    assert again.rows() == table.rows()

"""What a ledger tells survives torn, damaged and strange lines."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.guardian.ledger import (
    Ledger,
    Memory,
    end_line,
    gone_line,
    intent_line,
    load,
    recall,
    start_entry,
    start_line,
    start_prefix,
)
from droned.guardian.runs import Run, Table

HEADER = b'{"boot":"b-1","ledger":1}\n'


def run(number: int, instance: str = "web/0", **changes: Any) -> Run:
    made = Run(instance, number, 4000 + number, 10.5, start_time=77)
    for field, value in changes.items():
        setattr(made, field, value)
    return made


def ended(number: int, status: int | None = 256) -> Run:
    return run(number, state="ended", ended_at=11.5, status=status, seen=status is not None)


def test_a_start_lives_until_its_end_and_an_end_until_its_acknowledgement() -> None:
    content = HEADER + start_line(run(1)) + start_line(run(1, "web/1")) + end_line(ended(1))
    memory = recall(content)
    assert memory.boot_id == "b-1"
    first, second = memory.runs["web/0", 1], memory.runs["web/1", 1]
    assert (first.state, first.status, first.seen, first.is_reaped) == ("ended", 256, True, True)
    assert (second.state, second.pid, second.start_time, second.at) == ("running", 4001, 77, 10.5)
    acknowledged = recall(content + b'{"ack":[["web/0",1]],"head":{"version":5,"digest":"d"}}\n')
    assert set(acknowledged.runs) == {("web/1", 1)}
    assert acknowledged.head == {"version": 5, "digest": "d"}
    assert acknowledged.last_runs == {"web/0": 1, "web/1": 1}


def test_a_failed_start_without_a_line_of_its_own_is_known_by_its_end() -> None:
    failed = ended(3, None)
    failed.failure = {"stage": "user", "errno": 2}
    memory = recall(HEADER + end_line(failed))
    assert memory.runs["web/0", 3].failure == {"stage": "user", "errno": 2}
    assert memory.last_runs == {"web/0": 3}


def test_what_was_meant_is_open_until_its_start_or_end_is_told() -> None:
    failed = ended(2, None)
    failed.failure = {"stage": "exec", "errno": 2}
    content = HEADER + b"".join(intent_line("web/0", number) for number in (1, 2, 3)) + start_line(run(1))
    memory = recall(content + end_line(failed))
    assert list(memory.intended) == [("web/0", 3)]
    assert memory.last_runs == {"web/0": 3}
    assert memory.damaged == 0
    assert not recall(content + b'{"ack":[["web/0",3],["web/0",2]],"head":null}\n').intended


def test_what_is_left_of_a_run_outlives_its_acknowledgement() -> None:
    left = ended(1)
    left.leftovers = 3
    content = HEADER + start_line(run(1)) + end_line(left)
    assert recall(content).runs["web/0", 1].leftovers == 3
    content += b'{"ack":[["web/0",1]],"head":null}\n'
    memory = recall(content)
    assert (memory.runs["web/0", 1].leftovers, memory.acknowledged) == (3, {("web/0", 1)})
    memory = recall(content + gone_line(left))
    assert (memory.runs, memory.acknowledged, memory.damaged) == ({}, set(), 0)


def test_an_end_of_the_release_before_tells_of_nothing_left() -> None:
    line = b'{"end":["web/0",1,256,11.5,null]}\n'
    assert recall(HEADER + start_line(run(1)) + line).runs["web/0", 1].leftovers == 0


def test_leftovers_are_in_a_ledger_written_anew(tmp_path: Path) -> None:
    table = Table()
    left = ended(1)
    left.leftovers, left.is_reaped = 2, True
    table.add(left)
    table.acknowledge([["web/0", 1]])
    Ledger(str(tmp_path / "ledger"), {"boot": "b"}).rewrite(table, None)
    memory = load(str(tmp_path / "ledger"))
    assert (memory.runs["web/0", 1].leftovers, memory.acknowledged) == (2, {("web/0", 1)})


def test_a_spawners_line_is_the_guardians_line() -> None:
    assert start_entry("web/0", 1, 4001, 77, 10.5) == start_line(run(1))


def test_a_run_without_a_process_yet_is_written_anew_as_meant(tmp_path: Path) -> None:
    table = Table()
    table.add(run(1, pid=0))
    book = Ledger(str(tmp_path / "ledger"), {"boot": "b"})
    book.rewrite(table, None)
    memory = load(str(tmp_path / "ledger"))
    assert (list(memory.intended), memory.runs) == ([("web/0", 1)], {})


def test_the_childs_line_is_the_guardians_line() -> None:
    """The child adds its facts to a prefix; both must give the same."""
    child = b"%s%d,%d,%.6f]}\n" % (start_prefix("web/0", 1), 4001, 77, 10.5)
    assert child == start_line(run(1))


def test_what_follows_a_write_that_was_cut_short_is_found() -> None:
    memory = recall(HEADER + start_line(run(1))[:20] + start_line(run(2)) + b"\n" + start_line(run(3)))
    assert set(memory.runs) == {("web/0", 2), ("web/0", 3)}


@given(st.lists(st.integers(1, 30), max_size=30), st.data())
def test_damage_costs_only_the_lines_it_hits(numbers: list[int], data: st.DataObject) -> None:
    lines = [start_line(run(number, f"web/{at}")) for at, number in enumerate(numbers)]
    hit = data.draw(st.sets(st.integers(0, max(len(lines) - 1, 0)), max_size=5))
    damaged = [
        data.draw(st.binary(max_size=60)).replace(b"\n", b"") + b"\n" if at in hit else line
        for at, line in enumerate(lines)
    ]
    memory = recall(HEADER + b"".join(damaged))
    assert {f"web/{at}" for at in range(len(lines)) if at not in hit} <= {key[0] for key in memory.runs}


@given(st.binary(max_size=400))
def test_any_content_can_be_read(content: bytes) -> None:
    recall(content)


@given(st.integers(0, 400))
def test_any_cut_keeps_the_whole_lines(at: int) -> None:
    content = HEADER + b"".join(start_line(run(number, f"web/{number}")) for number in range(6))
    whole = content[:at].count(b"\n") - 1
    assert len(recall(content[:at]).runs) >= max(whole, 0)


def filled() -> Table:
    table = Table()
    for made in (run(1, "web/0"), ended(1, None), run(2, "web/2")):
        if made.state == "ended":
            made.instance, made.is_reaped = "web/1", True
        table.add(made)
    table.remember_last("gone/0", 9)
    return table


def test_a_ledger_written_anew_tells_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger")
    book = Ledger(path, {"boot": "b-2"})
    book.rewrite(filled(), {"version": 3, "digest": "x"})
    assert book.errors == 0
    book.append(start_line(run(5, "web/5")))
    memory = load(path)
    assert memory.boot_id == "b-2"
    assert memory.head == {"version": 3, "digest": "x"}
    assert memory.last_runs == {"web/0": 1, "web/1": 1, "web/2": 2, "gone/0": 9, "web/5": 5}
    assert {key: made.state for key, made in memory.runs.items()} == {
        ("web/0", 1): "running",
        ("web/1", 1): "ended",
        ("web/2", 2): "running",
        ("web/5", 5): "running",
    }
    book.forgotten("gone/0")
    book.acknowledged([("web/1", 1)], None)
    memory = load(path)
    assert "gone/0" not in memory.last_runs
    assert ("web/1", 1) not in memory.runs
    assert memory.damaged == 0


def test_an_error_of_the_file_is_counted_and_nothing_more(tmp_path: Path) -> None:
    book = Ledger(str(tmp_path / "nowhere" / "ledger"), {"boot": "b"})
    book.rewrite(Table(), None)
    book.append(start_line(run(1)))
    assert book.errors >= 2
    assert not book.is_long


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"[]\n", b'{"boot":5}\n', b'{"start":["web/0",1]}\n', b"\xff\xfe\n"]
)
def test_nothing_is_told_by_nothing(content: bytes) -> None:
    memory = recall(content)
    assert isinstance(memory, Memory)
    assert memory.runs == {}

"""Jobs are carried out in threads and handed back to the loop; a fault in one costs that one."""

import threading
from collections.abc import Callable

from droned.guardian import loop
from droned.guardian.workers import Workers


def carried_out(jobs: list[int], threads: int, work: Callable[[int], None]) -> list[int]:
    """Give all of `jobs` to so many threads; what came back in the loop."""
    waits = loop.Loop()
    back: list[int] = []

    def done(part: list[int]) -> None:
        assert threading.current_thread() is threading.main_thread()
        back.extend(part)
        if len(back) == len(jobs):
            waits.stop()

    workers: Workers[int] = Workers("test", waits, lambda: work, done)
    for _ in range(threads):
        workers.add_thread()
    for job in jobs:
        workers.give(job)
    waits.later(10.0, waits.stop)
    waits.run()
    waits.close()
    return back


def test_every_job_comes_back_once() -> None:
    done: list[int] = []
    back = carried_out(list(range(500)), 3, done.append)
    assert sorted(back) == sorted(done) == list(range(500))


def test_one_thread_keeps_the_order() -> None:
    assert carried_out(list(range(50)), 1, lambda job: None) == list(range(50))


def test_a_fault_costs_only_its_job() -> None:
    def work(job: int) -> None:
        if job == 3:
            raise ValueError("three")

    assert carried_out(list(range(10)), 1, work) == list(range(10))

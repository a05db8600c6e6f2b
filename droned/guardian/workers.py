"""Threads of the guardian for the few calls that may take their time; they decide and remember nothing.

A job is given, carried out by one thread, and handed back to the loop, which
alone touches what the guardian knows. Threads are made when there is work for
them; all signals are blocked in them as in the guardian itself.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from droned.guardian import brief, log, loop

J = TypeVar("J")


class Workers(Generic[J]):
    """Threads that all carry out one kind of job."""

    def __init__(
        self,
        name: str,
        waits: loop.Loop,
        begin: Callable[[], Callable[[J], None]],
        done: Callable[[list[J]], None],
    ) -> None:
        """`begin`, which may not raise, is called first in each thread; it gives what carries out a job.

        `done` gets back, in the loop, jobs that were carried out.
        """
        self._name = name
        self._loop = waits
        self._begin = begin
        self._done = done
        self._jobs: SimpleQueue[J] = SimpleQueue()
        self._back: deque[J] = deque()
        self._wake_fd = -1
        self.count = 0

    @property
    def wake_fd(self) -> int:
        """What a thread wakes the loop by."""
        return self._wake_fd

    def give(self, job: J) -> None:
        """Have a job carried out in its turn."""
        self._jobs.put(job)

    def add_thread(self) -> None:
        """Have one thread more. Raises RuntimeError when there can be none."""
        if self._wake_fd < 0:
            self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._loop.watch(self._wake_fd, loop.READ, lambda _events: self._hand_back())
        threading.Thread(target=self._work, name=self._name, daemon=True).start()
        self.count += 1

    def _work(self) -> None:
        carry_out = self._begin()
        while True:
            job = self._jobs.get()
            try:
                carry_out(job)
            except Exception as error:  # noqa: BLE001  # the border of the thread: others wait for it
                log.say(f"a fault of the guardian itself: {type(error).__name__}: {error}")
            self._back.append(job)
            brief.wake(self._wake_fd)

    def _hand_back(self) -> None:
        os.eventfd_read(self._wake_fd)
        jobs = []
        while self._back:
            jobs.append(self._back.popleft())
        if jobs:
            self._done(jobs)

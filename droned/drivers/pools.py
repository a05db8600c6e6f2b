"""Named, bounded pools of threads for work that can block.

Work gets values and returns values; what it gives comes back on the reactor
thread. Threads are daemon threads: one that hangs for ever is left behind
when the process ends, and never keeps it from ending.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from droned.errors import NotNow
from droned.models.ports import IPool

P = ParamSpec("P")
T = TypeVar("T")


class IPoolReactor(IReactorFromThreads, IReactorTime):
    """What a pool needs of the reactor."""


class _DaemonThread(threading.Thread):
    """A thread that does not keep the process alive."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "daemon": True})


class _Threads(ThreadPool):
    """Twisted's pool with such threads."""

    threadFactory = _DaemonThread


@implementer(IPool)
class NamedPool:
    """An `IPool` of at most `threads` threads and `limit` pieces of work that run or wait."""

    def __init__(self, name: str, threads: int, reactor: IPoolReactor, limit: int = 1000) -> None:
        self.name = name
        self._reactor = reactor
        self._limit = limit
        self._pending = 0
        self._threads = _Threads(minthreads=0, maxthreads=threads, name=name)
        self._threads.start()
        self._is_stopped = self._has_ended = False

    @property
    def pending(self) -> int:
        """Pieces of work that run or wait."""
        return self._pending

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Run `call` in a thread; its result or exception comes back on the reactor thread.

        Fails with NotNow when the pool is stopped or has too much to do.
        """
        if self._is_stopped:
            return fail(NotNow(f"cannot run work in the pool {self.name}: it is stopped"))
        if self._pending >= self._limit:
            return fail(NotNow(f"cannot run work in the pool {self.name}: {self._limit} pieces are waiting"))
        self._pending += 1
        running: Deferred[T] = deferToThreadPool(self._reactor, self._threads, call, *args, **kwargs)
        return running.addBoth(self._done)

    def stop(self, deadline_s: float) -> Deferred[bool]:
        """Take no more work and let what runs end; fires with whether it ended within `deadline_s`.

        Threads that hang then are left behind. A second stop says how the first one went so far.
        """
        if self._is_stopped:
            return succeed(self._has_ended)
        self._is_stopped = True
        stopped: Deferred[bool] = Deferred()
        late = self._reactor.callLater(deadline_s, stopped.callback, False)

        def ended() -> None:
            self._has_ended = True
            if late.active():
                late.cancel()
                stopped.callback(True)

        def wait() -> None:
            self._threads.stop()
            self._reactor.callFromThread(ended)

        threading.Thread(target=wait, name=f"{self.name}-stop", daemon=True).start()
        return stopped

    def _done(self, result: Any) -> Any:
        self._pending -= 1
        return result

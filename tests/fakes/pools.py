"""Pools without threads: one that does the work at once, one that holds it until told."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, execute
from zope.interface import implementer

from droned.models.ports import IPool

P = ParamSpec("P")
T = TypeVar("T")


@implementer(IPool)
class InlinePool:
    """Does each piece of work where it is asked for."""

    def __init__(self, name: str = "inline") -> None:
        self.name = name

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Do it now."""
        return execute(call, *args, **kwargs)


@implementer(IPool)
class HeldPool:
    """Holds each piece of work back until `release`."""

    def __init__(self, name: str = "held") -> None:
        self.name = name
        self.held: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """Keep it for later."""
        result: Deferred[T] = Deferred()
        self.held.append((lambda: call(*args, **kwargs), result))
        return result

    def release(self) -> None:
        """Do the oldest piece of work."""
        call, result = self.held.popleft()
        execute(call).chainDeferred(result)

"""A guardian that is lost is followed by another: at once, and later and later when that does not help."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from droned.drivers.succession import Succession


class Identity:
    """Starts processes that are dead at once, and counts them."""

    pid = start_time = 0

    def __init__(self) -> None:
        self.started = 0

    def start_another(self, environ: Mapping[str, str]) -> tuple[int, socket.socket]:
        self.started += 1
        with subprocess.Popen(["true"]) as process:
            pass
        return process.pid, socket.socket()


@pytest.fixture
def clock() -> Iterator[MemoryReactorClock]:
    made = MemoryReactorClock()
    yield made
    assert made.getDelayedCalls() == []


def succession(clock: MemoryReactorClock) -> tuple[Succession, Identity]:
    identity: Any = Identity()
    made = Succession(
        identity, reactor=clock, environ={}, started=lambda sock: sock.close(), cut_off=lambda: None
    )
    return made, identity


def waited_s(made: Succession, identity: Identity, clock: MemoryReactorClock) -> float:
    """How long the next one takes to be started after a loss."""
    before, began = identity.started, clock.seconds()
    made.lost()
    clock.advance(0)
    while identity.started == before:
        clock.advance(0.25)
    made.connected()
    return float(clock.seconds() - began)


def test_losses_one_after_the_other_are_followed_by_longer_and_longer_waits(
    clock: MemoryReactorClock,
) -> None:
    made, identity = succession(clock)
    waits = [waited_s(made, identity, clock) for _ in range(9)]
    assert waits == pytest.approx([0, 0.5, 1, 2, 4, 8, 15, 30, 30], abs=0.01)


def test_who_is_lost_now_and_then_is_replaced_at_once(clock: MemoryReactorClock) -> None:
    made, identity = succession(clock)
    for _ in range(20):
        assert waited_s(made, identity, clock) == 0.0
        clock.advance(2.5)


def test_nobody_is_started_after_the_end(clock: MemoryReactorClock) -> None:
    made, identity = succession(clock)
    made.close()
    made.lost()
    clock.advance(60.0)
    assert identity.started == 0

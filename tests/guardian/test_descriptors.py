"""Our limit on descriptors is the one of apps, but for the moments in which something is put above it."""

import os
import resource
from collections.abc import Iterator

import pytest

from droned.guardian.descriptors import Descriptors

SOFT = 64


@pytest.fixture
def limited() -> Iterator[Descriptors]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, before[1]))
    try:
        yield Descriptors((SOFT, before[1]))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def soft() -> int:
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_limit_is_raised_while_anybody_wants_it(limited: Descriptors) -> None:
    limited.raise_limit()
    with limited.raised():
        assert soft() == limited.soft_and_hard[1]
    assert limited.are_raised
    assert soft() == limited.soft_and_hard[1]
    limited.lower_limit()
    assert (soft(), limited.are_raised, limited.raises) == (SOFT, False, 2)


def test_what_is_kept_goes_up_once_half_of_the_room_is_taken(limited: Descriptors) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    low = os.dup2(null, SOFT // 2 - 1)
    assert limited.put_up(low) == low
    middle = os.dup2(null, SOFT // 2)
    high = limited.put_up(middle)
    try:
        assert high >= SOFT
        assert os.path.sameopenfile(high, null)
        assert not os.get_inheritable(high)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(middle)
        assert soft() == SOFT
        assert limited.put_up(high) == high
    finally:
        for fd in (null, low, high):
            os.close(fd)


def test_where_soft_is_hard_nothing_moves() -> None:
    assert Descriptors((SOFT, SOFT)).put_up(SOFT - 1) == SOFT - 1


def test_nothing_is_kept_in_the_reserve_and_room_is_counted_below_it() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, before[1]))
    taken = []
    try:
        full = Descriptors((300, 300))
        assert full.border == 268
        while full.have_room(1):
            taken.append(os.open(os.devnull, os.O_RDONLY))
        assert max(taken) == 267
        assert not any(map(full.is_reserved, taken))
        # Room is what is free, wherever it is.
        for fd in (taken.pop(5), taken.pop(50)):
            os.close(fd)
        assert full.have_room(2)
        assert not full.have_room(3)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for fd in taken:
            os.close(fd)


def test_a_quarter_is_the_reserve_of_the_smallest_limits() -> None:
    assert Descriptors((32, 32)).border == 24
    assert Descriptors((32, 32)).most_captured == 16
    assert Descriptors((256, 4096)).most_captured == 4032

"""Our `replace` does what that of `dataclasses` does."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from droned.lifecycle.budget import Bucket
from droned.models.records import InstanceRecord, State
from droned.models.replacing import replace

WEB = InstanceRecord(key="web/0", app="web", label="0", recent_mono=(1.0, 2.0))
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "run": st.integers(),
        "state": st.sampled_from(State),
        "note": st.text(),
        "recent_mono": st.lists(st.floats(allow_nan=False)).map(tuple),
        "pid": st.none() | st.integers(),
    },
)


@given(FIELDS)
def test_it_is_the_replace_that_everybody_knows(changes: dict[str, Any]) -> None:
    before = dataclasses.asdict(WEB)
    made = replace(WEB, **changes)
    assert made == dataclasses.replace(WEB, **changes)
    assert (type(made), hash(made)) == (InstanceRecord, hash(dataclasses.replace(WEB, **changes)))
    assert dataclasses.asdict(WEB) == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.run = 1  # type: ignore[misc]  # this is what is refused


def test_a_record_of_one_field_is_replaced_as_well() -> None:
    assert replace(Bucket(), ahead_until_mono=3.0) == Bucket(ahead_until_mono=3.0)


def test_a_name_that_is_no_field_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot replace 'colour': InstanceRecord has no such field"):
        replace(WEB, colour="red")  # type: ignore[call-arg]  # this is what is refused

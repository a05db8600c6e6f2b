"""The table of event types is complete and readable."""

from __future__ import annotations

from droned.models.events import MEANINGS, EventType


def test_every_type_has_its_meaning() -> None:
    assert set(MEANINGS) == set(EventType)
    assert len(set(MEANINGS.values())) == len(EventType)


def test_meanings_are_one_line_in_the_words_of_the_field() -> None:
    for meaning in MEANINGS.values():
        assert meaning == meaning.strip()
        assert "\n" not in meaning
        assert not meaning.endswith(".")

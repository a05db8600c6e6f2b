"""Tables in pipes and on narrow terminals."""

from hypothesis import given
from hypothesis import strategies as st

from droned.ctl.table import render
from droned.ctl.text import escaped, folded, width_of

NAMES = ("NAME", "N", "NOTE")


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert render(NAMES, [("web/0", "1", ""), ("x", "", "long words")]) == [
        "NAME   N  NOTE",
        "web/0  1  -",
        "x      -  long words",
    ]


def test_only_the_last_column_is_cut_and_only_to_a_width() -> None:
    rows = [("web/0", "1", "a very long note that does not fit")]
    assert render(NAMES, rows, width=24) == ["NAME   N  NOTE", "web/0  1  a very long n…"]
    assert render(NAMES, rows)[1].endswith("does not fit")


def test_a_page_folds_the_last_column_and_loses_nothing() -> None:
    rows = [("web/0", "1", "exited 1 after 0.4s; next start in 12s"), ("x", "2", "short")]
    assert render(NAMES, rows, width=34, folds=True) == [
        "NAME   N  NOTE",
        "web/0  1  exited 1 after 0.4s;",
        "          next start in 12s",
        "x      2  short",
    ]
    assert render(NAMES, rows, folds=True)[1].endswith("next start in 12s")


def test_a_page_tells_a_text_below_its_row_where_there_is_no_room_beside_it() -> None:
    rows = [("web/0", "1" * 30, "exited 1 after 0.4s; next start in 12s (try 3)")]
    assert render(NAMES, rows, width=48, folds=True) == [
        "NAME   N                               NOTE",
        "web/0  111111111111111111111111111111",
        "       exited 1 after 0.4s; next start in 12s",
        "       (try 3)",
    ]


def test_hard_spaces_keep_words_together() -> None:
    assert render(NAMES, [("a", "1", "one two\xa0three")], width=24, folds=True)[1:] == [
        "a     1  one two three"
    ]
    assert render(NAMES, [("a" * 9, "1", "one two three  <-\xa0began\xa0here")], width=38, folds=True)[
        1:
    ] == [
        "aaaaaaaaa  1  one two three",
        "              <- began here",
    ]


def test_a_word_without_spaces_is_folded_as_well() -> None:
    assert folded("/a/path/longer/than/a/line and more", 12) == [
        "/a/path/long",
        "er/than/a/li",
        "ne and more",
    ]
    assert folded("漢漢漢", 4) == ["漢漢", "漢"]
    assert folded("", 4) == [""]


@given(st.text().map(escaped), st.integers(2, 30))
def test_a_folded_text_keeps_all_its_words_and_its_width(text: str, width: int) -> None:
    lines = folded(text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(width_of(line) <= width for line in lines)


def test_a_terminal_too_narrow_drops_no_column() -> None:
    assert render(NAMES, [("x" * 40, "1", "note")], width=20)[1] == "x" * 40 + "  1  note"


def test_wide_characters_keep_columns_straight() -> None:
    first, second = render(("A", "B"), [("漢", "x"), ("abc", "y")], with_names=False)
    assert (first, second) == ("漢   x", "abc  y")


def test_colour_takes_no_room() -> None:
    paint = lambda name, text: f"<{text}>" if name == "A" else text  # noqa: E731  as short as it gets
    assert render(("A", "B"), [("x", "1"), ("yyy", "2")], paint=paint) == ["A    B", "<x>    1", "<yyy>  2"]


def test_an_empty_table_has_its_names_or_nothing() -> None:
    assert render(NAMES, []) == ["NAME  N  NOTE"]
    assert render(NAMES, [], with_names=False) == []


@given(
    st.lists(st.tuples(st.text().map(escaped), st.text().map(escaped), st.text().map(escaped)), max_size=5)
)
def test_columns_begin_at_the_same_place_in_every_line(rows: list[tuple[str, str, str]]) -> None:
    lines = render(NAMES, rows)
    place = max([4, *(width_of(row[0]) for row in rows)])
    for line, row in zip(lines[1:], rows, strict=True):
        head = row[0] or "-"
        assert line.startswith(head + " " * (place - width_of(head) + 2))

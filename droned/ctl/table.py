"""Tables that survive pipes and narrow terminals: plain columns, two spaces apart, no boxes.

Off a terminal nothing is ever cut. On one only the last column is, since it
is the one that holds sentences: in lists, cut with an ellipsis to one line a
row; on the pages that tell all about an instance, folded under its own name,
or, where that leaves too little room for it, in lines of its own below its row.
A table still too wide wraps as the terminal does, so that no column is ever
dropped without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from droned.ctl.text import cut, folded, width_of

GAP = "  "
NARROWEST_LAST = 12
"""Columns that the last column keeps at least, whatever the terminal's width."""
NARROWEST_FOLDED = 24
"""Columns without which a text is not folded beside its row but below it."""
HARD_SPACE = "\xa0"
"""A space at which nothing is folded. An escaped text never has it."""

Painter = Callable[[str, str], str]
"""Takes a column's name and a cell's text; gives the text with its colour around it."""


def render(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    with_names: bool = True,
    width: int | None = None,
    paint: Painter | None = None,
    folds: bool = False,
    below: Mapping[int, Sequence[str]] | None = None,
) -> list[str]:
    """The lines of a table of already escaped cells; an empty cell is shown as `-`.

    `width` is the terminal's; None cuts nothing. With `folds`, what does not fit
    into the last column goes on below instead of being cut. `below` has lines that
    stand below a row, by its number from 0 on, behind the width of the first column.
    """
    cells = [[cell or "-" for cell in row] for row in rows]
    lines = [list(names), *cells] if with_names else cells
    if not lines:
        return []
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    last = len(widths) - 1
    before = sum(widths[:-1]) + len(GAP) * last
    room = None if width is None else width - before
    is_below = folds and room is not None and room < min(widths[last], NARROWEST_FOLDED)
    if width is not None and is_below:
        before = widths[0] + len(GAP)
        room = max(width - before, NARROWEST_FOLDED)
    elif room is not None:
        room = max(room, NARROWEST_LAST)
    first_row = 1 if with_names else 0
    painted = []
    for number, line in enumerate(lines):
        *cells_before, text = line
        pieces = _pieces(text, room, folds=folds)
        is_row = number >= first_row

        def shown(place: int, cell: str, is_row: bool = is_row) -> str:
            cell = cell.replace(HARD_SPACE, " ")
            return paint(names[place], cell) if paint is not None and is_row else cell

        row = [
            shown(place, cell) + " " * (widths[place] - width_of(cell))
            for place, cell in enumerate(cells_before)
        ]
        if is_below and is_row:
            painted.append(GAP.join(row).rstrip())
        else:
            painted.append(GAP.join([*row, shown(last, pieces.pop(0))]))
        painted += [" " * before + shown(last, piece) for piece in pieces]
        if is_row and below is not None:
            painted += [" " * widths[0] + GAP + beneath for beneath in below.get(number - first_row, ())]
    return painted


def _pieces(text: str, room: int | None, *, folds: bool) -> list[str]:
    """The lines that a cell of the last column takes in `room` columns."""
    if room is None:
        return [text]
    return folded(text, room) if folds else [cut(text, room)]

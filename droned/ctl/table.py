"""Tables that survive pipes and narrow terminals: plain columns, two spaces apart, no boxes.

Off a terminal nothing is ever cut. On one only the last column is, since it
is the one that holds sentences; a table still too wide wraps as the terminal
does, so that no column is ever dropped without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from droned.ctl.text import cut, width_of

GAP = "  "
NARROWEST_LAST = 12
"""Columns that the last column keeps at least, whatever the terminal's width."""

Painter = Callable[[str, str], str]
"""Takes a column's name and a cell's text; gives the text with its colour around it."""


def render(
    names: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    with_names: bool = True,
    width: int | None = None,
    paint: Painter | None = None,
) -> list[str]:
    """The lines of a table of already escaped cells; an empty cell is shown as `-`.

    `width` is the terminal's; None cuts nothing.
    """
    cells = [[cell or "-" for cell in row] for row in rows]
    lines = [list(names), *cells] if with_names else cells
    if not lines:
        return []
    widths = [max(map(width_of, column)) for column in zip(*lines, strict=True)]
    last = len(widths) - 1
    if width is not None:
        before = sum(widths[:-1]) + len(GAP) * last
        widths[last] = min(widths[last], max(width - before, NARROWEST_LAST))
    first_row = 1 if with_names else 0
    painted = []
    for number, line in enumerate(lines):
        parts = []
        for place, cell in enumerate(line):
            shown = cut(cell, widths[place]) if width is not None and place == last else cell
            padding = "" if place == last else " " * (widths[place] - width_of(shown))
            if paint is not None and number >= first_row:
                shown = paint(names[place], shown)
            parts.append(shown + padding)
        painted.append(GAP.join(parts))
    return painted

"""The rows of the table of figures, in the order in which one life of a manager goes through them.

A new row: a module here with `ROW`, and its place in `ROWS`.
"""

from __future__ import annotations

from benchmarks.rows import client, idle, launch, mass_crash, restart, status, stop
from benchmarks.rows.row import Row

ROWS: tuple[Row, ...] = (
    launch.ROW,
    restart.ROW,
    mass_crash.ROW,
    idle.ROW,
    status.ROW,
    client.ROW,
    stop.ROW,
)
"""`launch` is always first and `stop` always last: the life of a manager begins and ends with them."""

"""The rows of the table of figures, in the order in which one life of a manager goes through them.

A new row: a module here with `ROW`, and its place in `ROWS`; one with programs and a life of its own in
`LOG_ROWS`.
"""

from __future__ import annotations

from benchmarks.rows import (
    client,
    idle,
    launch,
    logs_api,
    logs_big,
    logs_flood,
    logs_many,
    logs_search,
    mass_crash,
    restart,
    status,
    stop,
)
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

LOG_ROWS: tuple[Row, ...] = (
    *logs_big.ROWS,
    logs_many.ROW,
    logs_flood.ROW,
    logs_api.ROW,
    logs_search.ROW,
)
"""Captured output: each has a life of its own, between launch and stop."""

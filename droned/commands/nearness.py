"""Names that look like the one that was asked for, for messages that help."""

from __future__ import annotations

from collections.abc import Iterable

LOOKED_AT = 500
"""Names compared at most: a comparison takes up to 60 µs, and the reactor waits for it."""


def near_names(name: str, known: Iterable[str], most: int = 3) -> tuple[str, ...]:
    """Up to `most` of `known` that resemble `name`, the nearest first."""
    import difflib  # dronectl starts without it

    # People get the first letter right, so those names are looked at first.
    candidates = sorted(known, key=lambda each: each[:1] != name[:1])[:LOOKED_AT]
    return tuple(difflib.get_close_matches(name[:128], candidates, n=most, cutoff=0.6))


def hint(near: tuple[str, ...]) -> str:
    """The end of a message that names them: `; did you mean "a" or "b"?`, or nothing."""
    if not near:
        return ""
    return "; did you mean " + " or ".join(f'"{name}"' for name in near) + "?"

"""From the targets of a verb about single instances to their paths in the API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from droned.ctl.api import Api, quoted
from droned.ctl.status import rows_of

_ONE = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}/[A-Za-z0-9._-]{1,64}", re.ASCII)


def is_one_instance(target: str) -> bool:
    """Whether a target can never mean more than one instance."""
    return _ONE.fullmatch(target) is not None


def paths_of(api: Api, targets: Sequence[str]) -> Iterator[str]:
    """`/instances/APP/LABEL` of every instance that the targets name, each once."""
    seen: set[str] = set()
    for target in targets:
        keys = [target]
        if not is_one_instance(target):
            rows = rows_of(api.get("/instances", (("target", target),)).document())
            keys = [str(row.get("instance")) for row in rows]
        for key in keys:
            if key not in seen:
                seen.add(key)
                yield "/instances/" + "/".join(map(quoted, key.split("/")))

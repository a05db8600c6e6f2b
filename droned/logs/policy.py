"""How a stream is to be treated: checked once, shared by all streams that are treated alike."""

import json
from typing import Any

from droned.logs.format import DEFAULT_POLICY

LEAST_SIZE = 4096
_FORMATS = ("raw", "stamped", "json")
_WHEN_FULL = ("drop", "block")
_known: dict[str, "Policy"] = {}


class PolicyError(Exception):
    """A policy that cannot be used."""


class Policy:
    """One policy; `text` is the JSON it came as. Never changed: a stream is given another one."""

    __slots__ = ("compress", "format", "keep", "max_age_s", "max_size", "text", "when_full")

    def __init__(self, values: dict[str, Any], text: str) -> None:
        self.text = text
        self.format: str = values["format"]
        self.max_size: int = values["max_size"]
        self.keep: int = values["keep"]
        self.max_age_s: float | None = values["max_age_s"]
        self.compress: bool = values["compress"]
        self.when_full: str = values["when_full"]


def policy_of(values: object) -> Policy:
    """The policy of this object; what it leaves out is as in DEFAULT_POLICY. Raises PolicyError.

    Keys that we do not know are left alone: a newer daemon may speak to an older capture.
    """
    if type(values) is not dict:
        raise PolicyError(f"cannot take {type(values).__name__} as a policy")
    full = DEFAULT_POLICY | {key: value for key, value in values.items() if key in DEFAULT_POLICY}
    _check(full)
    text = json.dumps(full, separators=(",", ":"))
    policy = _known.get(text)
    if policy is None:
        if len(_known) > 1000:  # of policies that nobody has any more, most likely
            _known.clear()
        policy = _known[text] = Policy(full, text)
    return policy


def policy_in(text: str) -> Policy:
    """The policy that is written in `text`. Raises PolicyError."""
    policy = _known.get(text)
    if policy is not None:
        return policy
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"cannot read a policy: {error}") from error
    policy = policy_of(values)
    _known[text] = policy
    return policy


def default_policy() -> Policy:
    """What a stream without a policy of its own is treated by."""
    return policy_in("{}")


def _check(values: dict[str, Any]) -> None:
    if values["format"] not in _FORMATS:
        raise PolicyError(f"cannot write the format {values['format']!r:.40}")
    if values["when_full"] not in _WHEN_FULL:
        raise PolicyError(f"cannot do {values['when_full']!r:.40} when the disk is full")
    if type(values["compress"]) is not bool:
        raise PolicyError(f"cannot take compress = {values['compress']!r:.40}")
    size, keep, age = values["max_size"], values["keep"], values["max_age_s"]
    if type(size) is not int or not LEAST_SIZE <= size < 1 << 40:
        raise PolicyError(f"cannot take max_size = {size!r:.40}, at least {LEAST_SIZE} bytes are needed")
    if type(keep) is not int or not 0 <= keep <= 100_000:
        raise PolicyError(f"cannot take keep = {keep!r:.40}")
    if age is not None and (type(age) not in (int, float) or not 0 < age < 1e12):
        raise PolicyError(f"cannot take max_age_s = {age!r:.40}")

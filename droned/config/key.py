"""What the table of keys is made of: one key, as `droned.config.schema` has it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import force_setattr

from droned.config.kinds import Kind


class Key(Struct, frozen=True, kw_only=True):
    """One key: its name, what it can be, and one line of help.

    A key with `keys` is a mapping of those; with `is_named` it is a mapping of
    names that the user chooses to such mappings, with `is_list` a list of them.
    """

    name: str
    help: str
    kind: Kind | None = None
    field: str = ""
    """The attribute of the record in `models/policy.py` that takes the value."""
    default: str = ""
    keys: tuple[Key, ...] = ()
    is_named: bool = False
    is_list: bool = False
    is_required: bool = False
    word: str = ""
    """A word that can stand instead of the mapping; the value is then None."""
    since: str = "0.1"
    by_name: Mapping[str, Key] = MappingProxyType({})
    """The `keys` by their names; made of them, not given."""

    def __post_init__(self) -> None:
        force_setattr(self, "by_name", MappingProxyType({key.name: key for key in self.keys}))

"""The reference of all keys as reStructuredText, drawn from the table of `droned.config.schema`."""

from __future__ import annotations

from collections.abc import Iterator

from droned.config.key import Key
from droned.config.schema import CONFIGURATION, walk

NAMELESS = "The file"
APPS = "apps.NAME"


def reference_rst() -> str:
    """One table for each mapping of the configuration, in the order of the keys; ends with a newline."""
    return "\n".join(line for title, key in _mappings() for line in _table(title, key)) + "\n"


def _mappings() -> Iterator[tuple[str, Key]]:
    """Every key that is a mapping of keys, with its title; `defaults` has those of an app and is left out."""
    yield NAMELESS, CONFIGURATION
    for path, key in walk():
        if key.keys and not path.startswith("defaults"):
            yield APPS if key.is_named else f"{path}[]" if key.is_list else path, key


def _table(title: str, group: Key) -> Iterator[str]:
    heading = title if group is CONFIGURATION else f"``{title}``"
    yield from (heading, "~" * len(heading), "")
    yield from (".. list-table::", "   :header-rows: 1", "   :widths: 16 24 16 44", "")
    yield from _row("Key", "Value", "Default", "Meaning")
    for key in group.keys:
        default = "needed" if key.is_required else f"``{key.default}``" if key.default else ""
        yield from _row(f"``{key.name}``", _value(key), default, key.help)
    yield ""


def _row(*cells: str) -> Iterator[str]:
    for lead, cell in zip(("   * - ", "     - ", "     - ", "     - "), cells, strict=True):
        yield f"{lead}{cell}".rstrip()


def _value(key: Key) -> str:
    """What the key can be, in words."""
    if key.kind is not None:
        return key.kind.name
    plain = "mapping of names, see below" if key.is_named else "mapping, see below"
    if key.is_list:
        plain = "list of mappings, see below"
    return f"{plain}; or {key.word}" if key.word else plain

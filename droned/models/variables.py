"""Variables in the texts of a configuration: `${VAR}`, `${VAR:-x}`, `${VAR:?message}` and `$$`.

A text is expanded twice. When the configuration is loaded, every name is
droned's own environment, but for four that only an instance knows
(`INSTANCE_NAMES`); those stay. When an instance is started, they are put in.
What stands between the two is a *template*: the only things in it that begin
with `$` are `$$`, one dollar sign, and `${DRONED_…}` of those four names. So a
dollar sign that came out of a variable can never be read as a reference.

* `${VAR}` must be set (it may be empty); `${VAR:-x}` is `x` when it is unset
  or empty; `${VAR:?message}` must be set and not empty. These do not nest.
* A `$` before anything but `{` or `$` means itself: a shell gets its `$HOME`.
* What came out of a variable is text: it is never read as YAML, as further
  variables or as several words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from msgspec.structs import replace

from droned.models.policy import Launch

INSTANCE_NAMES = ("DRONED_APP", "DRONED_INSTANCE", "DRONED_LABEL", "DRONED_SERVER")
"""The names whose values differ from instance to instance, and so are put in when one starts."""

LONGEST_TEXT = 131_071
"""Bytes that the kernel takes in one argument or variable (MAX_ARG_STRLEN less its NUL)."""

REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<rule>:[-?])(?P<rest>[^{}]*))?\}|(?P<broken>\{))?"
)


def expand(text: str, environ: Mapping[str, str]) -> str:
    """The template of `text`: every variable put in from `environ`, but for those of the instance.

    Raises ValueError for a variable without a value, a reference that cannot
    be read, and a result that is too long to be given to a process.
    """
    if "$" not in text:
        return text
    parts: list[str] = []
    end = size = 0
    for match in REFERENCE.finditer(text):
        parts += (text[end : match.start()], _expanded(match, text, environ))
        size += len(parts[-2]) + len(parts[-1])
        # Looked at on the way, so that a few names of long values cannot fill the memory.
        if size > 2 * LONGEST_TEXT:
            raise ValueError(f"with its variables it is longer than {LONGEST_TEXT} bytes")
        end = match.end()
    parts.append(text[end:])
    return "".join(parts)


def is_instance_bound(template: str) -> bool:
    """Whether the template names something that only an instance knows."""
    return any(match["name"] for match in REFERENCE.finditer(template))


def put_in(template: str, values: Mapping[str, str]) -> str:
    """The final text of a template; `values` has every name of `INSTANCE_NAMES` that stands in it."""
    if "$" not in template:
        return template
    return REFERENCE.sub(lambda match: values[match["name"]] if match["name"] else "$", template)


def escaped(text: str) -> str:
    """The template that means exactly `text`."""
    return text.replace("$", "$$")


def instance_values(app: str, label: str, server: str) -> Mapping[str, str]:
    """What the four names of `INSTANCE_NAMES` mean for one instance."""
    values = {
        "DRONED_APP": app,
        "DRONED_INSTANCE": f"{app}/{label}",
        "DRONED_LABEL": label,
        "DRONED_SERVER": server,
    }
    return MappingProxyType(values)


def expand_launch(launch: Launch, *, app: str, label: str, server: str) -> Launch:
    """The launch of one instance: its texts are final, nothing in them is a variable any more."""
    if not _has_variables(launch):
        return launch
    values = instance_values(app, label, server)
    groups = launch.groups
    return replace(
        launch,
        command=tuple(put_in(word, values) for word in launch.command),
        directory=None if launch.directory is None else put_in(launch.directory, values),
        env=MappingProxyType({name: put_in(value, values) for name, value in launch.env.items()}),
        user=_identity(launch.user, values),
        group=_identity(launch.group, values),
        groups=None if groups is None else tuple(_named(group, values) for group in groups),
    )


def _has_variables(launch: Launch) -> bool:
    """Whether any text of the launch has to be put in; looked at first, because most have none."""
    identities = (launch.user, launch.group, *(launch.groups or ()))
    texts = (*launch.command, *launch.env.values(), launch.directory, *identities)
    return any(isinstance(text, str) and "$" in text for text in texts)


def _identity(named: str | int | None, values: Mapping[str, str]) -> str | int | None:
    return None if named is None else _named(named, values)


def _named(named: str | int, values: Mapping[str, str]) -> str | int:
    return put_in(named, values) if isinstance(named, str) else named


def _expanded(match: re.Match[str], text: str, environ: Mapping[str, str]) -> str:
    """What stands in the template for one match of REFERENCE in `text`."""
    if match["dollar"]:
        return "$$"
    if match["broken"]:
        shown = text[match.start() : match.start() + 24]
        raise ValueError(
            f"{shown} is no variable: it is ${{VAR}}, ${{VAR:-x}} or ${{VAR:?message}}; $${{ means ${{ itself"
        )
    name, rule = match["name"], match["rule"]
    if name is None:
        return "$$"
    if name in INSTANCE_NAMES:
        return f"${{{name}}}"
    value = environ.get(name)
    if value is None and rule is None:
        raise ValueError(f"${{{name}}} is not set; a default is written ${{{name}:-x}}")
    if not value and rule == ":?":
        raise ValueError(f"${{{name}}} is not set: {match['rest'] or 'it must have a value'}")
    if not value and rule == ":-":
        value = match["rest"].replace("$$", "$")
    return escaped(value or "")

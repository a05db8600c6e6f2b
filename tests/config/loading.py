"""Short ways to load a configuration in tests."""

from collections.abc import Mapping

import pytest

from droned.config import load
from droned.errors import ConfigurationError
from droned.models.policy import AppSpec, Configuration

FILE = "droned.yaml"


def loaded(text: str, *sets: str, environ: Mapping[str, str] | None = None) -> Configuration:
    """The configuration of one file with this text."""
    return load([(FILE, text.encode("utf-8", "surrogatepass"))], sets, environ or {})


def app(*lines: str, environ: Mapping[str, str] | None = None, command: str = "[web]") -> AppSpec:
    """The app `web` with these lines below it, and a command."""
    return loaded(one_app(*lines, command=command), environ=environ).apps["web"]


def one_app(*lines: str, command: str = "[web]") -> str:
    """The text of a configuration with one app, `web`; its first further line is line 5."""
    return "\n".join(
        ("version: 1", "apps:", "  web:", f"    command: {command}", *(f"    {line}" for line in lines), "")
    )


def problems(text: str | bytes, *sets: str, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """What is wrong with a configuration of one file; fails the test when nothing is."""
    content = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    with pytest.raises(ConfigurationError) as caught:
        load([(FILE, content)], sets, environ or {})
    assert caught.value.problems
    assert str(caught.value).startswith("cannot ")
    assert caught.value.problems[0] in str(caught.value)
    return caught.value.problems


def problem(text: str | bytes, *sets: str, environ: Mapping[str, str] | None = None) -> str:
    """The one thing that is wrong with a configuration of one file."""
    found = problems(text, *sets, environ=environ)
    assert len(found) == 1, found
    return found[0]

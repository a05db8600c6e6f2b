"""etc/droned.yaml and the demo's environment are configurations that droned takes."""

import re
import textwrap
from pathlib import Path

import pytest

from droned.config import load
from droned.demo.prepare import configuration
from droned.models.policy import AppSpec, Configuration, DaemonSettings, Launch

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = (ROOT / "etc/droned.yaml").read_text("utf-8")


def uncommented(text: str) -> str:
    """The example with every setting in it: lines that begin with `#` and no single space after it."""
    return re.sub(r"^#(?! \S)(?=.)", "", text, flags=re.MULTILINE).replace("apps: {}", "apps:")


def loaded(text: str) -> Configuration:
    return load([("droned.yaml", text.encode())], [], {})


def test_the_example_as_it_is_shipped_runs_nothing() -> None:
    assert not loaded(EXAMPLE).apps


def test_the_example_shows_settings_that_can_be_uncommented() -> None:
    assert list(loaded(uncommented(EXAMPLE)).apps) == ["web"]


def test_what_the_example_calls_defaults_are_the_defaults() -> None:
    made = loaded(uncommented(EXAMPLE))
    web, plain = made.apps["web"], AppSpec(name="web", launch=Launch(command=("web",)))
    for name in ("restart", "start", "stop", "leftovers", "logs"):
        assert getattr(web, name) == getattr(plain, name), name
    assert made.settings.start_budget == DaemonSettings().start_budget
    assert made.settings.journal == DaemonSettings().journal
    assert made.settings.logs == DaemonSettings().logs
    assert made.settings.log == DaemonSettings().log


@pytest.mark.parametrize(
    "key", sorted(set(AppSpec.__struct_fields__) - {"name", "launch", "labels", "origin"})
)
def test_the_example_shows_every_setting_of_an_app(key: str) -> None:
    assert re.search(rf"^#    {key}:", EXAMPLE, flags=re.MULTILINE)


@pytest.mark.parametrize("key", sorted(Launch.__struct_fields__))
def test_the_example_shows_every_setting_of_a_process(key: str) -> None:
    assert re.search(rf"^#    {key}:", EXAMPLE, flags=re.MULTILINE)


def test_the_demo_can_be_loaded() -> None:
    apps = loaded(configuration(8080)).apps
    assert {name: app.labels for name, app in apps.items()} == {
        "web": ("0", "1"),
        "worker": ("0",),
        "flaky": ("0",),
    }


def test_the_readmes_configuration_can_be_loaded() -> None:
    readme = (ROOT / "README.rst").read_text("utf-8")
    block = re.search(r"^    version: 1\n(?:    .*\n)+", readme, flags=re.MULTILINE)
    assert block
    assert loaded(textwrap.dedent(block[0])).apps["web"].labels == ("0", "1")

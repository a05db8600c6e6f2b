"""docs/configuration.rst against the table of keys, and its example against the loader."""

import re
import textwrap
from pathlib import Path

from droned.config import values
from droned.config.reference import reference_rst
from droned.config.schema import walk
from tests.config.loading import loaded

PAGE = (Path(__file__).resolve().parents[2] / "docs/configuration.rst").read_text("utf-8")
HEADING = "\nKeys\n----\n\n"


def test_the_page_has_the_table_as_it_is() -> None:
    """When this fails, what follows "Keys" on the page is to be replaced by what it shows."""
    assert PAGE.partition(HEADING)[2] == reference_rst()


def test_the_example_can_be_loaded() -> None:
    example = re.search(r"^\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", PAGE, re.MULTILINE)
    assert example is not None
    made = loaded(textwrap.dedent(example[1]))
    assert list(made.apps) == ["web", "mailer"]
    assert made.apps["web"].launch.env == {"LANG": "C.UTF-8", "SETTINGS": "/etc/web.ini"}


def test_all_limits_are_on_the_page() -> None:
    assert f"``{' '.join(values.LIMIT_NAMES)}``" in PAGE


def test_every_key_has_its_help() -> None:
    for path, key in walk():
        assert key.help.endswith("."), path
        assert key.since, path
        assert bool(key.kind) != bool(key.keys), path

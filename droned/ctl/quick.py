"""Command lines read without click: `dronectl status [TARGET…]` with its plain options, and `--version`.

Loading click costs more than all the rest of a `status` together. What is not
understood here to the letter, be it only an abbreviation, is left to click,
whose reading this one never contradicts: a test holds both against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from droned.ctl.listing import FORMATS

RELEASE = ["--version"]
"""The whole line that asks for the release."""
NAMES = ("status", "ps", "ls")
_FLAGS = {
    "-q": "quiet",
    "--quiet": "quiet",
    "--no-color": "no_color",
    "--no-headers": "no_headers",
    "--failed": "failed",
}
_WITH_VALUE = {
    "-o": "output",
    "--output": "output",
    "-H": "host",
    "--host": "host",
    "--columns": "columns",
    "--sort": "sort",
}
_OF_THE_VERB = ("failed", "columns", "sort")


def read(arguments: Sequence[str]) -> tuple[dict[str, str | bool], list[str]] | None:
    """The options by name and the targets of a plain `status`; None when click has to read the line."""
    options: dict[str, str | bool] = {}
    targets: list[str] = []
    verb: str | None = None
    words = iter(arguments)
    for word in words:
        if word in _FLAGS:
            name = _FLAGS[word]
            if verb is None and name in _OF_THE_VERB:
                return None
            options[name] = True
        elif word in _WITH_VALUE or (word.startswith("--") and word.partition("=")[0] in _WITH_VALUE):
            option, equals, value = word.partition("=")
            given = value if equals else next(words, None)
            name = _WITH_VALUE[option]
            if given is None or (verb is None and name in _OF_THE_VERB):
                return None
            options[name] = given
        elif word.startswith("-") or not word:
            return None
        elif verb is None:
            if word not in NAMES:
                return None
            verb = word
        else:
            targets.append(word)
    if verb is None or options.get("output", "table") not in FORMATS:
        return None
    return options, targets


def show(options: dict[str, str | bool], targets: Sequence[str]) -> int:
    """Do the `status` that `read` understood; its exit status."""
    from droned.ctl.session import Session
    from droned.ctl.status import Choice, show_status

    def text(name: str) -> str | None:
        value = options.get(name)
        return value if isinstance(value, str) else None

    with Session(
        host=text("host"),
        output=text("output") or "table",
        quiet="quiet" in options,
        colour="no_color" not in options,
        headers="no_headers" not in options,
    ) as session:
        choice = Choice(targets, failed="failed" in options, columns=text("columns"), sort=text("sort"))
        return show_status(session, choice)


def show_release() -> int:
    """Do `dronectl --version`; its exit status."""
    from droned.ctl.session import Session
    from droned.models.version import VERSION

    with Session() as session:
        session.console.data([f"dronectl {VERSION}"])
    return 0

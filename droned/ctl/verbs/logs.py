"""`dronectl logs`: what instances wrote, and with -f what they write."""

from __future__ import annotations

import re
from typing import Any

import click

from droned.ctl.failures import Unreachable
from droned.ctl.log_lines import JsonLines, RawLines, Stamps, TextLines, warn_of_direct
from droned.ctl.log_stream import told_of
from droned.ctl.naming import is_one_instance
from droned.ctl.options import complete_targets, verb
from droned.ctl.session import Session
from droned.ctl.text import escaped, utc_of_local
from droned.ctl.verbs import logs_kept

LAST = 200
"""Lines of history that are shown when nobody says since when, of which run, or how many."""

MOMENTS = "14:00, 2026-11-27 14:00, 10m (ago), an RFC 3339 time, @VERSION or boot"
"""What `--since` and `--until` take."""

EPILOG = """\b
Examples:
  dronectl logs -f web              the last lines of all of web, then what comes
  dronectl logs --since 5m 'api/*' -g ERROR
  dronectl logs -p web/0            the run before the last one, whole
  dronectl logs --since '14:00' --until '14:05' -t web worker
  dronectl logs -o raw -n all --stdout web/0 > web.out

\b
Verbs below it; for an app of such a name say `dronectl logs -- rotate`:
  dronectl logs rotate TARGET...    begin new files
  dronectl logs clear TARGET...     delete what was captured
  dronectl logs usage               show how much is kept
"""


class Tail(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """A number of lines, or `all`, which is -1."""

    name = "lines"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number, or a usage error that says what it may be."""
        text = str(value)
        if text == "all":
            return -1
        if not re.fullmatch("[0-9]{1,9}", text):
            self.fail(f'cannot take "{text}" as a number of lines: give 0, 1, … or all', param, ctx)
        return int(text)


class When(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """A moment as the daemon takes it; one without a zone is this machine's and sent in UTC."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The moment, or a usage error that says what it may be."""
        from droned.commands.moments import read_when

        text = str(value)
        moment = utc_of_local(text) or text
        if read_when(moment) is None:
            self.fail(f'cannot take "{escaped(text)}" as a time: give {MOMENTS}', param, ctx)
        return moment


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    below = [] if ctx.params.get("targets") else [each for each in BELOW if each.startswith(incomplete)]
    return [*complete_targets(ctx, param, incomplete), *below]


def _fault_in(given: dict[str, Any]) -> str | None:
    """What cannot be asked for together."""
    if len(given["grep"]) > 1:
        return "cannot search for several expressions: make them one, as -g 'this|that'"
    if (given["invert"] or given["ignore_case"]) and not given["grep"]:
        return "-v and -i say how to search: give -g as well"
    if given["follow"] and (given["until"] or given["previous"]):
        return "cannot follow to a time or a run that is over: leave out --until and -p, or -f"
    if given["previous"] and given["run"] is not None:
        return "cannot take both --run and -p"
    if given["after"] is not None and (given["since"] or given["tail"] is not None):
        return "cannot take --after with --since or -n: it says where to begin by itself"
    return None


@verb("logs", formats=("text", "raw", "jsonl", "json"))
@click.argument("targets", metavar="[TARGET...]", nargs=-1, shell_complete=_complete)
@click.option(
    "-f", "--follow", is_flag=True, help="Go on as lines come, over restarts of apps and of droned."
)
@click.option(
    "-n",
    "--tail",
    type=Tail(),
    metavar="N",
    help="The last so many lines, or all. [default: 200; with --since, --run, -p or --after all]",
)
@click.option(
    "--since",
    type=When(),
    metavar="WHEN",
    help="From 10m ago, 14:00, 2026-11-27 14:00, an RFC 3339 time, @VERSION or boot on.",
)
@click.option("--until", type=When(), metavar="WHEN", help="Up to such a moment.")
@click.option("--after", type=click.IntRange(0), metavar="POSITION", help="Behind a position of -o jsonl.")
@click.option(
    "-g",
    "--grep",
    multiple=True,  # told from one, and refused
    metavar="RE",
    help="Only lines in which this regular expression is found.",
)
@click.option("-v", "--invert", is_flag=True, help="With -g: only the other lines.")
@click.option("-i", "--ignore-case", is_flag=True, help="With -g: capital and small letters are the same.")
@click.option("--stdout", is_flag=True, help="Without standard error that is captured apart.")
@click.option("--stderr", is_flag=True, help="Without standard output that is captured apart.")
@click.option("-p", "--previous", is_flag=True, help="Of the run before the last one.")
@click.option("--run", type=click.IntRange(1), metavar="N", help="Of the run with this number.")
@click.option("-t", "--timestamps", is_flag=True, help="When each line was captured.")
@click.option("--utc", is_flag=True, help="The same, in UTC.")
@click.option("--no-prefix", is_flag=True, help="No names of instances and no marks of streams.")
def command(session: Session, targets: tuple[str, ...], **given: Any) -> int:
    """Show what instances wrote, and with -f what they write from now on.

    Lines of all instances (or of the targets) are in the order in which they
    were captured, whatever file holds them. More than one instance is told
    apart by name; E marks standard error.

    On a terminal, what is not printable is escaped, and it is told where runs
    begin and end. In a pipe or a file every line keeps its bytes. -o raw
    prints the bytes alone, on a terminal as well.
    """
    wrong = _fault_in(given)
    if wrong:
        raise click.UsageError(wrong)
    if session.output != "text" and (given["timestamps"] or given["utc"]):
        raise click.UsageError(f"cannot put timestamps into -o {session.output}: use -o text")
    try:
        return _show(session, targets, given)
    except Unreachable as gone:
        from droned.ctl.log_files import with_files

        raise with_files(gone, session) from gone


def _show(session: Session, targets: tuple[str, ...], given: dict[str, Any]) -> int:
    lines = _lines(session, targets, given)
    has_found = False
    for batch in told_of(session, _query(targets, given), follow=given["follow"]):
        direct = [told.record for told in batch if told.event == "direct"]
        warn_of_direct(session.console, direct)
        lines.take(batch)
        has_found = has_found or bool(direct) or any(told.event is None for told in batch)
    if not has_found and given["tail"] != 0:
        session.console.notice("no lines found")
    return 0


def _query(targets: tuple[str, ...], given: dict[str, Any]) -> list[tuple[str, object]]:
    """The parameters of `GET /logs`."""
    tail = given["tail"]
    if tail is None and not (
        given["since"] or given["run"] or given["previous"] or given["after"] is not None
    ):
        tail = LAST
    chosen: list[str] = []
    if given["stdout"] != given["stderr"]:
        # What goes to one place is both.
        chosen = ["stdout" if given["stdout"] else "stderr", "output"]
    return [
        *(("target", target) for target in targets),
        *(("stream", stream) for stream in chosen),
        ("since", given["since"]),
        ("until", given["until"]),
        ("after", given["after"]),
        ("last", None if tail is None or tail < 0 else tail),
        ("run", given["run"]),
        ("previous", "true" if given["previous"] else None),
        *(("grep", expression) for expression in given["grep"]),
        ("invert", "true" if given["invert"] else None),
        ("ignore_case", "true" if given["ignore_case"] else None),
    ]


def _lines(
    session: Session, targets: tuple[str, ...], given: dict[str, Any]
) -> TextLines | RawLines | JsonLines:
    console, utc = session.console, given["utc"]
    if session.output == "raw":
        return RawLines(console)
    if session.output != "text":
        return JsonLines(console)
    has_prefix = not given["no_prefix"]
    is_one = len(targets) == 1 and is_one_instance(targets[0])
    return TextLines(
        console,
        has_names=has_prefix and not is_one,
        has_marks=has_prefix and (not is_one or console.is_terminal),
        stamps=Stamps(utc=utc, is_short=console.is_terminal) if given["timestamps"] or utc else None,
        utc=utc,
    )


BELOW = {"rotate": logs_kept.rotate, "clear": logs_kept.clear, "usage": logs_kept.usage}
command.below = BELOW
command.epilog = EPILOG

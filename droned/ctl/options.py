"""The options that every verb takes, before or behind its name, and what verbs are declared with.

An option behind the verb wins over the same before it. A verb's function gets
the `Session` made of them first, then its own arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from droned.ctl.listing import FORMATS
from droned.ctl.session import Session
from droned.ctl.text import seconds_of
from droned.errors import BadRequest


class Time(click.ParamType):  # type: ignore[type-arg]  # not generic before click 8.5
    """A length of time (`500ms`, `10s`, `5m`, `1h30m`, or plain seconds), as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds, or a usage error that says what a time looks like."""
        if isinstance(value, (int, float)):
            return float(value)
        try:
            return seconds_of(str(value), "a time")
        except BadRequest as wrong:
            self.fail(str(wrong), param, ctx)


TIME = Time()
QUIET = ("-q", "--quiet")


def common_options(formats: tuple[str, ...] = FORMATS) -> Iterator[click.Option]:
    """The global options; `formats` are those that the verb can print, the first its own."""
    yield click.Option(
        ["-H", "--host"],
        metavar="URL",
        help="The daemon to talk to, as unix:///run/droned/droned.sock. [env: DRONED_HOST]",
    )
    yield click.Option(["-o", "--output"], type=click.Choice(formats), help="What to print.")
    yield click.Option([*QUIET], is_flag=True, help="No notices and no progress.")
    yield click.Option(["--no-color"], is_flag=True, help="No colour. [env: NO_COLOR]")
    yield click.Option(["--no-headers"], is_flag=True, help="Tables without headers and footers.")
    yield click.Option(["--timeout"], type=TIME, metavar="TIME", help="Stop waiting then; the work goes on.")
    yield click.Option(["--debug"], is_flag=True, help="Tell requests and answers.")


ALL_FORMATS = (*FORMATS, "text", "raw")
"""What `-o` before a verb may say, which is before it is known which formats the verb has."""

COMMON = frozenset(option.name for option in common_options() if option.name)


class Verb(click.Command):
    """A verb: its own parameters, the common ones behind them, and a `Session` for its function."""

    def __init__(self, *args: Any, formats: tuple[str, ...] = ("table", "json"), **kwargs: Any) -> None:
        """`formats` are the values of `-o` that the verb knows, the first being what it prints unasked."""
        super().__init__(*args, **kwargs)
        self.formats = formats
        self.below: Mapping[str, Verb] = {}
        """Verbs named by the first word behind this one; a `--` before it makes it an argument."""
        self.params = [*self.params, *common_options(formats)]

    def invoke(self, ctx: click.Context) -> Any:
        """Make the session of the options before and behind the verb, and call the function with it."""
        given: dict[str, Any] = {}
        chain: click.Context | None = ctx
        while chain is not None:
            for name in COMMON:
                if not given.get(name):
                    given[name] = chain.params.get(name)
            chain = chain.parent
        output = given["output"] or self.formats[0]
        if output not in self.formats:
            raise click.UsageError(
                f"cannot print {output} with {ctx.command_path}; it knows {', '.join(self.formats)}", ctx
            )
        for name in COMMON:
            ctx.params.pop(name, None)
        with Session(
            host=given["host"],
            output=output,
            quiet=bool(given["quiet"]),
            colour=not given["no_color"],
            headers=not given["no_headers"],
            timeout_s=given["timeout"],
            debug=bool(given["debug"]),
        ) as session:
            ctx.obj = session
            return super().invoke(ctx)


def verb(
    name: str, formats: tuple[str, ...] = ("table", "json")
) -> Callable[[Callable[..., int | None]], Verb]:
    """Declare a function `(session, …) -> exit status` as the verb `name`; its docstring is the help."""

    def declare(function: Callable[..., int | None]) -> Verb:
        return click.command(name, cls=Verb, formats=formats)(click.pass_obj(function))

    return declare


def complete_targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    """Names of apps and instances that begin so, for the shell; nothing when the daemon is slow or away."""
    from droned.ctl.completing import target_names

    return list(target_names(ctx, incomplete))


def targets_argument(*, required: bool = False) -> Callable[[Any], Any]:
    """The argument `TARGET…`."""
    return click.argument(
        "targets", metavar="TARGET...", nargs=-1, required=required, shell_complete=complete_targets
    )


def changing(function: Any) -> Any:
    """The arguments of a verb that changes something: targets or `--all`, and the reason."""
    for decorate in (
        targets_argument(),
        click.option("--all", "all_targets", is_flag=True, help="All instances of this server."),
        click.option("--reason", default="", metavar="TEXT", help="Why; kept with the event."),
    ):
        function = decorate(function)
    return function


def require_targets(targets: tuple[str, ...], all_targets: bool) -> None:
    """Refuse a changing verb without a target, or with both names and `--all`: a usage error."""
    if not targets and not all_targets:
        raise click.UsageError("cannot do this without a target: name instances or apps, or give --all")
    if targets and all_targets:
        raise click.UsageError("cannot take both --all and names of targets")

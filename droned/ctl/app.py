"""The tree of verbs, each loaded when it is used.

A new verb touches: `VERBS` below, its module in `verbs/` with its `command`,
the documentation's page of dronectl, and its test.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import click
from click.shell_completion import CompletionItem

from droned.ctl.main import COMPLETION_VARIABLE
from droned.ctl.options import ALL_FORMATS, Verb, common_options

VERBS: Mapping[str, str] = {
    "status": "Show the instances as they are now.",
    "check": "Ask whether instances run, as a script does: by exit status.",
    "start": "Have instances running.",
    "stop": "Have instances stopped, with all that they started.",
    "restart": "Replace the processes of instances.",
    "kill": "Send a signal to instances.",
    "enable": "Let droned restart instances by itself again.",
    "disable": "Keep droned from restarting instances by itself.",
    "scale": "Set how many instances an app has.",
    "wait": "Wait until instances run, are stopped or end.",
    "events": "Show what happened, oldest first.",
    "logs": "Show what instances wrote, and with -f what they write.",
    "describe": "Show all that is known about an instance.",
    "why": "Show the causes that made an instance what it is.",
    "history": "Show what happened to an instance, from the journal.",
    "issues": "Show what a person must look at.",
    "daemon": "Look at and handle droned itself; apps run on.",
    "version": "Show the versions of dronectl and of the daemon.",
    "api": "Send a request to the API as it is.",
    "completion": "Print the completion script of a shell.",
}
"""Every verb with its line in the help, in the help's order; `verbs/NAME.py` has its `command`."""

ALIASES: Mapping[str, str] = {
    "ps": "status",
    "ls": "status",
    "tail": "logs",
    "show": "describe",
    "inspect": "describe",
}


class LazyGroup(click.Group):
    """A group that imports a verb's module when the verb is used, and not for the help's list."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the help's order, aliases left out."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb of that name or alias; None when there is none."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        from importlib import import_module

        command = import_module(f"droned.ctl.verbs.{name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a verb can have others below it, and an unknown one is refused with near names."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            from droned.commands.nearness import hint, near_names

            ctx.fail(f'cannot find a verb "{name}"{hint(near_names(name, [*VERBS, *ALIASES]))}')
        found, command, rest = super().resolve_command(ctx, args)
        place = _place_below(command, rest) if isinstance(command, Verb) and command.below else None
        if place is None:
            return found, command, rest
        word = rest[place]
        assert isinstance(command, Verb)
        return f"{found} {word}", command.below[word], [*rest[:place], *rest[place + 1 :]]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Verbs with their lines from the table, without loading any of them; then options."""
        verbs = [
            CompletionItem(name, help=line) for name, line in VERBS.items() if name.startswith(incomplete)
        ]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs, from the table alone."""
        spelled = {
            name: ", ".join([name, *(alias for alias, meant in ALIASES.items() if meant == name)])
            for name in VERBS
        }
        with formatter.section("Verbs"):
            formatter.write_dl([(spelled[name], line) for name, line in VERBS.items()])


def _place_below(command: Verb, words: Sequence[str]) -> int | None:
    """Where in `words` a verb below the command is named: first, or behind options that every verb takes."""
    takes_value = {name: not option.is_flag for option in common_options() for name in option.opts}
    place = 0
    while place < len(words):
        if words[place] in command.below:
            return place
        name, equals, _ = words[place].partition("=")
        if name not in takes_value:
            return None
        place += 2 if takes_value[name] and not equals else 1
    return None


def _print_release(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from droned.models.version import VERSION

        click.echo(f"dronectl {VERSION}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    params=list(common_options(ALL_FORMATS)),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
    subcommand_metavar="VERB [TARGET...]",
    epilog="TARGET is an instance (web/0), an app (web: all its instances) or a shell pattern ('web/*'). "
    "Each verb has its own --help. Exit status: 0 done, 1 failed, 2 usage, 3 not in the asked state, "
    "4 no such target, 5 daemon unreachable, 6 not allowed, 7 timed out, 8 conflict, 130 interrupted.",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_release,
    help="Print the release.",
)
def app(**options: object) -> None:
    """Tell droned what to do, and see what it does."""


def run_verb(words: Sequence[str]) -> int:
    """Do what the command line says; its exit status. Errors of droned are raised to the caller."""
    instruction = os.environ.get(COMPLETION_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(app, {}, "dronectl", COMPLETION_VARIABLE, instruction)
    try:
        with app.make_context("dronectl", list(words)) as context:
            status = app.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    return status if isinstance(status, int) else 0

"""`dronectl completion`: the script that a shell needs to complete verbs, options and names."""

from __future__ import annotations

import click

from droned.ctl.main import COMPLETION_VARIABLE
from droned.ctl.options import verb
from droned.ctl.session import Session


@verb("completion", formats=("table",))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(session: Session, shell: str) -> int:
    """Print the completion script of a shell.

    For bash: eval "$(dronectl completion bash)" in ~/.bashrc; for zsh the same
    with zsh in ~/.zshrc; for fish: dronectl completion fish >
    ~/.config/fish/completions/dronectl.fish
    """
    from click.shell_completion import get_completion_class

    from droned.ctl.app import app

    made = get_completion_class(shell)
    assert made is not None
    session.console.data([made(app, {}, "dronectl", COMPLETION_VARIABLE).source()])
    return 0

"""The command that prints what makes a shell complete commands, options and runs."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from moco_tui.cli.options import shared_options


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@shared_options
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    For bash: eval "$(moco-tui completion bash)" in ~/.bashrc.
    """
    kind = get_completion_class(shell)
    assert kind is not None  # click has a class for each of the choices
    # The variable that the script sets when it calls moco-tui for words; click derives it so.
    print(kind(ctx.find_root().command, {}, "moco-tui", "_MOCO_TUI_COMPLETE").source())

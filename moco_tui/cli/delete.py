"""The command that moves runs to the trash."""

from __future__ import annotations

import click

from engine.errors import RunBusyError
from engine.history.history import History
from moco_tui.cli.options import JSON, Settings, complete_run, shared_options
from moco_tui.cli.output import print_json, say, say_notices


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run)
@JSON
@shared_options
@click.pass_obj
def delete(settings: Settings, runs: tuple[str, ...], as_json: bool) -> None:
    """Move runs to the trash; restore brings them back."""
    settings.writable()
    folders = list(dict.fromkeys(settings.find(ref) for ref in runs))  # a run named twice is one
    for folder in folders:  # all or none: nothing is deleted when one of them cannot be
        if folder.alive():
            raise RunBusyError(f"Run {folder.id} is being worked on; stop it before deleting it.")
    history = History(settings.root)
    try:
        for folder in folders:
            history.delete(folder.id)
            if not as_json:
                print(folder.id)
                say(f"deleted; moco-tui restore {folder.id} brings it back")
    finally:
        say_notices(history)
    if as_json:
        print_json([{"id": folder.id} for folder in folders])

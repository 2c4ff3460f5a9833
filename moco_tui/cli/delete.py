"""The command that moves runs to the trash."""

from __future__ import annotations

import click

from engine.errors import RunBusyError
from engine.history.history import History
from engine.runs import described
from engine.runs.lookup import name_of
from moco_tui.cli.options import JSON, Settings, run_argument, shared_options
from moco_tui.cli.output import clean, print_json, say, say_notices


@click.command()
@run_argument(many=True, metavar="RUN...")
@JSON
@shared_options
@click.pass_obj
def delete(settings: Settings, runs: tuple[str, ...], as_json: bool) -> None:
    """Move runs to the trash; restore brings them back."""
    settings.writable()
    folders = list(dict.fromkeys(settings.find(ref) for ref in runs))  # a run named twice is one
    taken = {folder.id: name_of(folder) for folder in folders}
    for folder in folders:  # all or none: nothing is deleted when one of them cannot be
        if folder.alive():
            raise RunBusyError(
                f"Run {described(folder)} is being worked on; stop it before deleting it."
            )
    history = History(settings.root)
    try:
        for folder in folders:
            what = clean(described(folder))  # before it is moved
            history.delete(folder.id)
            if not as_json:
                print(folder.id)
                say(f"deleted {what}; moco-tui restore {folder.id} brings it back")
    finally:
        say_notices(history)
    if as_json:
        print_json([{"id": id_, "name": name} for id_, name in taken.items()])

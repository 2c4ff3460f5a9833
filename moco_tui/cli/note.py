"""The command that writes a note on a run."""

from __future__ import annotations

import click

from engine.runs import UserNotes, described
from moco_tui.cli.annotate import annotate
from moco_tui.cli.options import JSON, RUN, Settings, shared_options
from moco_tui.cli.output import clean, print_json, say


@click.command()
@RUN
@click.argument("text", nargs=-1)
@JSON
@shared_options
@click.pass_obj
def note(settings: Settings, run: str, text: tuple[str, ...], as_json: bool) -> None:
    """Write a note on RUN, or print it.

    An empty TEXT removes it.
    """
    folder = settings.find(run)

    def update(notes: UserNotes) -> None:
        notes.note = " ".join(text)

    shown = annotate(settings, folder, update).note if text else folder.user().note
    if as_json:
        print_json({"id": folder.id, "note": shown})
        return
    if text:
        say(f"note on {clean(described(folder))}:" + ("" if shown else " none"))
    if shown:
        print(clean(shown))

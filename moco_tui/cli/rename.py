"""The command that gives a run another name."""

from __future__ import annotations

import click

from engine.runs import UserNotes, described
from engine.runs.note_limits import checked_name
from moco_tui.cli.annotate import annotate
from moco_tui.cli.options import JSON, RUN, Settings, shared_options
from moco_tui.cli.output import clean, print_json, say


@click.command()
@RUN
@click.argument("name")
@JSON
@shared_options
@click.pass_obj
def rename(settings: Settings, run: str, name: str, as_json: bool) -> None:
    """Call RUN by another NAME.

    An empty one gives back the name it was started with.
    """
    checked_name(name)  # a mistake in the new name comes before one in the old
    folder = settings.find(run)
    before = described(folder)

    def update(notes: UserNotes) -> None:
        notes.name = name

    entry = annotate(settings, folder, update)
    if as_json:
        print_json({"id": folder.id, "name": entry.name})
    else:
        print(clean(entry.title))
        say(f"renamed {clean(before)}")

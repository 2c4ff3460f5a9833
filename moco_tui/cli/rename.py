"""The command that gives a run another name."""

from __future__ import annotations

import click

from engine.errors import RunError
from moco_tui.cli.annotate import annotate
from moco_tui.cli.options import JSON, RUN, Settings, shared_options
from moco_tui.cli.output import clean, print_json


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
    if name.strip() == "latest":  # engine.runs.find takes the word for the newest run
        raise RunError("latest always means the newest run; choose another name.")
    folder = settings.find(run)
    entry = annotate(settings, folder, name=name)
    if as_json:
        print_json({"id": folder.id, "name": entry.name})
    else:
        print(clean(entry.title))

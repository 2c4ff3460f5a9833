"""The command that makes the index of the runs anew."""

from __future__ import annotations

import click

from engine.history.history import History
from moco_tui.cli.options import JSON, Settings, shared_options
from moco_tui.cli.output import print_json, say_notices


@click.command()
@JSON
@shared_options
@click.pass_obj
def reindex(settings: Settings, as_json: bool) -> None:
    """Make the index of the runs anew from their folders."""
    settings.writable()
    history = History(settings.root)
    count = history.reindex()
    say_notices(history)
    if as_json:
        print_json({"runs": count, "root": str(settings.root)})
    else:
        print(f"{count} runs in the index of {settings.root}")

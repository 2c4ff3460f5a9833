"""The command that makes the index of the runs anew."""

from __future__ import annotations

import click

from engine.history.history import History
from moco_tui.cli.annotate import say_notices
from moco_tui.cli.common import Settings, print_json, shared_options


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
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

"""The command that writes a run in other formats."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.errors import RunError
from engine.runs import RunFolder
from engine.runs.export import FORMATS, to_csv, to_json, write_tensorboard
from engine.runs.export import export as write_file
from moco_tui.cli.options import RUN, Settings, shared_options
from moco_tui.cli.output import clean, say


@click.command()
@RUN
@click.option(
    "--format",
    "format_",
    type=click.Choice(FORMATS),
    default="csv",
    show_default=True,
    help="csv: the metrics; json: record, notes and metrics; tensorboard: event files.",
)
@click.option(
    "--out",
    metavar="PATH",
    help="File, or for tensorboard folder. [default: stdout; for tensorboard tensorboard/ID]",
)
@shared_options
@click.pass_obj
def export(settings: Settings, run: str, format_: str, out: str | None) -> None:
    """Write RUN as CSV, as JSON or as TensorBoard event files."""
    folder = settings.find(run)
    if format_ == "tensorboard":
        _event_files(folder, Path(out) if out else Path("tensorboard") / folder.id)
    elif out is not None and out != "-":
        path = write_file(folder, format_, Path(out))
        say(f"wrote {clean(str(path))}")
    elif format_ == "json":
        sys.stdout.write(to_json(folder).decode())
    else:
        for line in to_csv(folder):
            sys.stdout.write(line)


def _event_files(folder: RunFolder, target: Path) -> None:
    # A second set of event files beside the first would draw every curve twice.
    if any(target.glob("events.out.tfevents.*")):
        raise RunError(f"{target} holds event files already; name another folder with --out.")
    write_tensorboard(folder, target)
    say(f"wrote event files into {clean(str(target))}; tensorboard --logdir shows them")

"""The command that writes a run, its encoder or its features in other formats."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from engine.config.data import sources_in_words
from engine.errors import ConfigError, RunError
from engine.exchange.encoder_formats import ENCODER_FORMATS
from engine.runs import RunFolder
from engine.runs.checkpoint_ref import CheckpointRef
from engine.runs.device_export import devices_to_csv
from engine.runs.export import FORMATS, to_csv, to_json, write_tensorboard
from engine.runs.export import export as write_file
from engine.sink import Interrupted
from moco_tui.cli.options import ALLOW_CODE, Settings, run_argument, shared_options
from moco_tui.cli.output import clean, say


@click.command()
@run_argument(checkpoints=True)
@click.option(
    "--format",
    "format_",
    type=click.Choice([*FORMATS, *ENCODER_FORMATS]),
    default="csv",
    show_default=True,
    help="csv: the metrics; json: record, notes and metrics; tensorboard: event files; "
    "devices: CPU, memory and card over the run, as CSV; "
    "safetensors, torchvision, onnx: the encoder; features: those of its images, as .npz, "
    ".parquet or .csv by the suffix of --out.",
)
@click.option(
    "--out",
    metavar="PATH",
    help="File, or for tensorboard folder. [default: stdout; tensorboard/ID; a file ID.SUFFIX]",
)
@click.option("--force", is_flag=True, help="Replace the file of an encoder that is there.")
@click.option(
    "--data",
    metavar="D",
    help=f"Of features, the images: {sources_in_words(notes=False)}. [default: those of RUN]",
)
@ALLOW_CODE
@shared_options
@click.pass_obj
def export(
    settings: Settings, run: str, format_: str, out: str | None, force: bool, data: str | None
) -> int:
    """Write RUN, its encoder or its features for other programs."""
    if data is not None and format_ != "features":
        raise ConfigError("--data names the images of --format features; other formats have none.")
    meant = settings.find_checkpoint(run)
    folder = meant.folder
    if format_ in ENCODER_FORMATS:
        return _encoder(settings, meant, format_, out, force=force, data=data or "")
    if meant.which:
        raise ConfigError(
            f"{meant.text} names an encoder, and --format {format_} writes the curves of a run; "
            f"give {folder.id} alone, or a format of an encoder."
        )
    if format_ == "tensorboard":
        _event_files(folder, Path(out) if out else Path("tensorboard") / folder.id)
    elif out is not None and out != "-":
        path = write_file(folder, format_, Path(out))
        say(f"wrote {clean(str(path))}")
    elif format_ == "json":
        sys.stdout.write(to_json(folder).decode())
    else:
        for line in devices_to_csv(folder) if format_ == "devices" else to_csv(folder):
            sys.stdout.write(line)
    return 0


def _encoder(
    settings: Settings,
    encoder: CheckpointRef,
    format_: str,
    out: str | None,
    *,
    force: bool,
    data: str,
) -> int:
    """Writes the encoder or its features, and the card beside it."""
    if out == "-":
        raise ConfigError(f"--out - is for csv, json and devices; {format_} needs a file.")
    words = ["moco-tui", "export", encoder.text, "--format", format_]
    words += [w for option, v in (("--out", out), ("--data", data)) if v for w in (option, v)]
    # Import torch, which takes seconds: mistakes in the options have been reported before.
    from engine.exchange.encoder_export import ExportPlace, export_encoder
    from moco_tui.cli.progress import terminal_sink

    place = ExportPlace(
        Path(out) if out else None,
        force,
        settings.data,
        data,
        settings.device or "auto",
        shlex.join(words),
        encoder.which,
    )
    with terminal_sink("export", hands_over=False) as sink:
        try:
            path, card = export_encoder(encoder.folder, format_, place, sink)
        except Interrupted:
            return 130
    say(f"wrote {clean(str(path))} and {clean(str(card))}")
    return 0


def _event_files(folder: RunFolder, target: Path) -> None:
    # A second set of event files beside the first would draw every curve twice.
    if any(target.glob("events.out.tfevents.*")):
        raise RunError(f"{target} holds event files already; name another folder with --out.")
    write_tensorboard(folder, target)
    say(f"wrote event files into {clean(str(target))}; tensorboard --logdir shows them")

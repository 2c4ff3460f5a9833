"""The command that makes a run of an encoder that was trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from engine.config.data import absolute_source, sources_in_words
from engine.errors import ConfigError
from engine.runs import described
from moco_tui.cli.options import NAME, Settings, shared_options
from moco_tui.cli.output import clean, say


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--encoder", required=True, metavar="E", help="convnet, resnet18, resnet34 or resnet50."
)
@NAME
@click.option("--data", metavar="D", help=f"What probes use: {sources_in_words(notes=False)}.")
@click.option("--mean", metavar="R,G,B", help="Of the channels in 0 to 1, as it was trained with.")
@click.option("--std", metavar="R,G,B", help="Likewise. [default: mean and std of the data]")
@shared_options
@click.pass_obj
def import_(
    settings: Settings,
    file: Path,
    encoder: str,
    name: str,
    data: str | None,
    mean: str | None,
    std: str | None,
) -> int:
    """Make a run of an encoder that was trained elsewhere.

    FILE is of torch.save or safetensors, as torchvision, timm, facebookresearch/moco, lightly,
    solo-learn or moco-tui export write it. The run can be shown, probed, compared and exported.
    """
    settings.writable()
    try:
        source = "" if data is None else absolute_source(data)
    except RuntimeError as error:
        raise ConfigError(f"--data {clean(data or '')} names no folder: {error}.") from error
    # Imports torch, which takes seconds.
    from engine.exchange.imported_run import channels, import_encoder

    folder = import_encoder(
        settings.root,
        file,
        encoder,
        name=name,
        data=source,
        mean=channels(mean, "--mean"),
        std=channels(std, "--std"),
    )
    facts = folder.record().facts
    say(f"run {clean(described(folder))} in {clean(str(folder.path))}")
    say(clean(f"layout of {facts['layout']}; {facts['left out']}"))
    say(clean(f"images are normalised by {facts['normalisation']}"))
    return 0

"""The command that looks at what encoders make of images: in the app, as tables, as files."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from engine.config.data import sources_in_words
from engine.errors import RunError, UserError
from engine.runs.encoder_look import MOST_ENCODERS, MOST_IMAGES, Look, LookRequest, Part
from engine.runs.kept_checkpoints import checkpoint_file
from engine.sink import Interrupted
from moco_tui.cli.options import ALLOW_CODE, JSON, Settings, run_argument, shared_options
from moco_tui.cli.output import clean, print_json, print_text, say
from moco_tui.present import look_text
from moco_tui.present.look_files import check_target, files_of, write_files
from moco_tui.present.map_svg import PlaneMap, pca_map, tsne_map


@click.command()
@run_argument(many=True, metavar="RUN...", checkpoints=True)
@click.option(
    "--images",
    "part",
    type=click.Choice(["test", "withheld"]),
    help="Test images, or training images withheld from the kNN. [default: test if there are any]",
)
@click.option("--limit", type=int, default=MOST_IMAGES, help="Most images. [default: 2000]")
@click.option("--untrained", is_flag=True, help="Beside each RUN its encoder before training.")
@click.option(
    "--data", metavar="D", default="", help=f"Other images: {sources_in_words(notes=False)}."
)
@click.option("--out", metavar="DIR", help="Write maps, neighbours and tables into a new folder.")
@JSON
@ALLOW_CODE
@shared_options
@click.pass_obj
def look(
    settings: Settings,
    runs: tuple[str, ...],
    part: Part | None,
    limit: int,
    untrained: bool,
    data: str,
    out: str | None,
    as_json: bool,
) -> int:
    """Look at what encoders make of images: neighbours, confusions, a map, side by side.

    On a terminal this opens the app; with --json, --out or without a terminal it prints tables.
    Neighbours and votes are among the images shown, each left out of its own.
    """
    request = _request(settings, runs, part, limit, untrained, data)
    if not (as_json or out) and sys.stdin.isatty() and sys.stdout.isatty():
        from moco_tui.app_life import run
        from moco_tui.screens.messages import OpenLook

        return run(
            settings.root,
            data_dir=settings.data,
            device=settings.device,
            read_only=settings.read_only,
            opens=OpenLook(request),
        )
    target = Path(out).expanduser().absolute() if out else None
    if target is not None:
        check_target(target)
    # Imports torch, which takes seconds: mistakes in the options have been reported before.
    from engine.jobs.look_at import look_at
    from moco_tui.cli.progress import terminal_sink

    with terminal_sink("look", hands_over=False) as sink:
        try:
            found = look_at(request, root=settings.root, data_dir=settings.data, sink=sink)
        except Interrupted:
            return 130
    for notice in found.notices:
        say(clean(notice))
    text = look_text.tables(found)
    if as_json:
        print_json(look_text.facts(found))
    else:
        print_text(text)
    if target is not None:
        write_files(target, files_of(found, _maps(found), text))
        say(f"wrote maps, neighbours and tables into {clean(str(target))}")
    return 0


def _request(
    settings: Settings,
    runs: tuple[str, ...],
    part: Part | None,
    limit: int,
    untrained: bool,
    data: str,
) -> LookRequest:
    """What is asked for; runs and checkpoints that are not there are refused at once."""
    meant = [settings.find_checkpoint(run, latest_of="pretrain") for run in runs]
    for encoder in meant:
        checkpoint_file(encoder.folder, encoder.which)
    encoders = tuple((encoder.folder.id, encoder.which) for encoder in meant)
    if len(set(encoders)) < len(encoders):
        raise RunError("Give each encoder once; --untrained shows each before its training.")
    if len(encoders) * (1 + untrained) > MOST_ENCODERS:
        raise RunError("Four encoders at most stand side by side; give fewer.")
    device = settings.device or "auto"
    return LookRequest(
        encoders=encoders,
        part=part or "",
        limit=limit,
        untrained=untrained,
        data=data,
        device=device,
    )


def _maps(found: Look) -> dict[str, list[PlaneMap]]:
    """The maps of each encoder: principal components, and t-SNE where scikit-learn is there."""
    from engine.evaluate.plane_maps import tsne_plane

    maps = {view.label: [pca_map(view)] for view in found.encoders}
    try:
        for view in found.encoders:
            points = tsne_plane(view.components, len(found.rows))
            maps[view.label].append(tsne_map(points))
    except UserError as error:
        say(clean(str(error)))
    return maps

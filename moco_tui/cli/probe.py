"""The command that probes the encoder of a run."""

from __future__ import annotations

from pathlib import Path

import click

from engine.config.data import sources_in_words
from engine.config.heads import HEADS
from engine.config.phrases import listed
from engine.config.schema import ProbeConfig
from engine.runs.default_task import default_task_of
from engine.runs.kept_checkpoints import checkpoint_file
from moco_tui.cli.config_options import ConfigSource
from moco_tui.cli.options import (
    ALLOW_CODE,
    CONFIG,
    DETACH,
    NAME,
    OUTCOME_JSON,
    SETS,
    Settings,
    run_argument,
    shared_options,
)
from moco_tui.cli.probe_each import probe_each
from moco_tui.cli.run_here import NewRun, start
from moco_tui.cli.submit_options import SUBMIT, submit_new, wanted
from moco_tui.present.probe_offer import to_record


@click.command()
@run_argument(latest="the newest pretraining that has a checkpoint", checkpoints=True)
@click.option(
    "--task",
    metavar="T",
    help="binary, five, ten or all; without it ten, or all where the data has not ten classes.",
)
@click.option("--label-fraction", metavar="F", help="Share of the labels, in (0, 1].")
@click.option("--head", metavar="H", help=f"{listed(list(HEADS), 'or')}.")
@click.option(
    "--data",
    metavar="D",
    help=f"Probe on other images than those of the pretraining: {sources_in_words(notes=False)}.",
)
@click.option(
    "--each-checkpoint",
    is_flag=True,
    help="One probe for each kept checkpoint of RUN and its last one; those that are there stay.",
)
@CONFIG
@SETS
@NAME
@DETACH
@SUBMIT
@OUTCOME_JSON
@ALLOW_CODE
@shared_options
@click.pass_obj
def probe(
    settings: Settings,
    run: str,
    task: str | None,
    label_fraction: str | None,
    head: str | None,
    data: str | None,
    each_checkpoint: bool,
    toml: Path | None,
    sets: tuple[str, ...],
    name: str,
    detach: bool,
    submit: str | None,
    as_json: bool,
) -> int:
    """Probe the encoder of RUN with few labels, frozen or fine-tuned, beside its baselines.

    With --data the encoder and its baselines are probed on another data set than that of the
    pretraining (transfer), normalised as in the pretraining; what is compared says which.
    """
    settings.writable()
    asked = wanted(submit, sets, {"--detach": detach})
    encoder = settings.find_checkpoint(run, latest_of="pretrain")
    parent = encoder.folder.record()
    checkpoint_file(encoder.folder, encoder.which)  # one that was not kept is refused at once
    given = {
        "task.name": task,
        "label_fraction": label_fraction,
        "head": head,
        "runtime.device": settings.device or None,
    }
    # Still texts, which ``resolve`` converts and checks; they win over --set.
    extra = {key: value for key, value in given.items() if value is not None}
    source = ConfigSource(toml=toml, sets=asked.sets, data=data)
    defaults = {"task.name": default_task_of(parent, data or "")}
    config = source.resolve(ProbeConfig, extra, data_key="data.source", defaults=defaults)
    recorded = to_record(config, encoder.folder)
    new = NewRun("probe", recorded, name=name, parent=parent.id, checkpoint=encoder.which)
    if each_checkpoint:
        return probe_each(
            settings, new, encoder, detach=detach, options=asked.options, as_json=as_json
        )
    if asked.options is not None:
        return submit_new(settings, new, options=asked.options, as_json=as_json)
    return start(settings, new, detach=detach, as_json=as_json)

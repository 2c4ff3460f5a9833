"""The command that probes the encoder of a run."""

from __future__ import annotations

from pathlib import Path

import click

from engine.config.heads import HEADS
from engine.config.phrases import listed
from engine.config.resolve import resolve as resolve_config
from engine.config.schema import ProbeConfig
from engine.runs.default_task import default_task_of
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
from moco_tui.cli.run_here import NewRun, start


@click.command()
@run_argument(latest="the newest pretraining that has a checkpoint")
@click.option(
    "--task",
    metavar="T",
    help="binary, five, ten or all; without it ten, or all where the data has not ten classes.",
)
@click.option("--label-fraction", metavar="F", help="Share of the labels, in (0, 1].")
@click.option("--head", metavar="H", help=f"{listed(list(HEADS), 'or')}.")
@CONFIG
@SETS
@NAME
@DETACH
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
    toml: Path | None,
    sets: tuple[str, ...],
    name: str,
    detach: bool,
    as_json: bool,
) -> int:
    """Probe the frozen encoder of RUN with few labels, beside its baselines."""
    settings.writable()
    parent = settings.find(run, latest_of="pretrain").record()
    given = {
        "task.name": task,
        "label_fraction": label_fraction,
        "head": head,
        "runtime.device": settings.device or None,
    }
    # Still texts, which ``resolve`` converts and checks; they win over --set.
    extra = {key: value for key, value in given.items() if value is not None}
    defaults = {"task.name": default_task_of(parent)}
    config = resolve_config(ProbeConfig, toml=toml, sets=sets, extra=extra, defaults=defaults)
    new = NewRun("probe", config, name=name, parent=parent.id)
    return start(settings, new, detach=detach, as_json=as_json)

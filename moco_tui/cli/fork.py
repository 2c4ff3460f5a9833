"""The command that goes on from a checkpoint of a pretraining with other settings."""

from __future__ import annotations

from pathlib import Path

import click

from engine.config.resolve import resolve_over
from moco_tui.cli.branch_run import run_branch
from moco_tui.cli.options import (
    ALLOW_CODE,
    CONFIG,
    DETACH,
    DRY_RUN,
    NAME,
    OUTCOME_JSON,
    SETS,
    Settings,
    run_argument,
    shared_options,
)
from moco_tui.cli.submit_options import SUBMIT, wanted


@click.command()
@run_argument(checkpoints=True)
@CONFIG
@SETS
@NAME
@DRY_RUN
@DETACH
@SUBMIT
@OUTCOME_JSON
@ALLOW_CODE
@shared_options
@click.pass_obj
def fork(
    settings: Settings,
    run: str,
    toml: Path | None,
    sets: tuple[str, ...],
    name: str,
    dry_run: bool,
    detach: bool,
    submit: str | None,
    as_json: bool,
) -> int:
    """Go on from a checkpoint of a pretraining with other settings, as a new run.

    The new run begins with weights, optimizer state, queue and random numbers of the checkpoint,
    and with the settings of RUN but for those given here. The data (but for the holdout) and the
    net must stay; model.dropout and model.bn_splits may change. A queue of another size is filled
    anew, with another seed or kind of device the random numbers begin anew, and another batch size
    needs a checkpoint at the end of an epoch. RUN stays as it is.
    """
    if not dry_run:
        settings.writable()
    asked = wanted(submit, sets, {"--detach": detach})
    source = settings.find_checkpoint(run)
    extra = {"runtime.device": settings.device} if settings.device else {}
    return run_branch(
        settings,
        source,
        "fork",
        lambda old: resolve_over(old, toml=toml, sets=asked.sets, extra=extra),
        name=name,
        detach=detach,
        as_json=as_json,
        dry_run=dry_run,
        job=asked.options,
    )

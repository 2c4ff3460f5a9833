"""The command that goes on with a finished pretraining under a longer schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from engine.config.phrases import shown_value
from engine.config.resolve import resolve_over
from engine.errors import ConfigError, RunError
from engine.runs.checkpoint_ref import CheckpointRef
from moco_tui.cli.branch_run import run_branch
from moco_tui.cli.options import (
    ALLOW_CODE,
    DETACH,
    DRY_RUN,
    NAME,
    OUTCOME_JSON,
    RUN,
    SETS,
    Settings,
    shared_options,
)
from moco_tui.cli.submit_options import SUBMIT, wanted


@click.command()
@RUN
@click.option("--epochs", type=int, required=True, metavar="N", help="Length of its schedule.")
@NAME
@DRY_RUN
@DETACH
@SUBMIT
@SETS
@OUTCOME_JSON
@ALLOW_CODE
@shared_options
@click.pass_obj
def extend(
    settings: Settings,
    run: str,
    epochs: int,
    name: str,
    dry_run: bool,
    detach: bool,
    submit: str | None,
    sets: tuple[str, ...],
    as_json: bool,
) -> int:
    """Go on with a finished pretraining to N epochs, as a new run.

    The new run begins with the last checkpoint of RUN, at the epoch that it has reached, with the
    schedule of N epochs: a cosine that had come down to zero rises again, to its value at that
    epoch of N. RUN stays as it is.
    """
    if not dry_run:
        settings.writable()
    asked = wanted(submit, sets, {"--detach": detach})
    source = settings.find_checkpoint(run)
    _check_of_job(asked.sets, source, epochs)
    if source.which:
        raise ConfigError(
            f"extend goes on from the last checkpoint of a finished run, and {source.text} names "
            f"another one; moco-tui fork {source.text} --set optim.epochs={epochs} takes that."
        )
    _check_finished(source, epochs)
    extra: dict[str, Any] = {"optim.epochs": epochs, "optim.stop_epoch": 0}
    if settings.device:
        extra["runtime.device"] = settings.device
    return run_branch(
        settings,
        source,
        "extend",
        lambda old: resolve_over(old, extra=extra),
        name=name,
        detach=detach,
        as_json=as_json,
        dry_run=dry_run,
        job=asked.options,
    )


def _check_of_job(sets: Sequence[str], source: CheckpointRef, epochs: int) -> None:
    """Refuses settings of the run: only those of its job can be given here.

    Raises:
        ConfigError: with the command that takes them.
    """
    if sets:
        raise ConfigError(
            f"--set {shown_value(sets[0])}: extend changes the length of the schedule alone, and "
            "takes --set for the job of --submit slurm, as in --set slurm.time=4:00:00; moco-tui "
            f"fork {source.text} --set optim.epochs={epochs} takes other settings too."
        )


def _check_finished(source: CheckpointRef, epochs: int) -> None:
    """Refuses a pretraining that has not come to its end.

    Raises:
        RunError: with what to do instead.
    """
    folder = source.folder
    record = folder.record()
    status = folder.status(record)
    if record.kind != "pretrain" or record.origin or status == "finished":
        return  # what else is wrong is said where the checkpoint is looked for
    raise RunError(
        f"Run {folder.id} is {status}, and extend goes on with a finished one; moco-tui resume "
        f"{folder.id} finishes it, moco-tui fork {folder.id}@last --set optim.epochs={epochs} goes "
        "on from its last checkpoint."
    )

"""The command that a Slurm job executes: it trains a run, or works on a study."""

from __future__ import annotations

from pathlib import Path

import click

from engine.runs import RunFolder
from moco_tui.cli.options import ALLOW_CODE, Settings, shared_options
from moco_tui.cli.progress import signals_reach
from moco_tui.cli.slurm_task import SlurmSink, SlurmTask
from moco_tui.training import detached


@click.command(hidden=True)
@click.argument("path", type=click.Path(path_type=Path))
@ALLOW_CODE
@shared_options
@click.pass_obj
def _slurm_job(settings: Settings, path: Path) -> int:
    """Trains the run in PATH as the process of a Slurm job, from its last checkpoint on.

    At a signal it saves at the next step; unless the job was cancelled, Slurm queues it again.
    """
    detached.accept_signals()
    with signals_reach(SlurmSink()) as sink:  # first: torch takes seconds
        return SlurmTask(RunFolder(path), settings.data, sink).run()

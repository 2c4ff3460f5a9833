"""The command that goes on with a run from its last checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from engine.config.slurm_schema import SlurmOptions
from engine.errors import RunBusyError, RunError, UserError
from engine.jobs.recorded_config import runnable_config
from engine.machine.rank_place import several_ranks
from engine.runs import RunFolder, described
from engine.study.grid import pretrainings
from moco_tui.cli.options import (
    ALLOW_CODE,
    DETACH,
    OUTCOME_JSON,
    RUN,
    SETS,
    Settings,
    shared_options,
)
from moco_tui.cli.outcome import print_outcome
from moco_tui.cli.output import clean, say
from moco_tui.cli.progress import terminal_sink
from moco_tui.cli.ranks import RANKS, RankOptions, over_ranks
from moco_tui.cli.resume_submitted import options_to_resume, take_here
from moco_tui.cli.run_here import check_own_code, start_detached, train_here
from moco_tui.cli.run_request import ask
from moco_tui.cli.study_output import ReportFormat, print_study_outcome
from moco_tui.cli.study_report import config_of_study
from moco_tui.cli.study_settings import begun_study
from moco_tui.cli.submit_options import SUBMIT, refuse_workers, submit_again

if TYPE_CHECKING:
    from engine.runtime.process_group import Ranks

_SECONDS = 15.0  # that the answer of a paused study is waited for


@click.command()
@RUN
@DETACH
@RANKS
@OUTCOME_JSON
@SUBMIT
@SETS
@click.option("--here", is_flag=True, help="Go on here with a run that was submitted to Slurm.")
@ALLOW_CODE
@click.option(
    "--allow-other-data",
    is_flag=True,
    help="Go on also with images or labels that have changed; the record says so.",
)
@shared_options
@click.pass_obj
def resume(
    settings: Settings,
    run: str,
    detach: bool,
    ranks: RankOptions,
    submit: str | None,
    sets: tuple[str, ...],
    here: bool,
    as_json: bool,
    allow_other_data: bool,
) -> int:
    """Go on with a run that was stopped, failed or lost, from its last checkpoint.

    A pretraining goes on with any number of ranks: see moco-tui pretrain.

    One that was submitted to Slurm is submitted again, with what its job asked for or what --submit
    slurm --set slurm.KEY=VALUE changes of that; --here (or --detach) makes it a run of this
    machine.
    """
    settings.writable()
    folder = settings.find(run)
    if not several_ranks():  # else the first of them looks, before it takes the run
        if folder.record().kind == "study" and folder.status() == "paused":
            ask(folder, "continue", _SECONDS)
            say(f"{clean(described(folder))} goes on, with all of its workers")
            return 0
        check_resumable(folder)
    options = options_to_resume(
        folder, submit, sets, here=here, excluded={"--detach": detach} | ranks.asked()
    )
    if options is not None:
        if allow_other_data:
            raise UserError("--allow-other-data is for a run that goes on here; give --here too.")
        return _submit(settings, folder, options, as_json=as_json)

    def work(joined: Ranks | None) -> int:
        return _go_on(
            settings,
            folder,
            detach=detach,
            as_json=as_json,
            allow_other_data=allow_other_data,
            ranks=joined,
            devices=ranks.typed,
        )

    if not (ranks.given or several_ranks()):
        return work(None)
    return over_ranks(settings, ranks, runnable_config(folder), work, detach=detach)


def _submit(settings: Settings, folder: RunFolder, options: SlurmOptions, *, as_json: bool) -> int:
    """Has a job of Slurm go on with a run."""
    tasks = 0
    if folder.record().kind == "study":
        study = config_of_study(folder.record())
        refuse_workers(study)
        tasks = len(pretrainings(study))  # one that finds nothing to do ends at once
    return submit_again(settings, folder, options, tasks=tasks, as_json=as_json)


def _go_on(
    settings: Settings,
    folder: RunFolder,
    *,
    detach: bool,
    as_json: bool,
    allow_other_data: bool,
    ranks: Ranks | None,
    devices: str,
) -> int:
    """Goes on with a run, in this process or one of its own."""
    kind = folder.record().kind
    check_resumable(folder)
    take_here(folder)
    config = begun_study(folder) if kind == "study" else None
    if config is not None:  # else code that cannot be imported would fail each of its runs
        check_own_code(config)
    if detach:
        return start_detached(
            folder,
            settings.data,
            as_json=as_json,
            allow_other_data=allow_other_data,
            devices=devices,
        )
    say(f"going on with {clean(described(folder))}")
    alone = ranks is None
    with terminal_sink(kind, hands_over=alone) as sink:
        outcome = train_here(
            folder, settings.data, sink, allow_other_data=allow_other_data, alone=alone
        )
    if config is None:
        return print_outcome(folder, outcome, as_json=as_json)
    return print_study_outcome(settings, config, folder, outcome, ReportFormat(as_json=as_json))


def check_resumable(folder: RunFolder) -> None:
    """Refuses a run that is finished or alive.

    Raises:
        RunError: with the reason.
    """
    record = folder.record()
    if folder.alive():
        if record.status == "queued":
            raise RunBusyError(
                f"Run {record.id} waits for its turn in another process; there is nothing to "
                "resume."
            )
        raise RunBusyError(
            f"Run {record.id} is being trained by process {record.pid} on {record.host}; "
            "there is nothing to resume."
        )
    if record.origin:
        raise RunError(
            f"Run {record.id} was imported and is not trained here; there is nothing to resume."
        )
    if record.status == "finished":
        raise RunError(f"Run {record.id} is finished; there is nothing to resume.")

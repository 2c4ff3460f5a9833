"""A study as an array of Slurm jobs, each of which is one more worker of it."""

from __future__ import annotations

from engine.config.schema import StudyConfig
from engine.config.slurm_schema import SlurmOptions
from engine.runs import RunFolder
from engine.study.study_state import StudyState
from moco_tui.cli.options import Settings
from moco_tui.cli.run_here import NewRun
from moco_tui.cli.study_report import config_of_study
from moco_tui.cli.submit_options import refuse_workers, submit_again, submit_new


def submit_study(
    settings: Settings,
    study: RunFolder | NewRun,
    options: SlurmOptions,
    study_state: StudyState,
    *,
    as_json: bool = False,
) -> int:
    """Submits what is left of a study; the exit code.

    The array has a task for each pretraining that is left, and ``slurm.max_jobs`` limits how many
    run at once. A task takes pretrainings with their probes until none is left, so one that starts
    late may find nothing to do, and ends.

    Args:
        settings: where the study is.
        study: that was begun, or is new.
        options: of the jobs.
        study_state: how far it is.
        as_json: print the facts of the array.

    Raises:
        UserError: one sentence on why not.
    """
    tasks = open_units(study_state)
    if isinstance(study, RunFolder):
        refuse_workers(config_of_study(study.record()))
        return submit_again(settings, study, options, tasks=tasks, as_json=as_json)
    assert isinstance(study.config, StudyConfig)
    refuse_workers(study.config)
    return submit_new(settings, study, options=options, tasks=tasks, as_json=as_json)


def open_units(study_state: StudyState) -> int:
    """How many pretrainings of a study are left, themselves or their probes; at least 1."""
    left = {
        (cell.variant, cell.seed)
        for cell, found in study_state.cells.items()
        if found.state not in ("done", "failed") and cell.source == "moco"
    }
    return max(1, len(left))

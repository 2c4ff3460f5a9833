"""The option ``--submit`` and the settings of the job that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from engine.config.phrases import shown_value
from engine.config.schema import StudyConfig
from engine.config.slurm_schema import SlurmOptions
from engine.config.slurm_sets import parted_sets, slurm_options
from engine.errors import ConfigError, UserError
from engine.runs import RunFolder
from engine.runs.note_limits import checked_name
from engine.runs.unstarted import taken_back_unless_begun
from moco_tui.cli.options import Settings
from moco_tui.cli.output import clean, print_json, say

if TYPE_CHECKING:
    from engine.runs.submission import Submission
    from moco_tui.cli.run_here import NewRun

WHERE = ("slurm",)

SUBMIT = click.option(
    "--submit",
    metavar="WHERE",
    help="Have it trained by a batch system: slurm. --set slurm.time=4:00:00 and the like say what "
    "the job asks for; presets --settings lists them.",
)


@dataclass(frozen=True)
class Wanted:
    """What was asked for beside the settings of the run.

    Attributes:
        options: of the Slurm job; None where the run is trained here.
        sets: the settings of the run, as they were typed.
    """

    options: SlurmOptions | None
    sets: tuple[str, ...]


def wanted(
    submit: str | None,
    sets: Sequence[str],
    excluded: Mapping[str, bool],
    base: SlurmOptions | None = None,
) -> Wanted:
    """Parts the settings of the run from those of its job.

    Args:
        submit: what ``--submit`` names; None where it was not given.
        sets: every ``--set``.
        excluded: options that do not go with it, and whether each was given.
        base: what the settings of the job change.

    Raises:
        ConfigError: one sentence on what does not fit together.
    """
    own, of_job = parted_sets(sets)
    if submit is None:
        if of_job:
            raise ConfigError(
                f"--set {shown_value(of_job[0])} is of a Slurm job; it goes with --submit slurm."
            )
        return Wanted(None, own)
    if submit not in WHERE:
        raise ConfigError(
            f"--submit is {shown_value(submit)}; it must be slurm, the one batch system that is "
            "known."
        )
    for flag, given in excluded.items():
        if given:
            raise ConfigError(
                f"--submit and {flag} exclude each other: Slurm starts the processes of a run that "
                "is submitted. Give one of them."
            )
    return Wanted(slurm_options(of_job, base), own)


def submit_new(
    settings: Settings,
    *runs: NewRun,
    options: SlurmOptions,
    tasks: int = 0,
    as_json: bool = False,
) -> int:
    """Makes the folders of runs and submits them, one job a run; the exit code.

    The images are not read: a login node is no place for that. What is wrong with them is found by
    the job, and stands in the record.

    Raises:
        UserError: one sentence on what is missing or does not fit; a run that Slurm refuses has no
            folder then, and those before it are submitted.
    """
    from engine.jobs.slurm_submit import check_cluster
    from moco_tui.cli.run_here import check_own_code, make_folder
    from moco_tui.training.slurm_runs import submit

    for run in runs:
        checked_name(run.name)
        check_own_code(run.config)
    check_cluster(options, settings.root)
    facts = []
    for run in runs:
        folder = make_folder(settings, run)
        with taken_back_unless_begun(folder):
            submission = submit(folder, options, settings.data, tasks=tasks)
        say(f"run {folder.id} in {folder.path}")
        facts.append(_told(folder, submission))
    if as_json:
        print_json(facts[0] if len(runs) == 1 else facts)
    return 0


def submit_again(
    settings: Settings,
    folder: RunFolder,
    options: SlurmOptions | None,
    *,
    tasks: int = 0,
    as_json: bool = False,
) -> int:
    """Submits a run that was begun, to go on from its checkpoint; the exit code.

    Raises:
        UserError: one sentence on why not.
    """
    from moco_tui.training import slurm_runs

    submission = slurm_runs.submit_again(folder, settings.data, options=options, tasks=tasks)
    facts = _told(folder, submission)
    if as_json:
        print_json(facts)
    return 0


def _told(folder: RunFolder, submission: Submission) -> dict[str, Any]:
    """Says which job a run is; the same as builtin values."""
    jobs = f"array of {submission.tasks} jobs" if submission.tasks else "job"
    say(
        clean(
            f"submitted to Slurm as {jobs} {submission.job}; moco-tui show {folder.id} says how "
            "far it is"
        )
    )
    facts = {"id": folder.id, "path": str(folder.path), "job": submission.job}
    return facts | {"tasks": submission.tasks or None}


def refuse_workers(config: StudyConfig) -> None:
    """Refuses a study to submit whose own settings name several workers, or their devices.

    Raises:
        UserError: then.
    """
    if config.devices:
        raise UserError(
            f"devices is {','.join(config.devices)}, and --submit has each job of the study be one "
            "worker on the device that Slurm gives it; leave it empty."
        )
    if config.workers > 1:
        raise UserError(
            f"workers is {config.workers}, and --submit has each job of the study be one worker; "
            "leave it at 1, and limit the jobs with --set slurm.max_jobs=N."
        )

"""Has Slurm train runs: what its jobs execute, and in which environment."""

from __future__ import annotations

from pathlib import Path

from engine.config.slurm_schema import SlurmOptions
from engine.errors import RunError
from engine.history.index import note_change
from engine.jobs.slurm_submit import (
    check_cluster,
    check_out_of_queue,
    make_queued,
    submit_run,
)
from engine.runs import RunFolder, own
from engine.runs.submission import Submission, read_submission
from moco_tui.training import detached

COMMAND = "_slurm_job"
"""The command that a job executes."""
_KEPT = frozenset({"SLURM_CONF"})


def submit(
    folder: RunFolder, options: SlurmOptions, data_dir: Path, *, tasks: int = 0
) -> Submission:
    """Submits a run that waits in its folder.

    Args:
        folder: the run, queued.
        options: of its job.
        data_dir: where data sets and their caches live.
        tasks: of the array of a study; 0: one job.

    Raises:
        RunError: when Slurm refuses, with its words.
    """
    command = detached.child_command(COMMAND, "--data-dir", str(data_dir), str(folder.path))
    return submit_run(folder, options, command, job_environment(), tasks=tasks)


def job_environment() -> dict[str, str]:
    """The environment of a job: that of a detached trainer, without what an outer job has set."""
    return {
        key: value
        for key, value in detached.child_environment().items()
        if not key.startswith("SLURM_") or key in _KEPT
    }


def submit_again(
    folder: RunFolder,
    data_dir: Path,
    *,
    options: SlurmOptions | None = None,
    tasks: int = 0,
) -> Submission:
    """Submits a run that was stopped, failed or lost, to go on from its checkpoint.

    Args:
        folder: the run; no process works on it.
        data_dir: where data sets and their caches live.
        options: of its job; None: those that it was submitted with.
        tasks: of the array of a study; 0: as many as it had.

    Raises:
        RunBusyError: its job is in the queue still, or a process works on it.
        ConfigError: an option names what is not there.
        RunError: it was never submitted, or Slurm refuses.
    """
    before = read_submission(folder)
    if options is None:
        if before is None:
            raise RunError(f"Run {folder.id} was not submitted to Slurm.")
        options = before.options
    check_cluster(options, folder.path.parent)
    check_out_of_queue(folder)
    make_queued(folder, "waits for Slurm, to go on from its last checkpoint")
    try:
        return submit(folder, options, data_dir, tasks=tasks or (before.tasks if before else 0))
    except RunError as error:  # else it would wait for a job that there is not
        with own(folder, on_change=note_change) as owner:
            owner.transition("stopped", error=str(error))
        raise

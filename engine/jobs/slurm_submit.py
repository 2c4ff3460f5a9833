"""Runs as jobs of Slurm: submitting one, submitting it again, and taking it out of the queue."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine.config.slurm_schema import SlurmOptions
from engine.errors import ConfigError, RunBusyError, RunError
from engine.files import open_plain, unwritable
from engine.history.index import note_change
from engine.jobs.slurm_script import check_submitit, job_script
from engine.machine import slurm
from engine.machine.slurm import QueueLine
from engine.runs import ACTIVE, RunFolder, own
from engine.runs.shared_locks import check_shared_locks
from engine.runs.submission import (
    OUTPUT_NAME,
    Submission,
    job_name,
    read_submission,
    write_submission,
)


def check_cluster(options: SlurmOptions, root: Path) -> None:
    """Refuses what a job would fail by, before there is a run folder.

    Args:
        options: of the job.
        root: the runs folder, which every node has to see, with its locks.

    Raises:
        ConfigError: the partition is not there.
        RunError: submitit or Slurm is not there, or the folder's file system keeps no locks.
    """
    check_submitit()
    if not slurm.is_installed():
        raise RunError(
            "--submit slurm needs sbatch, which is not on PATH; log in to a machine of the cluster "
            "that has it, or leave --submit out."
        )
    check_shared_locks(root)
    if options.partition:
        there = slurm.partitions()
        if options.partition not in there:
            raise ConfigError(
                f"slurm.partition is {options.partition}; it must be one of {', '.join(there)}.",
                "slurm.partition",
            )


def submit_run(
    folder: RunFolder,
    options: SlurmOptions,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    tasks: int = 0,
) -> Submission:
    """Submits a run that waits in its folder, as one job or as an array.

    Args:
        folder: the run, queued.
        options: of the job.
        command: what the job executes.
        environment: of the job.
        tasks: of an array; 0: one job.

    Raises:
        RunError: when Slurm refuses, or the folder cannot be written.
    """
    output, name = folder.path / OUTPUT_NAME, job_name(folder)
    try:  # a plain file, before Slurm opens it: no link leads out of the folder
        os.close(open_plain(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
    except OSError as error:
        raise unwritable(output, error) from error
    script = job_script(options, command, name=name, output=output, tasks=tasks)
    job = slurm.submit(script, environment)
    submission = Submission(job=job, tasks=tasks, submitted=time.time(), options=options)
    try:
        write_submission(folder, submission)
    except RunError:
        slurm.cancel(job, name)  # nobody would know of it
        raise
    return submission


def jobs_in_queue(folder: RunFolder) -> list[QueueLine]:
    """What the queue holds of a run's job; empty for a run that has none, or whose job has left it.

    Raises:
        RunError: when Slurm gives no answer.
    """
    submission = read_submission(folder)
    if submission is None:
        return []
    lines = slurm.queue_lines([submission.job]).get(submission.job, [])
    return [line for line in lines if line.name == job_name(folder)]


def check_out_of_queue(folder: RunFolder) -> None:
    """Refuses a run whose job still waits or runs: a second one would be in its way.

    Raises:
        RunBusyError: then; it says why the job waits.
        RunError: when Slurm gives no answer.
    """
    for line in jobs_in_queue(folder):
        why = f" ({line.reason})" if line.state == "PENDING" else ""
        raise RunBusyError(
            f"Run {folder.id} has job {line.job} in the queue of Slurm: {line.state}{why}; it goes "
            f"on there. moco-tui stop {folder.id} takes it out."
        )


def make_queued(folder: RunFolder, why: str) -> None:
    """Makes a run one that waits, for the next process that starts it.

    Args:
        folder: a run that no process works on and that has not finished.
        why: a line for its log.

    Raises:
        RunBusyError: when a process works on it.
        RunError: when it is finished, or cannot be written.
    """
    with own(folder, on_change=note_change) as owner:
        owner.log(why)
        if owner.record.status in ACTIVE:
            owner.transition("stopped")
        if owner.record.status != "queued":
            owner.transition("queued")


def withdraw(folder: RunFolder) -> str:
    """Takes the job of a run out of the queue as far as it waits; a run that has not begun stops.

    Tasks of a study that run are left to the ordinary request to stop, which saves.

    Returns:
        What was done, as a sentence; empty where the run is to be asked as any other is.

    Raises:
        RunError: when Slurm refuses or gives no answer, or the run cannot be written.
    """
    submission = read_submission(folder)
    status = folder.status()
    if submission is None or status not in ("queued", "running", "paused", "handed-over", "lost"):
        return ""
    waits = status in ("queued", "lost")
    if not (waits or submission.tasks):
        return ""  # one job, which has begun
    slurm.cancel(submission.job, job_name(folder), waiting_only=not waits)
    if not waits:
        return ""
    said = f"job {submission.job} is out of the queue of Slurm"
    # A job that began a moment ago has the run: it saves, and finds that it was cancelled.
    with contextlib.suppress(RunBusyError), own(folder, on_change=note_change) as owner:
        if owner.record.status in (*ACTIVE, "queued"):  # else it has ended meanwhile
            owner.log(f"stopped: {said}")
            owner.transition("stopped")
    return f"stopped: {said}"

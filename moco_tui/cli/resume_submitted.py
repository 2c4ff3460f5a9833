"""Where a run goes on that was submitted to Slurm: there again, or on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.config.slurm_schema import SlurmOptions
from engine.errors import ConfigError, RunBusyError, RunError
from engine.runs import RunFolder
from engine.runs.submission import forget_submission, known_submission, read_submission
from moco_tui.cli.output import clean, say
from moco_tui.cli.submit_options import wanted


def options_to_resume(
    folder: RunFolder,
    submit: str | None,
    sets: Sequence[str],
    *,
    here: bool,
    excluded: Mapping[str, bool],
) -> SlurmOptions | None:
    """The options of the job that a run goes on in; None where it goes on here.

    A run that was submitted is submitted again unless ``--here`` or another option that makes it
    one of this machine says otherwise; any other goes on here unless ``--submit`` does.

    Args:
        folder: of the run.
        submit: what ``--submit`` names; None where it was not given.
        sets: every ``--set``.
        here: whether ``--here`` was given.
        excluded: other options by which it goes on here, and whether each was given.

    Raises:
        ConfigError: options that exclude each other, or settings that are none of a job.
        RunError: what the run was submitted with cannot be read.
    """
    if here and submit is not None:
        raise ConfigError("--submit and --here exclude each other; give one of them.")
    before = None if here or any(excluded.values()) else read_submission(folder)
    where = "slurm" if submit is None and before is not None else submit
    asked = wanted(where, sets, excluded, None if before is None else before.options)
    if asked.sets:
        raise ConfigError(
            f"--set {asked.sets[0]}: a run goes on with the settings that it has; of its job alone "
            "some can be changed, as in --set slurm.time=4:00:00."
        )
    return asked.options


def take_here(folder: RunFolder) -> None:
    """Makes a run that was submitted one of this machine; nothing happens to any other.

    Raises:
        RunBusyError: its job is in the queue still.
        RunError: that it was submitted cannot be forgotten.
    """
    if known_submission(folder) is None:
        return
    from engine.jobs.slurm_submit import check_out_of_queue

    try:
        check_out_of_queue(folder)
    except RunBusyError:
        raise
    except RunError as error:  # of a cluster that is gone; the lock of the run keeps a job out
        say(clean(f"{error} Whether its job is still in the queue is not known."))
    forget_submission(folder)

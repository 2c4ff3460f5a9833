"""What a run folder says of the Slurm job that a run was submitted as: ``slurm.json``.

A file apart from the record, which belongs to whoever trains the run: the one who submits writes
it, and a job that is queued again keeps its number.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from engine.config.slurm_schema import SlurmOptions
from engine.errors import DamagedFileError, RunError
from engine.files import read_plain, reason, replace_file, unwritable
from engine.runs.folder import RunFolder
from engine.runs.recorded_fields import Moment

FILE_NAME = "slurm.json"
OUTPUT_NAME = "slurm.txt"
"""What Slurm itself has to say of the job, and what it prints outside of its log."""
_MOST_BYTES = 1 << 14
_SCHEMA = 1


class Submission(Struct, frozen=True, kw_only=True):
    """A job of Slurm.

    Attributes:
        job: its number.
        tasks: how many tasks the array of a study has; 0 for a single job.
        submitted: unix seconds.
        options: what was asked for.
    """

    schema: int = _SCHEMA
    job: Annotated[str, Meta(pattern=r"^[0-9]{1,19}\Z")]
    tasks: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    submitted: Moment
    options: SlurmOptions = SlurmOptions()


def submission_path(folder: RunFolder) -> Path:
    """``slurm.json``."""
    return folder.path / FILE_NAME


def job_name(folder: RunFolder) -> str:
    """What the job of a run is called in the queue."""
    return f"moco-tui-{folder.id}"


def read_submission(folder: RunFolder) -> Submission | None:
    """The job of a run; None for one that was not submitted.

    Raises:
        RunError: when the file cannot be read, is damaged or of a newer version.
    """
    path = submission_path(folder)
    try:
        found = msgspec.json.decode(read_plain(path, _MOST_BYTES), type=Submission)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {reason(error)}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DamagedFileError(
            f"{path} is damaged, so it is not known which job of Slurm the run has: {error}."
        ) from None
    if found.schema > _SCHEMA:
        raise RunError(f"{path} is of a newer version of moco-tui.")
    return found


def known_submission(folder: RunFolder) -> Submission | None:
    """The job of a run, for lists; None also where the file cannot be read."""
    with contextlib.suppress(RunError):
        return read_submission(folder)
    return None


def write_submission(folder: RunFolder, submission: Submission) -> None:
    """Records the job of a run.

    Raises:
        RunError: when it cannot be written.
    """
    path = submission_path(folder)
    try:
        replace_file(path, msgspec.json.format(msgspec.json.encode(submission), indent=1))
    except OSError as error:
        raise unwritable(path, error) from error


def forget_submission(folder: RunFolder) -> None:
    """Makes a run one of this machine again.

    Raises:
        RunError: when the file cannot be removed.
    """
    path = submission_path(folder)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error

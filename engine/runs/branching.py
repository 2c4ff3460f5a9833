"""Which checkpoint of a pretraining another one goes on from."""

from __future__ import annotations

import hashlib
import os
from typing import Literal

from engine.errors import RunError
from engine.files import open_plain, reason
from engine.runs.checkpoint_ref import CheckpointRef
from engine.runs.kept_checkpoints import LAST, checkpoint_file, epoch_of, kept_checkpoints
from engine.runs.record import Branch
from engine.runs.root import BranchStart

How = Literal["extend", "fork"]

_BLOCK = 1 << 22


def branch_start(source: CheckpointRef, how: How) -> BranchStart:
    """The start of a run that goes on from a checkpoint.

    Args:
        source: a pretraining, and which of its checkpoints.
        how: see ``Branch``.

    Raises:
        RunError: when the run is no pretraining that was trained here, or has no such checkpoint,
            or it cannot be read.
    """
    folder = source.folder
    record = folder.record()
    if record.kind != "pretrain":
        raise RunError(
            f"Run {record.id} is a {record.kind}; only a pretraining can be gone on with."
        )
    if record.origin:
        raise RunError(
            f"Run {record.id} was imported: its file holds an encoder and no state of a training, "
            "so nothing can go on from it."
        )
    file = checkpoint_file(folder, source.which)
    epoch = epoch_of(record, source.which, kept_checkpoints(folder.path))
    if epoch is None:
        raise RunError(f"Run {record.id} has no checkpoint yet; there is nothing to go on from.")
    digest = hashlib.sha256()
    try:
        fd = open_plain(file, os.O_RDONLY, follow_folder=True)
        with os.fdopen(fd, "rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise RunError(f"The checkpoint {file} cannot be read: {reason(error)}.") from error
    branch = Branch(
        run=record.id,
        checkpoint=source.which or LAST,
        step=round(epoch * record.steps_per_epoch),
        epoch=epoch,
        how=how,
        sha256=digest.hexdigest(),
    )
    return BranchStart(file, branch)

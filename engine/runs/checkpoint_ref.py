"""What people write for a checkpoint of a run: ``RUN@5``, ``RUN@best``, ``RUN@last``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from engine.runs.folder import RunFolder
from engine.runs.lookup import LatestOf, find

_REF = re.compile(r"(?P<run>.*)@(?P<which>best|last|[0-9]{1,9})", re.DOTALL)


class CheckpointRef(NamedTuple):
    """A run, and which of its checkpoints is meant.

    Attributes:
        folder: the run.
        which: ``best``, an epoch as digits without leading zeros, or empty: the last.
    """

    folder: RunFolder
    which: str

    @property
    def text(self) -> str:
        """Id and checkpoint: ``k7xw2m@5``, or the id alone."""
        return with_checkpoint(self.folder.id, self.which)


def with_checkpoint(run: str, which: str) -> str:
    """An id and a checkpoint as people write them; the last one is not named."""
    return f"{run}@{which}" if which else run


def split_checkpoint(ref: str) -> tuple[str, str]:
    """The run, and the checkpoint as in ``CheckpointRef``, in what a person wrote."""
    match = _REF.fullmatch(ref.strip())
    if match is None:
        return ref, ""
    which = match["which"]
    if which == "last":
        return match["run"], ""
    return match["run"], which if which == "best" else str(int(which))


def find_checkpoint(root: Path, ref: str, *, latest_of: LatestOf = "") -> CheckpointRef:
    """The run and the checkpoint that a person means; whether it was kept is not looked at.

    Args:
        root: folder of the run folders.
        ref: as of ``engine.runs.find``, with ``@`` and a checkpoint behind it or not.
        latest_of: see there.

    Raises:
        RunError: one sentence, when there is no such run, or more than one.
    """
    run, which = split_checkpoint(ref)
    return CheckpointRef(find(root, run, latest_of=latest_of), which)

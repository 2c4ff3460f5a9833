"""Taking up again what has failed in a study: a study leaves its failed runs alone unless told."""

from __future__ import annotations

from pathlib import Path

from engine.history.index import note_change
from engine.runs import RunFolder, own
from engine.study.study_state import StudyState


def retry_failed(study_state: StudyState, root: Path) -> int:
    """Makes stopped runs of the failed ones, which a study goes on with from their checkpoints.

    Args:
        study_state: of the study.
        root: folder of the run folders.

    Returns:
        How many there were.

    Raises:
        RunBusyError: when another process works on one of them meanwhile.
        RunError: when a record cannot be read or written.
    """
    count = 0
    for run in study_state.failed:
        folder = RunFolder(root / run)
        if folder.record().status != "failed":  # finished, but without the number
            continue
        with own(folder, on_change=note_change) as owner:
            owner.log(f"to be tried again; it had failed: {owner.record.error}")
            owner.transition("queued")  # nothing else leads from failed to stopped
            owner.transition("stopped", error="")
        count += 1
    return count

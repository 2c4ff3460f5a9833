"""Whether a probe of a run could do anything, and why not."""

from __future__ import annotations

from engine.errors import UserError
from engine.runs import Record, RunFolder
from moco_tui.present import fmt


def why_no_probe(record: Record) -> str:
    """Why a probe of this pretraining would fail, as a sentence; empty when none is known.

    Args:
        record: of the pretraining; before it has read its images, their classes are not known.
    """
    if record.kind == "pretrain" and record.facts.get("classes") == 0:
        return (
            f"The images of run {fmt.clean(record.id)} have no classes, and a probe needs labels; "
            "a folder with one folder for each class has them."
        )
    return ""


def why_no_probe_of(folder: RunFolder) -> str:
    """``why_no_probe`` of a run folder; empty where its record cannot be read."""
    try:
        return why_no_probe(folder.record())
    except UserError:
        return ""

"""What has failed in a study, in words: the note below its table."""

from __future__ import annotations

from msgspec import Struct

from engine.config.phrases import plural
from engine.study.study_state import StudyState


class Failure(Struct, frozen=True):
    """A run of a study that failed.

    Attributes:
        run: its id.
        error: why, one sentence.
        cells: how many numbers are missing for it.
    """

    run: str
    error: str
    cells: int


def failures(study_state: StudyState) -> tuple[Failure, ...]:
    """The runs of a study that failed and whose numbers are missing, in the order of its cells."""
    states = study_state.cells.values()
    return tuple(
        Failure(run, error, sum(cell.run == run and cell.state == "failed" for cell in states))
        for run, error in study_state.failed.items()
    )


def failure_lines(study_state: StudyState) -> list[str]:
    """A sentence or two on each of them."""
    return [
        f"run {one.run}, {plural(one.cells, 'cell')}: {one.error}" for one in failures(study_state)
    ]

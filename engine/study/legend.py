"""What the brackets and marks in the cells of a study mean, and what stands behind a figure."""

from __future__ import annotations

from collections.abc import Iterable

from engine.config.schema import StudyConfig
from engine.study.intervals import ResultRow

LEGEND = "(95 % interval)  [range: smallest to largest]  {what incomplete seeds say}"
NARROW_LEGEND = "± half of the 95 % interval  [largest - smallest]  {what incomplete seeds say}"
SHORTFALL_MARK = "*"
"""Behind the figure of a training from scratch that was cut or has not converged, where there is no
room for the words."""
NOT_CONVERGED = (
    "not converged: trained from scratch for too few epochs, more would score higher (on held-out "
    "labelled images half of them gave more than a quarter, beyond the noise)"
)


def measured(config: StudyConfig) -> str:
    """What the figures of a study are."""
    if config.judge == "knn":
        return (
            "kNN top-1 accuracy on the training images whose labels are withheld, %, by the share "
            "of the images that vote"
        )
    return "top-1 accuracy on the test images, %"


def shortfall_text(row: ResultRow, narrow: bool) -> str:
    """What stands behind the figure of a training from scratch that was not long enough."""
    if not row.shortfall:
        return ""
    return SHORTFALL_MARK if narrow else f", {row.shortfall}"


def legend(rows: Iterable[ResultRow], *, narrow: bool = False) -> str:
    """What the brackets and marks in the cells of some rows mean."""
    lines = [NARROW_LEGEND if narrow else LEGEND]
    lacking = [row for row in rows if row.shortfall]
    if narrow and lacking:
        lines.append(
            f"{SHORTFALL_MARK} trained from scratch for fewer epochs than planned, or not converged"
        )
    elif any(row.converged is False for row in lacking):
        lines.append(NOT_CONVERGED)
    return "\n".join(lines)

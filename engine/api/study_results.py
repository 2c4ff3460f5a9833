"""What a study has found, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.study.formats import facts
from engine.study.report import Report


@dataclass(frozen=True)
class StudyResults:
    """A study as it stands; every row is a table of builtin values, for pandas or polars.

    Attributes:
        complete: whether all cells are done.
        cells_done, cells_total: a cell is one accuracy: a source, seed, task, share of the labels
            and head.
        answer: what the numbers say to the study's question, one sentence each.
        protocol: how the numbers came about, one sentence each.
        rows: ``label``, ``variant``, ``source``, ``task``, ``fraction``, ``head``; ``mean`` in per
            cent with ``low`` and ``high`` (Student's 95 % interval, or the range of fewer than
            three seeds: ``kind`` says which), None while there is none; ``complete`` of ``seeds``,
            ``done`` of ``cells``, ``state``.
        comparisons: the differences between variants in points, with ``low``, ``high``, ``p``,
            ``p_adjusted`` (Holm) and ``verdict``.
        crossings: up to which share of the labels an encoder beats training from scratch:
            ``variant``, ``task``, ``head``, ``where`` in words, ``share`` with ``low`` and ``high``
            in (0, 1], None where no single one is; empty without that baseline, or of one share.
        cells: every cell with its ``state``, ``top1`` and the ``run`` that measured it.

    >>> results = study.results()
    >>> results.complete, results.cells_done
    (True, 2)
    >>> sorted(row["label"] for row in results.rows)
    ['K 64', 'random-init']
    >>> results.rows[0]["kind"]
    'single'
    >>> results.crossings  # the study has one share of the labels, and no training from scratch
    []
    """

    complete: bool
    cells_done: int
    cells_total: int
    answer: tuple[str, ...]
    protocol: tuple[str, ...]
    rows: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    crossings: list[dict[str, Any]]
    cells: list[dict[str, Any]]


def results_of(report: Report) -> StudyResults:
    """The report as plain data."""
    found = facts(report)
    return StudyResults(
        complete=found["complete"],
        cells_done=found["cells_done"],
        cells_total=found["cells_total"],
        answer=report.answer,
        protocol=report.protocol,
        rows=[_flat(row, "estimate") for row in found["estimates"]],
        comparisons=[_flat(row, "difference") for row in found["comparisons"]],
        crossings=found.get("crossings", []),
        cells=found["cells"],
    )


def _flat(row: dict[str, Any], part: str) -> dict[str, Any]:
    """A row with the mean and the bounds of a part beside its other values."""
    estimate = row[part] or {}
    name = "mean" if part == "estimate" else part
    kept = {key: value for key, value in row.items() if key not in (part, "provisional", "metric")}
    spread = {key: estimate.get(key) for key in ("low", "high", "kind", "over")}
    return {**kept, name: estimate.get("mean"), **spread}

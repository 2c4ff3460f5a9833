"""A comparison as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from engine.runs.record import spell
from engine.text import csv_cell, printable_json
from moco_tui.present import fmt
from moco_tui.present.comparison import SideBySide
from moco_tui.present.epoch_curve_table import curve_facts, epoch_values


def facts(found: SideBySide) -> dict[str, Any]:
    """The comparison as builtin values.

    Returns:
        ``runs``: id, name, kind and state of each; ``config``: dotted key to the values of the
        runs, only keys that differ; ``provenance``: the same of where they came from; ``metrics``:
        see ``MetricRow``, whose ``which`` is ``value``;
        ``epochs``: accuracy against epochs, for each curve the points of each run by its id.
    """
    return {
        "runs": [
            {"id": run.id, "name": run.name, "kind": run.kind, "state": run.state}
            for run in found.runs
        ],
        "config": found.settings,
        "provenance": found.provenance,
        "metrics": [
            {
                "metric": row.metric,
                "value": row.which,
                "values": row.values,
                "differences": row.differences,
                "verdicts": row.verdicts,
                "reasons": row.reasons,
            }
            for row in found.metrics
        ],
        "epochs": {
            name: {run: curve_facts([curve])[0]["points"] for run, curve in curves.items()}
            for name, curves in found.epochs.items()
        },
    }


def to_json(found: SideBySide) -> str:
    """The comparison as JSON; NaN and infinities as the strings that stand for them."""
    known = facts(found)
    for row in known["metrics"]:
        row["values"] = [None if value is None else spell(value) for value in row["values"]]
    return printable_json(json.dumps(known, indent=2, ensure_ascii=False))


def to_csv(found: SideBySide) -> str:
    """The comparison as CSV: a row for each setting, origin or number, a column for each run.

    Behind them stand the differences to the first run. Every number has all its digits (``repr``
    gives the fewest that lead back to the same float64).
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    first, *others = [run.id for run in found.runs]
    changes = [f"{run_id} - {first}" for run_id in others]
    writer.writerow(map(csv_cell, ["part", "name", first, *others, *changes]))
    for key, values in found.settings.items():
        cells = ["" if value is None else fmt.value(value) for value in values]
        writer.writerow(map(csv_cell, ["setting", key, *cells, *[""] * len(changes)]))
    for key, values in found.provenance.items():
        cells = ["" if value is None else fmt.value(value) for value in values]
        writer.writerow(map(csv_cell, ["provenance", key, *cells, *[""] * len(changes)]))
    for row in found.metrics:
        numbers = [*row.values, *row.differences[1:]]
        cells = ["" if value is None else repr(value) for value in numbers]
        writer.writerow(map(csv_cell, [row.which, row.metric, *cells]))
    for name, curves in found.epochs.items():
        for epoch, values in epoch_values(curves, [first, *others]):
            cells = ["" if value is None else repr(value) for value in values]
            cells += [""] * len(changes)
            writer.writerow(map(csv_cell, ["epochs", f"{name} @{epoch:.6g}", *cells]))
    return out.getvalue()

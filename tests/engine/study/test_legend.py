"""A study says in the cell of a net trained from scratch what its training lacks."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import msgspec
import pytest

from engine.study.formats import to_csv, to_json, to_markdown
from engine.study.grid import Cell
from engine.study.intervals import ResultRow, rows
from engine.study.legend import NOT_CONVERGED, legend
from engine.study.report import report
from engine.study.study_state import StudyState
from engine.study.table import cell_text

from ..study_states import find, study, study_state

CUT = {"epochs_trained": 16.0, "epochs_planned": 100.0, "converged": False}
RISING = {"epochs_trained": 100.0, "epochs_planned": 100.0, "converged": False}
GOOD = {"epochs_trained": 100.0, "epochs_planned": 100.0, "converged": True}
SHORT = {"epochs_trained": 16.0, "epochs_planned": 100.0, "converged": True}
UNJUDGED = {"epochs_trained": 100.0, "epochs_planned": 100.0}
OLD: dict[str, Any] = {}


def trained(first: dict[str, Any], second: dict[str, Any] | None = None) -> StudyState:
    """A finished study whose two supervised subsets were trained so."""
    now = study_state(study(), lambda cell: 50.0, lambda cell: "done")

    def of(cell: Cell) -> dict[str, Any]:
        if cell.source != "supervised":
            return {}
        return first if cell.subset_seed == 0 or second is None else second

    cells = {cell: msgspec.structs.replace(found, **of(cell)) for cell, found in now.cells.items()}
    return msgspec.structs.replace(now, cells=cells)


def row_of(state: StudyState) -> ResultRow:
    return find(rows(study(), state), source="supervised", task="ten", fraction=0.1)


@pytest.mark.parametrize(
    ("first", "second", "wide"),
    [
        (GOOD, None, "50.0 [50.0 - 50.0]"),
        (UNJUDGED, None, "50.0 [50.0 - 50.0]"),
        (OLD, None, "50.0 [50.0 - 50.0]"),
        (CUT, None, "50.0 [50.0 - 50.0], 16 of 100 epochs, not converged"),
        (SHORT, None, "50.0 [50.0 - 50.0], 16 of 100 epochs"),
        (RISING, None, "50.0 [50.0 - 50.0], not converged"),
        (GOOD, RISING, "50.0 [50.0 - 50.0], not converged"),  # one that lacks something is enough
        (SHORT, GOOD, "50.0 [50.0 - 50.0], 16 of 100 epochs"),
        (OLD, RISING, "50.0 [50.0 - 50.0], not converged"),
    ],
)
def test_the_cell_says_what_the_training_lacks(
    first: dict[str, Any], second: dict[str, Any] | None, wide: str
) -> None:
    row = row_of(trained(first, second))
    assert cell_text(row) == wide
    assert cell_text(row, narrow=True) == "50.0 [0.0]" + ("*" if "," in wide else "")
    made = rows(study(), trained(first, second))
    assert (NOT_CONVERGED in legend(made)) == ("not converged" in wide)
    assert ("\n* " in legend(made, narrow=True)) == ("," in wide)


def test_cells_of_other_sources_say_nothing_of_it() -> None:
    for row in rows(study(), trained(CUT)):
        if row.source != "supervised":
            assert row.shortfall == ""
            assert "epochs" not in cell_text(row)


def test_every_format_says_it() -> None:
    said = report(study(), trained(CUT, GOOD))
    assert "16 of 100 epochs, not converged" in to_markdown(said)
    assert NOT_CONVERGED in to_markdown(said)
    assert any("16 of 100 epochs, not converged" in sentence for sentence in said.answer)
    document = json.loads(to_json(said))
    for part in (document["estimates"], document["cells"]):
        of_source = {line["source"]: line for line in part}
        assert of_source["moco"]["epochs_trained"] is None
    first = next(line for line in document["cells"] if line["source"] == "supervised")
    assert (first["epochs_trained"], first["epochs_planned"]) == (16.0, 100.0)
    assert first["converged"] is False
    for name in ("cells", "estimates"):
        chosen: Any = name
        lines = list(csv.DictReader(io.StringIO(to_csv(said, chosen))))
        found = {line["converged"] for line in lines if line["source"] == "supervised"}
        assert found == ({"true", "false"} if name == "cells" else {"false"})
        assert {line["epochs_trained"] for line in lines if line["source"] == "moco"} == {""}

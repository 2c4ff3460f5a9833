"""The study's table in every arrangement, its words, and its exports read back."""

from __future__ import annotations

import csv
import io
import itertools
import json
import random
from typing import Any

import msgspec
import pytest

from engine.config.schema import StudyConfig
from engine.errors import ConfigError
from engine.study.comparisons import BETTER
from engine.study.formats import SCHEMA, to_csv, to_json, to_markdown
from engine.study.grid import Cell
from engine.study.intervals import Estimate, estimate, rows
from engine.study.report import Report, report
from engine.study.scratch_tables import CROSSINGS_TITLE
from engine.study.study_state import State
from engine.study.table import (
    DIMENSIONS,
    Pivot,
    cell_text,
    dimension,
    estimate_text,
    tables,
    values,
)

from ..study_states import study, study_state


def value(cell: Cell) -> float:
    """A value that names its cell."""
    sources = {"moco": 0.0, "random-init": 20.0, "pixels": 40.0, "supervised": 60.0}
    return (
        sources[cell.source]
        + (5.0 if cell.queue_size == 64 else 0.0)
        + (2.0 if cell.task == "ten" else 0.0)
        + (1.0 if cell.head == "logistic" else 0.0)
        + cell.fraction
        + 0.01 * (cell.seed or 0)
    )


def made(config: StudyConfig | None = None, state: Any = lambda cell: "done") -> Report:
    config = config or study()
    return report(config, study_state(config, value, state))


# --------------------------------------------------------------------------------------------
# Arrangements


@pytest.mark.parametrize(("row", "column"), list(itertools.permutations(DIMENSIONS, 2)))
def test_any_dimension_may_be_rows_and_columns(row: Any, column: Any) -> None:
    config = study()
    all_rows = rows(config, study_state(config, value))
    known = values(config)
    shown = tables(config, all_rows, Pivot(row=row, column=column))
    seen = set()
    for table in shown:
        assert set(table.fixed) == set(DIMENSIONS) - {row, column}
        assert (table.row_keys, table.column_keys) == (known[row], known[column])
        for row_key, line in zip(table.row_keys, table.cells, strict=True):
            for column_key, cell in zip(table.column_keys, line, strict=True):
                where = {**table.fixed, row: row_key, column: column_key}
                assert cell is not None
                assert (cell.label, cell.task, cell.fraction) == (
                    where["source"],
                    where["task"],
                    where["fraction"],
                )
                assert cell.head in (where["head"], "")  # supervised stands beside every head
                assert (cell.head == "") == (cell.source == "supervised")
                seen.add((cell.label, cell.task, cell.fraction, cell.head))
    assert seen == {(r.label, r.task, r.fraction, r.head) for r in all_rows}
    combinations = 1
    for other in set(DIMENSIONS) - {row, column}:
        combinations *= len(known[other])
    assert len(shown) == combinations


def test_the_first_arrangement_is_sources_by_fractions() -> None:
    config = study(label_fractions=(0.5, 0.1), queue_sizes=(64, 16))
    shown = tables(config, rows(config, study_state(config, value)))
    assert [table.title for table in shown] == [
        f"task {task}, head {head}" for task in ("binary", "ten") for head in ("linear", "logistic")
    ]
    assert shown[0].column_keys == (0.1, 0.5)
    assert shown[0].row_keys == ("K 16", "K 64", "random-init", "pixels", "supervised")


def test_a_filter_keeps_what_it_names_in_its_order() -> None:
    config = study()
    keep: Any = {"task": ("ten",), "source": ("pixels", "K 64"), "head": ("logistic",)}
    shown = tables(config, rows(config, study_state(config, value)), Pivot(keep=keep))
    assert len(shown) == 1
    assert shown[0].row_keys == ("pixels", "K 64")
    assert [c.estimate.mean for line in shown[0].cells for c in line if c and c.estimate] == (
        pytest.approx([43.1, 43.5, 8.115, 8.515])
    )


@pytest.mark.parametrize(
    ("pivot", "named"),
    [
        (Pivot(row="task", column="task"), "different"),
        (Pivot(keep={"task": ("twelve",)}), "binary, ten"),
        (Pivot(keep={"fraction": (0.3,)}), "30 %"),
        (Pivot(keep={"source": ("K 65",)}), "K 16"),
    ],
)
def test_an_arrangement_that_cannot_be_is_refused(pivot: Pivot, named: str) -> None:
    config = study()
    with pytest.raises(ConfigError, match=named):
        tables(config, rows(config, study_state(config, value)), pivot)
    with pytest.raises(ConfigError, match="source, task, fraction, head"):
        dimension("colour")


# --------------------------------------------------------------------------------------------
# Words


@pytest.mark.parametrize(
    ("shown", "wide", "narrow"),
    [
        (estimate([60.0]), "60.0", "60.0"),
        (estimate([60.0, 61.0]), "60.5 [60.0 - 61.0]", "60.5 [1.0]"),
        (Estimate(60.5, 59.25, 61.75, 3, "interval"), "60.5 (59.2 - 61.8)", "60.5 ±1.2"),
    ],
)
def test_an_interval_a_range_and_a_single_value_look_different(
    shown: Estimate, wide: str, narrow: str
) -> None:
    assert estimate_text(shown) == wide
    assert estimate_text(shown, narrow=True) == narrow


def test_a_cell_that_is_not_done_says_what_there_is() -> None:
    config = study(subset_seeds=(0, 1))

    def text(state: Any) -> set[str]:
        found = rows(config, study_state(config, lambda c: 50.0, state))
        return {cell_text(row) for row in found if row.source == "moco"}

    def one_seed(cell: Cell) -> State:
        return "done" if cell.seed == 0 else "running"

    def half_a_seed(cell: Cell) -> State:
        return "done" if (cell.seed, cell.subset_seed) == (0, 0) else "missing"

    assert text(lambda cell: "missing") == {"-"}
    assert text(lambda cell: "waiting") == {"waiting"}
    assert text(lambda cell: "failed") == {"failed"}
    assert text(one_seed) == {"50.0 1/4"}
    assert text(half_a_seed) == {"{50.0} 1/8"}
    assert cell_text(None) == ""


def test_the_answer_names_the_winner_only_where_there_is_a_verdict() -> None:
    config = study()
    rng = random.Random(6)

    def answer(gain: float, state: Any = lambda cell: "done") -> str:
        now = study_state(
            config,
            lambda c: 50 + rng.gauss(0, 0.2) + (gain if c.queue_size == 64 else 0.0),
            state,
        )
        return " ".join(report(config, now).answer)

    assert "the larger dictionary is better in this study" in answer(2.0)
    assert "the larger dictionary is worse in this study" in answer(-2.0)
    none = answer(0.0)
    assert "no difference detected, which does not show that there is none" in none
    assert "better in this study" not in none
    few = answer(5.0, lambda c: "done" if (c.seed or 0) < 2 else "missing")
    assert "give no verdict" in few
    assert "not complete" in few
    assert "is better in this study" not in few
    assert answer(5.0, lambda c: "missing").startswith("Nothing is measured yet (0 of ")


def test_the_answer_puts_few_labels_beside_the_baselines() -> None:
    sentences = made().answer
    # task ten, logistic head: 3.1 + 0.01 * mean of the seeds, at 10 % of the labels
    ten = next(s for s in sentences if s.startswith("With 10 % of the labels"))
    assert "(task ten, logistic head)" in ten
    for figure in ("3.1 %", "8.1 %", "random weights give 23.1 %", "raw pixels 43.1 %", "62.1 %"):
        assert figure in ten
    assert any(s.startswith("With 50 % of the labels") for s in sentences)


def test_the_protocol_says_what_the_numbers_are_over() -> None:
    config = study(**{"pretrain.optim.epochs": 40, "pretrain.optim.stop_epoch": 7})
    text = " ".join(made(config).protocol)
    for words in (
        "7 epochs of a schedule of 40",
        "before the projection",
        "last checkpoint, not the best",
        "L2 strength",
        "subset seeds 0 and 1",
        "10 and 50 %",
        "read once for each cell",
        "Student's t over the 4 pretraining seeds",
        "Holm",
        "Against random weights",
        "labels (200 epochs, learning rate",
    ):
        assert words in text
    text = " ".join(made(study(seeds=(0, 1))).protocol)
    assert "Student" not in text
    assert "no verdict" in text
    only = " ".join(made(study(heads=("linear",), baselines=(), queue_sizes=(16,))).protocol)
    for words in ("Logistic", "Baselines", "Holm", "random weights"):
        assert words not in only


# --------------------------------------------------------------------------------------------
# Exports


def half(cell: Cell) -> State:
    return "done" if cell.task == "ten" else "running"


def test_the_csv_of_cells_has_every_cell_and_all_its_digits() -> None:
    now = made(state=half)
    lines = list(csv.DictReader(io.StringIO(to_csv(now))))
    assert len(lines) == len(now.study_state.cells)
    for line, (cell, found) in zip(lines, now.study_state.cells.items(), strict=True):
        assert (line["source"], line["head"]) == (cell.source, cell.head)
        assert line["queue_size"] == ("" if cell.queue_size is None else str(cell.queue_size))
        assert line["state"] == found.state
        assert (float(line["top1"]) if line["top1"] else None) == found.top1


def test_the_csv_of_estimates_and_comparisons_has_the_numbers_of_the_report() -> None:
    now = made(state=half)
    lines = list(csv.DictReader(io.StringIO(to_csv(now, "estimates"))))
    tops = [line for line in lines if line["metric"] == "top1"]
    assert len(tops) == len(now.rows) == len(lines) / 2
    for line, row in zip(tops, now.rows, strict=True):
        assert float(line["label_fraction"]) == row.fraction
        assert (float(line["mean"]) if line["mean"] else None) == (
            row.estimate.mean if row.estimate else None
        )
    lines = list(csv.DictReader(io.StringIO(to_csv(now, "comparisons"))))
    assert [line["verdict"] for line in lines] == [c.verdict for c in now.comparisons]


def test_the_json_names_its_schema_and_holds_everything() -> None:
    now = made(state=half)
    document = json.loads(to_json(now))
    assert document["schema"] == SCHEMA
    assert document["complete"] is False
    assert document["cells_done"] == sum(c.task == "ten" for c in now.study_state.cells)
    assert len(document["cells"]) == document["cells_total"] == len(now.study_state.cells)
    assert document["answer"] == list(now.answer)
    assert document["protocol"] == list(now.protocol)
    assert document["majority"] == {"ten": 10.0}
    assert [e["label"] for e in document["estimates"]] == [row.label for row in now.rows]
    assert len(document["curves"]) == len(now.curves) == 2 * 4 + 1
    assert len(document["pretrainings"]) == 8
    assert document["config"]["queue_sizes"] == [16, 64]
    assert json.loads(to_json(made()))["complete"] is True


def test_json_holds_no_literal_that_is_none() -> None:
    config = study()
    text = to_json(report(config, study_state(config, lambda cell: float("nan"))))

    def refuse(literal: str) -> None:
        raise AssertionError(literal)

    json.loads(text, parse_constant=refuse)


def test_markdown_has_a_table_for_each_task_and_head_the_comparison_and_the_protocol() -> None:
    config = study()
    rng = random.Random(9)
    now = report(
        config,
        study_state(config, lambda c: 50 + rng.gauss(0, 0.1) + (c.queue_size == 64) * 3.0),
    )
    text = to_markdown(now)
    heads = [line for line in text.splitlines() if line.startswith("### ")]
    assert heads == [
        *(f"### task {t}, head {h}" for t in ("binary", "ten") for h in ("linear", "logistic")),
        "### Comparison",
        "### Comparison, setting by setting",
        "### Against training from scratch",
        f"### {CROSSINGS_TITLE.capitalize()}",
        "### Protocol",
    ]
    assert text.count("| source | 10 % | 50 % |") == 4
    assert text.count("| majority share | 10.0 | 10.0 |") == 2
    assert text.count("| majority share | 60.0 | 60.0 |") == 2
    assert f"| {BETTER} |" in text
    for sentence in now.answer:
        assert sentence in text
    for part in text.split("\n\n"):  # every line of a table has as many cells as its head
        if part.startswith("|"):
            assert len({line.count("|") for line in part.splitlines()}) == 1


def test_markdown_cannot_be_broken_by_a_name() -> None:
    evil = "a|b\n# <script>[x](y)"
    config = study(tasks=("evil",), **{"probe.task.groups": {"p": ["circle"], "q": ["square"]}})
    config = msgspec.structs.replace(config, tasks=(evil,))  # settings take no line ends
    text = to_markdown(report(config, study_state(config, value)))
    titles = [line for line in text.splitlines() if "script" in line and line.startswith("#")]
    assert titles[0] == r"### task a\|b # \<script\>\[x\](y), head linear".replace(
        "# \\<", "\\# \\<"
    )
    assert not any(line.startswith("# ") for line in text.splitlines())

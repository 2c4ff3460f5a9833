"""A study in other formats: tidy CSV, JSON with everything, Markdown for a report."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args

import msgspec

from engine.study.comparisons import RANDOM, Comparison
from engine.study.failures import failure_lines, failures
from engine.study.grid import reference, variants, varies_queue_alone
from engine.study.intervals import Estimate, rows
from engine.study.legend import legend, measured
from engine.study.report import Report, signed
from engine.study.scratch_tables import (
    CROSSINGS_TITLE,
    crossing_lines,
    crossing_rows,
    pair_rows,
)
from engine.study.table import Pivot, Table, cell_text, key_text, tables
from engine.text import csv_cell, one_line, printable_json

SCHEMA = "moco-tui/study/1"
"""Name and version of the layout of the JSON document, for programs that read it."""

CsvPart = Literal["cells", "estimates", "comparisons", "crossings", "pairs"]
CSV_PARTS: tuple[CsvPart, ...] = get_args(CsvPart)

# --------------------------------------------------------------------------------------------
# CSV


def to_csv(report: Report, part: CsvPart = "cells") -> str:
    """One tidy table as CSV: percent and points with all their digits, empty for what is unknown.

    Args:
        report: of the study.
        part: ``cells`` (a line for each cell), ``estimates`` (a line for each source, task,
            fraction and head), ``comparisons``, ``crossings`` (up to which share an encoder beats
            training from scratch) or ``pairs`` (an encoder and the training from scratch on the
            same subset, a line for each pretraining seed and subset seed).
    """
    # Tidy: one observation a line, one variable a column, as pandas and R want it.
    lines: dict[CsvPart, Callable[[Report], Iterable[Sequence[Any]]]] = {
        "cells": _cell_lines,
        "estimates": _estimate_lines,
        "comparisons": _comparison_lines,
        "crossings": lambda report: crossing_rows(report.crossings),
        "pairs": lambda report: pair_rows(report.pairs),
    }
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for line in lines[part](report):  # the first one is the head
        writer.writerow(["" if item is None else csv_cell(item) for item in line])
    return out.getvalue()


def _cell_lines(report: Report) -> Iterable[Sequence[Any]]:
    yield (
        *("source", "queue_size", "seed", "task", "label_fraction", "head", "subset_seed"),
        *("state", "top1", "balanced", "majority", "run", "encoder_step"),
        *("epochs_trained", "epochs_planned", "converged", "variant"),
    )
    for cell, found in report.study_state.cells.items():
        yield (
            *(cell.source, cell.queue_size, cell.seed, cell.task, cell.fraction, cell.head),
            *(cell.subset_seed, found.state, found.top1, found.balanced, found.majority),
            *(found.run, found.encoder_step),
            *(found.epochs_trained, found.epochs_planned, _flag(found.converged)),
            cell.variant,
        )


def _estimate_lines(report: Report) -> Iterable[Sequence[Any]]:
    yield (
        *("source", "queue_size", "task", "label_fraction", "head", "metric", "mean", "low"),
        *("high", "kind", "over", "complete", "seeds", "cells_done", "cells", "state"),
        *("epochs_trained", "epochs_planned", "converged", "variant"),
    )
    for metric, made in (
        ("top1", report.rows),
        ("balanced", rows(report.config, report.study_state, "balanced")),
    ):
        for row in made:
            yield (
                *(row.source, row.queue_size, row.task, row.fraction, row.head, metric),
                *_estimate_cells(row.estimate),
                *(row.complete, row.seeds, row.done, row.cells, row.state),
                *(row.epochs_trained, row.epochs_planned, _flag(row.converged)),
                row.variant,
            )


def _flag(value: bool | None) -> str | None:
    """A yes or no as JSON spells it, which pandas and R read as one."""
    return None if value is None else str(value).lower()


def _estimate_cells(estimate: Estimate | None) -> tuple[Any, ...]:
    if estimate is None:
        return (None,) * 5
    return estimate.mean, estimate.low, estimate.high, estimate.kind, estimate.over


def _comparison_lines(report: Report) -> Iterable[Sequence[Any]]:
    yield (
        *("scope", "queue_size", "against", "task", "label_fraction", "head", "settings"),
        *("difference", "low", "high", "kind", "over", "complete", "seeds", "p", "p_adjusted"),
        *("family", "verdict", "variant", "reference"),
    )
    queues = varies_queue_alone(report.config)
    for c in report.comparisons:
        yield (
            *(
                c.scope,
                c.queue_size,
                c.against if queues and c.against is not None else opponent(c),
            ),
            *(c.task, c.fraction, c.head, c.settings),
            *_estimate_cells(c.difference),
            *(c.complete, c.seeds, c.p, c.p_adjusted, c.family, c.verdict),
            *(c.variant, opponent(c)),
        )


def opponent(comparison: Comparison) -> str:
    """What a variant is compared with: the label of the reference or of a baseline."""
    return comparison.reference or RANDOM


# --------------------------------------------------------------------------------------------
# JSON


def facts(report: Report, *, run: str = "") -> dict[str, Any]:
    """The whole report as builtin values; ``schema`` names the layout.

    Args:
        report: of the study.
        run: id of the study's own run, where there is one.
    """
    study_state = report.study_state
    made, first = variants(report.config), reference(report.config)
    sizes = {variant.label: variant.queue_size for variant in made}
    states = [found.state for found in study_state.cells.values()]
    return {
        "schema": SCHEMA,
        "run": run,
        "complete": all(state == "done" for state in states),
        "cells_done": states.count("done"),
        "cells_total": len(states),
        "failed": [msgspec.to_builtins(one) for one in failures(study_state)],
        "answer": list(report.answer),
        "protocol": list(report.protocol),
        "majority": report.majority,
        "estimates": [
            {**msgspec.to_builtins(row), "label": row.label, "metric": "top1"}
            for row in report.rows
        ],
        "comparisons": [{**msgspec.to_builtins(c), "label": c.label} for c in report.comparisons],
        "curves": [{**msgspec.to_builtins(c), "label": c.label} for c in report.curves],
        # Only where a study asks for them: documents of the others stay as they are.
        **({"crossings": msgspec.to_builtins(report.crossings)} if report.crossings else {}),
        "pretrainings": [
            {
                "queue_size": sizes[label],
                "seed": seed,
                **msgspec.to_builtins(trained),
                "variant": label,
            }
            for (label, seed), trained in study_state.pretrainings.items()
        ],
        "variants": [
            {
                "variant": variant.label,
                "settings": msgspec.to_builtins(variant.settings),
                "reference": variant.label == first.label,
            }
            for variant in made
        ],
        "cells": [
            {**msgspec.to_builtins(cell), **msgspec.to_builtins(found)}
            for cell, found in study_state.cells.items()
        ],
        "config": msgspec.to_builtins(report.config),
    }


def to_json(report: Report, *, run: str = "") -> str:
    """The ``facts`` as a JSON document with a line end; what is not finite is null."""
    document = msgspec.json.encode(facts(report, run=run))
    return printable_json(msgspec.json.format(document, indent=2).decode()) + "\n"


# --------------------------------------------------------------------------------------------
# Markdown


def to_markdown(report: Report, pivot: Pivot | None = None) -> str:
    """The tables, the comparison, the answer and the protocol, to paste into a report."""
    parts = ["\n\n".join(_escaped(sentence) for sentence in report.answer)]
    what = measured(report.config)
    parts.append(f"{what[0].upper()}{what[1:]}. {_escaped(legend(report.rows))}")
    for table in tables(report.config, report.rows, pivot):
        parts.append(f"### {_escaped(table.title)}" if table.title else "")
        parts.append(_grid(*table_lines(table, report.majority, compared=compared_in(report))))
    failed = failure_lines(report.study_state)
    if failed:
        parts += ["### Failed", "\n".join(f"- {_escaped(line)}" for line in failed)]
    main = [c for c in report.comparisons if c.scope in ("all", "head")]
    singles = [c for c in report.comparisons if c.scope == "setting"]
    scratch = [c for c in report.comparisons if c.scope == "scratch"]
    for title, chosen in (
        ("Comparison", main),
        ("Comparison, setting by setting", singles),
        ("Against training from scratch", scratch),
    ):
        if chosen:
            parts += [f"### {title}", _grid(*comparison_lines(chosen))]
    if report.crossings:
        parts += [f"### {CROSSINGS_TITLE.capitalize()}", _grid(*crossing_lines(report.crossings))]
    parts += ["### Protocol", "\n".join(f"- {_escaped(line)}" for line in report.protocol)]
    return "\n\n".join(part for part in parts if part) + "\n"


def table_lines(
    table: Table,
    majority: dict[str, float],
    *,
    narrow: bool = False,
    compared: Sequence[Comparison] = (),
) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table as texts; the majority share is the last line where there is one.

    Args:
        table: to draw.
        majority: percent by task; the line is left out where tasks are rows of the table.
        narrow: see ``table.cell_text``.
        compared: see ``compared_in``; their differences and verdicts are columns.
    """
    head = [table.row, *(key_text(table.column, key) for key in table.column_keys)]
    lines = [
        [key_text(table.row, key), *(cell_text(cell, narrow=narrow) for cell in cells)]
        for key, cells in zip(table.row_keys, table.cells, strict=True)
    ]
    if compared and table.row == "source":
        head += ["difference", "verdict"]
        by_label = {c.variant: c for c in compared}
        for key, line in zip(table.row_keys, lines, strict=True):
            line += _verdict_cells(by_label.get(key), str(key) == compared[0].reference)
    # The share belongs to a task; with tasks as rows it would need a column and not a line.
    if table.row != "task":
        tasks = (
            [str(key) for key in table.column_keys]
            if table.column == "task"
            else [str(table.fixed["task"])] * len(table.column_keys)
        )
        if any(task in majority for task in tasks):
            shares = [f"{majority[task]:.1f}" if task in majority else "" for task in tasks]
            lines.append(["majority share", *shares])
    return head, lines


def compared_in(report: Report) -> Sequence[Comparison]:
    """The comparisons that stand in the table itself: of a study that is judged by one number."""
    if report.config.judge != "knn":
        return ()
    return [c for c in report.comparisons if c.scope == "all" and c.reference is not None]


def _verdict_cells(comparison: Comparison | None, is_reference: bool) -> list[str]:
    if comparison is None:
        return ["", "the reference" if is_reference else ""]
    difference, span = _difference_texts(comparison.difference)
    return [difference if span == "-" else f"{difference} {span}", comparison.verdict]


def comparison_lines(chosen: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Head and lines of a table of comparisons as texts; differences in points."""
    head = ["compared", "over", "difference", "interval or range", "seeds", "p (Holm)", "verdict"]
    return head, [
        [
            c.label,
            where_text(c),
            *_difference_texts(c.difference),
            f"{c.complete}/{c.seeds}",
            _p_text(c),
            c.verdict,
        ]
        for c in chosen
    ]


def _p_text(comparison: Comparison) -> str:
    p = comparison.p_adjusted
    if p is None:
        return "-"
    return f"{'< 0.001' if p < 0.001 else format(p, '.3f')} of {comparison.family}"


def where_text(comparison: Comparison) -> str:
    """What a comparison is over: ``all 30 settings``, ``linear head``, ``ten, 10 %, linear``."""
    if comparison.scope in ("setting", "scratch") and comparison.fraction is not None:
        where = (comparison.task, key_text("fraction", comparison.fraction), comparison.head)
        return ", ".join(str(part) for part in where)
    if comparison.settings == 1:
        return "the one setting"
    settings = f"{comparison.settings} settings"
    return f"{comparison.head} head, {settings}" if comparison.head else f"all {settings}"


def _difference_texts(difference: Estimate | None) -> tuple[str, str]:
    if difference is None:
        return "-", "-"
    if difference.low is None or difference.high is None:
        return signed(difference.mean), "-"
    text = f"{signed(difference.low)} to {signed(difference.high)}"
    return signed(difference.mean), f"({text})" if difference.kind == "interval" else f"[{text}]"


def _grid(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"

    rule = "|" + "---|" * len(head)
    return "\n".join([row(head), rule, *(row(line) for line in lines)])


def _escaped(text: str) -> str:
    """A text of one line that Markdown shows as it is: names of tasks and groups are people's."""
    # & as well: it begins the name of a character, which would be shown in its place.
    return re.sub(r"([\\`*_<>|#\[\]&])", r"\\\1", one_line(text))
